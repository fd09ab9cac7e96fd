//! The parts of a training step one by one: ours beside the alternative that was not taken.
//!
//! A plain median of calls in this program; a benchmark harness would want a build profile of its own, and with it a
//! second build of everything.

use anyhow::Result;
use reft_core::AdaptSpec;
use reft_core::adaptation::Mode;
use reft_core::hooks::Hooks;
use reft_core::layout::{Extent, Layout};
use reft_core::orthonormal::orthonormalise;
use reft_core::rng::Seed;
use reft_core::site::{Component, Dims, LayerId, Site};
use reft_models::attention::{Cache, Plan};
use reft_models::kernels;
use reft_models::rope::{Angles, Rope, Scaling};
use serde::Serialize;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::gemm::seconds;

/// A batch of the commonsense setting: sequences, tokens each.
const BATCH: (i64, i64) = (16, 90);

/// One line of `micro.csv`: milliseconds of a call, forth and back.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Part {
    /// Which part of a step.
    pub part: &'static str,
    /// Ours.
    pub ours_ms: f64,
    /// What it is compared with.
    pub other: &'static str,
    /// That.
    pub other_ms: f64,
}

/// Milliseconds of a call and its gradient.
fn both(x: &Tensor, f: impl Fn(&Tensor) -> Tensor) -> f64 {
    1e3 * seconds(|| {
        let x = x.detach().set_requires_grad(true);
        f(&x).to_kind(Kind::Float).sum(Kind::Float).backward();
    })
}

fn random(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind)
}

/// All parts, for a model of these sizes in bf16.
///
/// # Errors
/// When the model is too small for the setting.
pub fn run(dims: &Dims) -> Result<Vec<Part>> {
    let kind = Kind::BFloat16;
    let rows = BATCH.0 * BATCH.1;
    let (x, w) = (random(&[rows, dims.width], kind), random(&[dims.width], kind));
    let gate_up = random(&[rows, 2 * dims.mlp_width], kind);
    let mut parts = attention(dims, kind);
    parts.push(Part {
        part: "normalisation",
        ours_ms: both(&x, |x| kernels::rms_norm(x, &w, 1e-5)),
        other: "libtorch rms_norm",
        other_ms: both(&x, |x| x.rms_norm([dims.width], Some(&w), 1e-5)),
    });
    parts.push(Part {
        part: "gated unit",
        ours_ms: both(&gate_up, kernels::gated_silu),
        other: "libtorch silu, mul",
        other_ms: both(&gate_up, |x| {
            let halves = x.chunk(2, -1);
            halves[0].silu() * &halves[1]
        }),
    });
    parts.push(orthonormalisation(dims));
    parts.push(edit(dims, &x)?);
    Ok(parts)
}

fn attention(dims: &Dims, kind: Kind) -> Vec<Part> {
    let (b, t) = BATCH;
    let e = dims.head_width;
    let layout = Layout::packed(&vec![Extent { len: t, prompt: t }; b as usize]);
    let qkv = random(&[b * t, (dims.heads + 2 * dims.kv_heads) * e], kind);
    let with = |plan: fn(&Layout, Angles, &Cache<'_>, Kind, Device) -> Plan| {
        let angles = Rope::new(e, 1e4, Scaling::Default).angles(&layout.position_ids(Device::Cpu), kind);
        let plan = plan(&layout, angles, &Cache::None, kind, Device::Cpu);
        both(&qkv, |x| plan.attend(dims, x, &mut Cache::None, LayerId(0)))
    };
    // Without rotation, which would come on top.
    let fused = both(&qkv, |x| {
        let parts = x.split_with_sizes([dims.heads * e, dims.kv_heads * e, dims.kv_heads * e], -1);
        let heads = |part: &Tensor| part.reshape([b, t, -1, e]).transpose(1, 2);
        let (q, k, v) = (heads(&parts[0]), heads(&parts[1]), heads(&parts[2]));
        Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, true, None, true)
    });
    let ours_ms = with(Plan::new);
    vec![
        Part { part: "attention", ours_ms, other: "explicit products", other_ms: with(Plan::composite) },
        Part { part: "attention", ours_ms, other: "libtorch fused, without rotation", other_ms: fused },
    ]
}

/// All layers at once against one product of reflections a layer, as the reference library makes it.
fn orthonormalisation(dims: &Dims) -> Part {
    let (layers, rank) = (dims.layers as i64, 8);
    let a = random(&[layers, rank, dims.width], Kind::Float);
    let other = both(&a, |a| {
        let of_layer = |a: Tensor| {
            let a = a.tr().tril(-1);
            let tau = (a.square().sum_dim_intlist(0, false, Kind::Float) + 1.0).reciprocal() * 2.0;
            a.linalg_householder_product(&tau)
        };
        Tensor::stack(&a.unbind(0).into_iter().map(of_layer).collect::<Vec<_>>(), 0)
    });
    Part {
        part: "orthonormal bases of all layers",
        ours_ms: both(&a, orthonormalise),
        other: "Householder product a layer",
        other_ms: other,
    }
}

/// Gather, edit and scatter in one layer, against adding a low-rank product to every row.
fn edit(dims: &Dims, x: &Tensor) -> Result<Part> {
    let (b, t) = BATCH;
    let spec = json!({"reft": {"intervention": "loreft", "rank": 8, "positions": "f7+l7", "layers": [0]}});
    let spec: AdaptSpec = serde_json::from_value(spec)?;
    let adaptation = spec.build(dims, Seed(0), Device::Cpu)?;
    let layout = Layout::packed(&vec![Extent { len: t, prompt: t }; b as usize]);
    let site = Site { layer: LayerId(0), component: Component::BlockOutput };
    let step = adaptation.begin(Mode::Train);
    let hooks: Box<dyn Hooks + '_> = step.hooks(&layout)?;
    let (down, up) = (random(&[8, dims.width], x.kind()), random(&[dims.width, 8], x.kind()));
    Ok(Part {
        part: "gather, edit, scatter in a layer",
        ours_ms: both(x, |x| hooks.visit(site, x, x * 1.0)),
        other: "low-rank product in every row",
        other_ms: both(x, |x| x * 1.0 + x.linear::<&Tensor>(&down, None).linear::<&Tensor>(&up, None)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_measured_on_both_sides() {
        let dims = Dims { layers: 2, width: 32, heads: 4, kv_heads: 2, head_width: 8, mlp_width: 16, vocab: 8 };
        let parts = run(&dims).expect("a model that is large enough");
        assert_eq!(parts.len(), 6);
        assert!(parts.iter().all(|part| part.ours_ms > 0.0 && part.other_ms > 0.0), "{parts:?}");
    }
}
