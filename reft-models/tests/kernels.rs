//! The fused CPU kernels against the same mathematics composed of libtorch's operations: values and gradients.

use proptest::prelude::*;
use reft_core::layout::{Layout, Span};
use reft_core::site::{Dims, LayerId, Mlp};
use reft_core::testing::{Tol, assert_close, normal};
use reft_models::attention::{Cache, Plan};
use reft_models::encoder::Together;
use reft_models::kernels::{self, Packed};
use reft_models::kv_cache::KvCache;
use reft_models::rope::{Angles, Rope, Scaling};
use tch::{Device, Kind, Tensor};

const KINDS: [(Kind, Tol); 2] = [(Kind::Float, Tol::F32), (Kind::BFloat16, Tol::BF16)];

/// What `f` gives for `x`, and the gradient of a fixed projection of it.
fn both(f: impl Fn(&Tensor) -> Tensor, x: &Tensor) -> (Tensor, Tensor) {
    let x = x.detach().set_requires_grad(true);
    let y = f(&x);
    let along = normal(&y.size(), 99).to_kind(y.kind());
    (&y * along).to_kind(Kind::Float).sum(Kind::Float).backward();
    (y.detach().to_kind(Kind::Float), x.grad().to_kind(Kind::Float))
}

/// The composite always computes in f32: what differs for bf16 is then the kernel's rounding alone.
fn compare(
    what: &str,
    kernel: impl Fn(&Tensor) -> Tensor,
    composite: impl Fn(&Tensor) -> Tensor,
    x: &Tensor,
    tol: Tol,
) {
    let ((y, dx), (y2, dx2)) = (both(kernel, x), both(composite, &x.to_kind(Kind::Float)));
    assert_close(&format!("{what}: value"), &y, &y2, tol);
    assert_close(&format!("{what}: gradient"), &dx, &dx2, tol.times(4.0));
}

#[test]
fn normalisation() {
    for (kind, tol) in KINDS {
        for (rows, width) in [(1, 8), (7, 576), (130, 33)] {
            let (x, w) = (normal(&[rows, width], 1).to_kind(kind), normal(&[width], 2).to_kind(kind));
            let composite = |x: &Tensor| x.rms_norm([width], Some(w.to_kind(Kind::Float)), 1e-5);
            compare("rms_norm", |x| kernels::rms_norm(x, &w, 1e-5), composite, &x, tol);
        }
    }
}

#[test]
fn gated_unit() {
    for (kind, tol) in KINDS {
        for (rows, width) in [(1, 4), (9, 1536), (200, 31)] {
            let x = (normal(&[rows, 2 * width], 3) * 3.0).to_kind(kind);
            let composite = |x: &Tensor| {
                let halves = x.chunk(2, -1);
                halves[0].silu() * &halves[1]
            };
            compare("gated_silu", kernels::gated_silu, composite, &x, tol);
        }
    }
    // Far out, where e^x leaves the range of f32.
    let x = Tensor::from_slice(&[-200f32, 200., -0.0, 1., 1., 1.]).view([1, 6]);
    let halves = x.chunk(2, -1);
    assert_close("extremes", &kernels::gated_silu(&x), &(halves[0].silu() * &halves[1]), Tol::F32);
}

#[test]
fn packed_weights() {
    let (weight, bias) = (normal(&[33, 48], 1).to_kind(Kind::BFloat16), normal(&[33], 2).to_kind(Kind::BFloat16));
    // A machine without bf16 products packs nothing, and multiplies by the plain weight.
    let Some(packed) = Packed::new(&weight) else { return };
    for rows in [1, 5, 70] {
        let x = normal(&[rows, 48], 3).to_kind(Kind::BFloat16);
        let exact = |x: &Tensor| x.linear(&weight.to_kind(Kind::Float), Some(bias.to_kind(Kind::Float)));
        compare("packed", |x| packed.linear(x, Some(&bias)), exact, &x, Tol::BF16);
    }
}

/// Sequences as (past, tokens).
fn layout(parts: &[(i64, i64)]) -> Layout {
    let mut past_row = 0;
    Layout::of(parts.iter().map(|&(past, len)| {
        let span = Span { row: 0, past, past_row, len, prompt: len, adaptation: 0 };
        past_row += past + len;
        span
    }))
}

fn dims(heads: i64, kv_heads: i64, head_width: i64) -> Dims {
    Dims { layers: 1, width: heads * head_width, heads, kv_heads, head_width, mlp_width: 1, vocab: 1, mlp: Mlp::Gated }
}

