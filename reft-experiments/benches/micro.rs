//! The parts of a training step one by one, forth and back: ours beside the alternative that was not taken.
//!
//! `cargo bench --profile dev --bench micro`: the work is libtorch's and that of kernels compiled with all optimisations,
//! so that a second build of everything would measure the same.

use std::collections::BTreeMap;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use reft_core::AdaptSpec;
use reft_core::adaptation::Mode;
use reft_core::layout::{Extent, Layout};
use reft_core::orthonormal::orthonormalise;
use reft_core::rng::Seed;
use reft_core::site::{Component, Dims, LayerId, Mlp, Site};
use reft_models::attention::{AttentionPlan, AttentionRule, AttentionVariant, PastKeyValues};
use reft_models::nn::{RmsNorm, WeightSource, gated_silu};
use reft_models::rope::{Rope, Scaling};
use serde_json::json;
use tch::{Device, Kind, Tensor};

/// Sizes of SmolLM2-135M.
const DIMS: Dims = Dims {
    layers: 30,
    width: 576,
    heads: 9,
    kv_heads: 3,
    head_width: 64,
    mlp_width: 1536,
    vocab: 49152,
    mlp: Mlp::Gated,
};

/// A batch of the commonsense setting: sequences, tokens each.
const BATCH: (i64, i64) = (16, 90);

/// Type of the base weights and of the states between blocks.
const KIND: Kind = Kind::BFloat16;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn random(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind)
}

fn layout() -> Layout {
    Layout::packed(&vec![Extent { len: BATCH.1, prompt: BATCH.1 }; BATCH.0 as usize])
}

/// A call and its gradient with respect to `x`.
fn both(group: &mut Group<'_>, name: &str, x: &Tensor, f: impl Fn(&Tensor) -> Tensor) {
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let x = x.detach().set_requires_grad(true);
            f(&x).to_kind(Kind::Float).sum(Kind::Float).backward();
        });
    });
}

fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    let ((b, t), e) = (BATCH, DIMS.head_width);
    let layout = layout();
    let qkv = random(&[b * t, (DIMS.heads + 2 * DIMS.kv_heads) * e], KIND);
    let mut with =
        |name: &str, plan: fn(&Layout, Vec<AttentionVariant>, &PastKeyValues<'_>, Kind, Device) -> AttentionPlan| {
            let angles = Rope::new(e, 1e4, Scaling::Default).angles(&layout.position_ids(Device::Cpu), KIND);
            let ways = vec![AttentionVariant { angles, rule: AttentionRule::plain(e) }];
            let plan = plan(&layout, ways, &PastKeyValues::None, KIND, Device::Cpu);
            both(&mut group, name, &qkv, |x| plan.attend(&DIMS, x, &mut PastKeyValues::None, (LayerId(0), 0)));
        };
    with("ours", AttentionPlan::new);
    with("explicit products", AttentionPlan::composite);
    // Rotation would come on top.
    both(&mut group, "libtorch fused, without rotation", &qkv, |x| {
        let parts = x.split_with_sizes([DIMS.heads * e, DIMS.kv_heads * e, DIMS.kv_heads * e], -1);
        let heads = |part: &Tensor| part.reshape([b, t, -1, e]).transpose(1, 2);
        let (q, k, v) = (heads(&parts[0]), heads(&parts[1]), heads(&parts[2]));
        Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, true, None, true)
    });
}

fn element_wise(criterion: &mut Criterion) {
    let rows = BATCH.0 * BATCH.1;
    let mut group = criterion.benchmark_group("normalisation");
    let (x, w) = (random(&[rows, DIMS.width], KIND), random(&[DIMS.width], KIND));
    let module = BTreeMap::from([("norm.weight".to_owned(), w.shallow_clone())]);
    let norm = RmsNorm::load(&WeightSource::given(&module, KIND), "norm", DIMS.width, 1e-5).expect("it is there");
    both(&mut group, "ours", &x, |x| norm.forward(x));
    both(&mut group, "libtorch rms_norm", &x, |x| x.rms_norm([DIMS.width], Some(&w), 1e-5));
    group.finish();
    let mut group = criterion.benchmark_group("gated unit");
    let gate_up = random(&[rows, 2 * DIMS.mlp_width], KIND);
    both(&mut group, "ours", &gate_up, gated_silu);
    both(&mut group, "libtorch silu, mul", &gate_up, |x| {
        let halves = x.chunk(2, -1);
        halves[0].silu() * &halves[1]
    });
}

/// All layers at once against one product of reflections a layer, as the reference library makes it.
fn orthonormalisation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("orthonormal bases of all layers");
    let a = random(&[DIMS.layers as i64, 8, DIMS.width], Kind::Float);
    both(&mut group, "batched Cholesky-QR", &a, orthonormalise);
    both(&mut group, "Householder product a layer", &a, |a| {
        let of_layer = |a: Tensor| {
            let a = a.tr().tril(-1);
            let tau = (a.square().sum_dim_intlist(0, false, Kind::Float) + 1.0).reciprocal() * 2.0;
            a.linalg_householder_product(&tau)
        };
        Tensor::stack(&a.unbind(0).into_iter().map(of_layer).collect::<Vec<_>>(), 0)
    });
}

/// Gather, edit and scatter in one layer, against adding a low-rank product to every row.
fn edit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("edit of a layer");
    let x = random(&[BATCH.0 * BATCH.1, DIMS.width], KIND);
    let spec = json!({"reft": {"intervention": "loreft", "rank": 8, "positions": "f7+l7", "layers": [0]}});
    let spec: AdaptSpec = serde_json::from_value(spec).expect("valid");
    let adaptation = spec.build(&DIMS, Seed(0), Device::Cpu).expect("it fits");
    let site = Site { layer: LayerId(0), component: Component::BlockOutput };
    let step = adaptation.begin(Mode::Train);
    let hooks = step.hooks(&layout()).expect("disjoint");
    both(&mut group, "gather, edit, scatter", &x, |x| hooks.visit(site, x, x * 1.0));
    let (down, up) = (random(&[8, DIMS.width], KIND), random(&[DIMS.width, 8], KIND));
    let every = |x: &Tensor| x * 1.0 + x.linear::<&Tensor>(&down, None).linear::<&Tensor>(&up, None);
    both(&mut group, "low-rank product in every row", &x, every);
}

criterion_group! {
    name = micro;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = attention, element_wise, orthonormalisation, edit
}
criterion_main!(micro);
