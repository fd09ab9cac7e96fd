//! The fused CPU kernels against the same mathematics composed of libtorch's operations: values and gradients.

use proptest::prelude::*;
use reft_core::layout::{Layout, Span};
use reft_core::site::{Dims, LayerId, Mlp};
use reft_core::testing::{Tol, assert_close};
use tch::{Device, Kind, Tensor, no_grad};

use super::{GateActivation, Packed, expect, gated, rms_norm};
use crate::attention::{AttentionPlan, AttentionRule, AttentionVariant, PastKeyValues};
use crate::encoder::EncoderAttentionPlan;
use crate::instruction_set::{InstructionSet, VARIABLE};
use crate::kv_cache::KvCache;
use crate::nn::{Linear, Purpose, WeightCopies};
use crate::rope::{Rope, Scaling};

/// The kernels run on the CPU, wherever other tests run.
pub(super) fn normal(shape: &[i64], seed: u64) -> Tensor {
    reft_core::testing::normal(shape, seed).to_device(Device::Cpu)
}

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
            compare("rms_norm", |x| expect(rms_norm(x, &w, 1e-5)), composite, &x, tol);
        }
    }
}

#[test]
fn gated_unit() {
    for (kind, tol) in KINDS {
        for (rows, width) in [(1, 4), (9, 1536), (200, 31)] {
            let x = (normal(&[rows, 2 * width], 3) * 3.0).to_kind(kind);
            let composite = |x: &Tensor, gate: GateActivation| {
                let halves = x.chunk(2, -1);
                match gate {
                    GateActivation::Silu => halves[0].silu() * &halves[1],
                    GateActivation::GeluTanh => halves[0].gelu("tanh") * &halves[1],
                }
            };
            for gate in [GateActivation::Silu, GateActivation::GeluTanh] {
                compare("gated", |x| expect(gated(x, gate)), |x| composite(x, gate), &x, tol);
            }
        }
    }
    // Far out, where e^x leaves the range of f32.
    let x = Tensor::from_slice(&[-200f32, 200., -0.0, 1., 1., 1.]).view([1, 6]);
    let halves = x.chunk(2, -1);
    assert_close("extremes", &expect(gated(&x, GateActivation::Silu)), &(halves[0].silu() * &halves[1]), Tol::F32);
    let gelu = halves[0].gelu("tanh") * &halves[1];
    assert_close("extremes", &expect(gated(&x, GateActivation::GeluTanh)), &gelu, Tol::F32);
}

/// NaN of one row reaches that row, and is neither lost nor spread.
#[test]
fn not_a_number_stays_in_its_row() {
    let nans = |y: &Tensor| Vec::<i64>::try_from(&y.isnan().sum_dim_intlist(1, false, Kind::Int64)).unwrap();
    for (kind, _) in KINDS {
        for column in [0, 3, 7] {
            let x = normal(&[3, 34], 1).to_kind(kind);
            let _ = x.get(1).get(column).fill_(f64::NAN);
            assert_eq!(nans(&expect(gated(&x, GateActivation::Silu))), [0, 1, 0]);
            assert_eq!(nans(&expect(rms_norm(&x, &normal(&[34], 2).to_kind(kind), 1e-5))), [0, 34, 0]);
            // One head of 8: the column is one of the query.
            let (layout, dims) = (layout(&[(0, 3)]), dims(1, 1, 8));
            let angles = Rope::new(8, 1e4, Scaling::Default).angles(&layout.position_ids(Device::Cpu), kind);
            let ways = vec![AttentionVariant { angles, rule: AttentionRule::plain(8) }];
            let plan = AttentionPlan::new(&layout, ways, &PastKeyValues::None, kind, Device::Cpu);
            let y = plan.attend(&dims, &x.narrow(1, 0, 24), &mut PastKeyValues::None, (LayerId(0), 0));
            assert_eq!(nans(&y), [0, 8, 0], "column {column}");
        }
    }
}

/// What oneDNN's bf16 products need at least; it packs for no lesser processor, nor where it is told to play one.
fn must_pack() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::env::var_os("ONEDNN_MAX_CPU_ISA").is_none()
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Whether a frozen weight of this type must be packed here.
fn packs(kind: Kind) -> bool {
    match kind {
        Kind::BFloat16 => must_pack(),
        _ => InstructionSet::current().expect("the environment asks for one that there is") != InstructionSet::Generic,
    }
}