fn random_cache(dims: &Dims, rows: i64, kind: Kind) -> KvCache {
    let shape = [1, rows, dims.kv_heads, dims.head_width];
    KvCache::from_parts(LayerId(0), &normal(&shape, 11).to_kind(kind), &normal(&shape, 12).to_kind(kind))
}

fn in_f32(cache: &KvCache) -> KvCache {
    let (k, v) = cache.part(0, cache.rows());
    KvCache::from_parts(LayerId(0), &k.to_kind(Kind::Float), &v.to_kind(Kind::Float))
}

type MakePlan = fn(&Layout, Angles, &Cache<'_>, Kind, Device) -> Plan;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn attention(
        parts in prop::collection::vec((0i64..9, 1i64..40), 1..5),
        (kv, group) in (1i64..4, 1i64..4),
        half in prop::sample::select(vec![1i64, 4, 16, 24, 32]),
        with_past in any::<bool>(),
    ) {
        let parts: Vec<(i64, i64)> = parts.into_iter().map(|(past, len)| (if with_past { past } else { 0 }, len)).collect();
        let (layout, dims) = (layout(&parts), dims(kv * group, kv, 2 * half));
        for (kind, tol) in KINDS {
            let cache = random_cache(&dims, parts.iter().map(|(past, len)| past + len).sum(), kind);
            let exact = in_f32(&cache);
            let attend = |plan: MakePlan, cache: &KvCache, kind: Kind, x: &Tensor| {
                let mut state = if with_past { Cache::Fixed(cache) } else { Cache::None };
                let angles = Rope::new(2 * half, 1e4, Scaling::Default).angles(&layout.position_ids(Device::Cpu), kind);
                plan(&layout, angles, &state, kind, Device::Cpu).attend(&dims, x, &mut state, LayerId(0))
            };
            let x = normal(&[layout.rows(), (dims.heads + 2 * kv) * 2 * half], 5).to_kind(kind);
            let composite = |x: &Tensor| attend(Plan::composite, &exact, Kind::Float, x);
            compare("attention", |x| attend(Plan::new, &cache, kind, x), composite, &x, tol);
        }
    }

    #[test]
    fn attention_to_the_whole_sequence(
        lengths in prop::collection::vec(1i64..40, 1..5),
        heads in 1i64..4,
        half in prop::sample::select(vec![1i64, 4, 16, 24, 32]),
    ) {
        let layout = layout(&lengths.into_iter().map(|len| (0, len)).collect::<Vec<_>>());
        let dims = dims(heads, heads, 2 * half);
        for (kind, tol) in KINDS {
            let x = normal(&[layout.rows(), 3 * dims.width], 5).to_kind(kind);
            let kernel = Together::new(&layout, &dims, kind, Device::Cpu, 0.0);
            let block = Together::block(&layout, Kind::Float, Device::Cpu, 0.0);
            let attend = |how: &Together, x: &Tensor| how.attend(&dims, &x.chunk(3, -1));
            compare("attention", |x| attend(&kernel, x), |x| attend(&block, x), &x, tol);
        }
    }

    #[test]
    fn attention_that_adds_to_its_cache(
        parts in prop::collection::vec((0i64..9, prop::sample::select(vec![1i64, 1, 3, 17])), 1..6),
        (kv, group) in (1i64..4, 1i64..4),
    ) {
        let (layout, dims) = (layout(&parts), dims(kv * group, kv, 16));
        for (kind, tol) in KINDS {
            let x = normal(&[layout.rows(), (dims.heads + 2 * kv) * 16], 5).to_kind(kind);
            let cache = || random_cache(&dims, parts.iter().map(|(past, len)| past + len).sum(), kind);
            let run = |plan: MakePlan, mut cache: KvCache, kind: Kind| {
                let angles = Rope::new(16, 1e4, Scaling::Default).angles(&layout.position_ids(Device::Cpu), kind);
                let mut state = Cache::Grow(&mut cache);
                let plan = plan(&layout, angles, &state, kind, Device::Cpu);
                let y = plan.attend(&dims, &x.to_kind(kind), &mut state, LayerId(0));
                let (k, v) = cache.layer(LayerId(0));
                [y, k.shallow_clone(), v.shallow_clone()].map(|tensor| tensor.to_kind(Kind::Float))
            };
            for (a, b) in run(Plan::new, cache(), kind).iter().zip(&run(Plan::composite, in_f32(&cache()), Kind::Float)) {
                assert_close("output, keys, values", a, b, tol);
            }
        }
    }
}