#[test]
fn packed_weights() {
    for ((kind, tol), (out, input)) in
        KINDS.into_iter().flat_map(|kind| [(33, 48), (64, 7), (1, 401)].map(|s| (kind, s)))
    {
        let (weight, bias) = (normal(&[out, input], 1).to_kind(kind), normal(&[out], 2).to_kind(kind));
        let packed = Packed::new(&weight);
        if packed.is_none() {
            assert!(!packs(kind), "this processor has products of packed {kind:?}, and yet the weight was not packed");
            eprintln!("packed_weights: this processor packs no {kind:?}; products by plain weights are tested alone");
        }
        // A frozen layer packs where it can. A machine that packs nothing multiplies by the plain weight.
        let [layer, once] = [WeightCopies::Two, WeightCopies::One]
            .map(|copies| Linear::of(weight.shallow_clone(), None, Purpose::Frozen(copies)));
        for rows in [1, 2, 3, 5, 13, 70, 301] {
            let x = normal(&[rows, input], 3).to_kind(kind);
            let exact = |x: &Tensor| x.linear(&weight.to_kind(Kind::Float), Some(bias.to_kind(Kind::Float)));
            let without = |x: &Tensor| x.linear::<&Tensor>(&weight.to_kind(Kind::Float), None);
            compare("layer", |x| layer.forward(x), without, &x, tol.times(4.0));
            compare("layer held once", |x| once.forward(x), without, &x, tol.times(4.0));
            compare("plain", |x| x.linear(&weight, Some(&bias)), exact, &x, tol.times(4.0));
            if let Some(packed) = &packed {
                compare("packed", |x| expect(packed.linear(x, Some(&bias))), exact, &x, tol.times(4.0));
                assert_close("unpacked", &packed.unpacked(), &weight, Tol::Exact);
            }
        }
    }
}

/// In f32, to the last bit: what decoding, packing and padding rely on.
#[test]
fn rows_of_a_packed_product_do_not_depend_on_one_another() {
    let Some(packed) = Packed::new(&normal(&[70, 500], 1)) else { return };
    let x = normal(&[310, 500], 3);
    let all = expect(packed.linear(&x, None));
    for (row, rows) in [(0, 1), (7, 2), (100, 3), (300, 9), (5, 290), (40, 12)] {
        let some = expect(packed.linear(&x.narrow(0, row, rows), None));
        assert_close(&format!("{rows} rows from {row} on"), &some, &all.narrow(0, row, rows), Tol::Exact);
    }
}

/// In f32 the forward pass's panels serve the backward pass, and give what those of the transpose would, to the last bit.
#[test]
fn gradients_are_those_of_a_product_with_the_packed_transpose() {
    for (out, input) in [(70, 500), (500, 70), (33, 48), (1, 401), (401, 1), (224, 192)] {
        let weight = normal(&[out, input], 1);
        let (Some(packed), Some(transposed)) = (Packed::new(&weight), Packed::new(&weight.tr().contiguous())) else {
            return;
        };
        assert!(!packed.is_doubled_by_gradients());
        for rows in [1, 7, 32, 40, 289, 310] {
            let x = normal(&[rows, input], 3).set_requires_grad(true);
            let dy = normal(&[rows, out], 4);
            let y = expect(packed.linear(&x, None));
            let dx = Tensor::run_backward(&[(y * &dy).sum(Kind::Float)], &[&x], false, false).remove(0);
            let expected = no_grad(|| expect(transposed.linear(&dy, None)));
            assert_close(&format!("{rows} rows, [{out}, {input}]"), &dx, &expected, Tol::Exact);
        }
    }
}

#[test]
fn other_types_are_not_packed() {
    for kind in [Kind::Half, Kind::Double] {
        assert!(Packed::new(&normal(&[33, 48], 1).to_kind(kind)).is_none(), "{kind:?}");
    }
    for kind in [Kind::BFloat16, Kind::Float] {
        assert!(Packed::new(&normal(&[48], 1).to_kind(kind)).is_none(), "no matrix");
    }
}

/// Runs this module's tests once more with the kernels of each other instruction set that the processor has.
#[test]
fn every_instruction_set() {
    const NAME: &str = "every_instruction_set";
    let current = InstructionSet::current().expect("the environment asks for one that there is");
    for set in InstructionSet::ALL.into_iter().filter(|&set| set != current) {
        if !set.is_available() {
            eprintln!("{NAME}: this processor lacks {}, whose kernels are not tested", set.name());
            continue;
        }
        // The test binary itself; this test is left out, or it would not end.
        let program = std::env::current_exe().expect("the test binary");
        let run =
            std::process::Command::new(program).args(["kernels::", "--skip", NAME]).env(VARIABLE, set.name()).output();
        let run = run.expect("it runs");
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "with {}:\n{said}{}", set.name(), String::from_utf8_lossy(&run.stderr));
        assert!(said.contains("kernels::tests::normalisation ... ok"), "nothing was run with {}:\n{said}", set.name());
    }
}

/// What a child process of [`an_instruction_set_that_is_not_there`] runs.
#[test]
fn one_kernel() {
    let _ = expect(gated(&normal(&[1, 2], 1), GateActivation::Silu));
}

#[test]
fn an_instruction_set_that_is_not_there() {
    let program = std::env::current_exe().expect("the test binary");
    let run = std::process::Command::new(program)
        .args(["--exact", "kernels::tests::one_kernel"])
        .env(VARIABLE, "sse9")
        .output();
    let run = run.expect("it runs");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        !run.status.success() && said.contains("REFT_KERNELS=sse9: no such instruction set: choose one of generic"),
        "{said}"
    );
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

type MakePlan = fn(&Layout, Vec<AttentionVariant>, &PastKeyValues<'_>, Kind, Device) -> AttentionPlan;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn attention(
        parts in prop::collection::vec((0i64..9, 1i64..40), 1..5),
        (kv, group) in (1i64..4, 1i64..4),
        half in prop::sample::select(vec![1i64, 4, 16, 24, 32]),
        with_past in any::<bool>(),
        (window, unrotated) in (prop::sample::select(vec![None, None, Some(1i64), Some(5), Some(19)]), 0i64..5),
    ) {
        let parts: Vec<(i64, i64)> = parts.into_iter().map(|(past, len)| (if with_past { past } else { 0 }, len)).collect();
        let width = 2 * half + unrotated;
        let (layout, dims) = (layout(&parts), dims(kv * group, kv, width));
        let rule = AttentionRule { window, scaled_by: 3.0 + width as f64, cap: None };
        for (kind, tol) in KINDS {
            let cache = random_cache(&dims, parts.iter().map(|(past, len)| past + len).sum(), kind);
            let exact = in_f32(&cache);
            let attend = |plan: MakePlan, cache: &KvCache, kind: Kind, x: &Tensor| {
                let mut state = if with_past { PastKeyValues::Fixed(cache) } else { PastKeyValues::None };
                let angles = Rope::new(2 * half, 1e4, Scaling::Default).angles(&layout.position_ids(Device::Cpu), kind);
                let plan = plan(&layout, vec![AttentionVariant { angles, rule }], &state, kind, Device::Cpu);
                plan.attend(&dims, x, &mut state, (LayerId(0), 0))
            };
            let x = normal(&[layout.rows(), (dims.heads + 2 * kv) * width], 5).to_kind(kind);
            let composite = |x: &Tensor| attend(AttentionPlan::composite, &exact, Kind::Float, x);
            compare("attention", |x| attend(AttentionPlan::new, &cache, kind, x), composite, &x, tol);
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
            let kernel = EncoderAttentionPlan::new(&layout, &dims, kind, Device::Cpu, 0.0);
            let block = EncoderAttentionPlan::block(&layout, Kind::Float, Device::Cpu, 0.0);
            let attend = |how: &EncoderAttentionPlan, x: &Tensor| how.attend(&dims, &x.chunk(3, -1));
            compare("attention", |x| attend(&kernel, x), |x| attend(&block, x), &x, tol);
        }
    }

    #[test]
    fn attention_that_adds_to_its_cache(
        parts in prop::collection::vec((0i64..9, prop::sample::select(vec![1i64, 1, 3, 17])), 1..6),
        (kv, group) in (1i64..4, 1i64..4),
        window in prop::sample::select(vec![None, Some(1i64), Some(6)]),
    ) {
        let (layout, dims) = (layout(&parts), dims(kv * group, kv, 16));
        let rule = AttentionRule { window, ..AttentionRule::plain(16) };
        for (kind, tol) in KINDS {
            let x = normal(&[layout.rows(), (dims.heads + 2 * kv) * 16], 5).to_kind(kind);
            let cache = || random_cache(&dims, parts.iter().map(|(past, len)| past + len).sum(), kind);
            let run = |plan: MakePlan, mut cache: KvCache, kind: Kind| {
                let angles = Rope::new(16, 1e4, Scaling::Default).angles(&layout.position_ids(Device::Cpu), kind);
                let mut state = PastKeyValues::Grow(&mut cache);
                let plan = plan(&layout, vec![AttentionVariant { angles, rule }], &state, kind, Device::Cpu);
                let y = no_grad(|| plan.attend(&dims, &x.to_kind(kind), &mut state, (LayerId(0), 0)));
                let (k, v) = cache.layer(LayerId(0));
                [y, k.shallow_clone(), v.shallow_clone()].map(|tensor| tensor.to_kind(Kind::Float))
            };
            for (a, b) in run(AttentionPlan::new, cache(), kind).iter().zip(&run(AttentionPlan::composite, in_f32(&cache()), Kind::Float)) {
                assert_close("output, keys, values", a, b, tol);
            }
        }
    }
}
