//! The bound that matrix products set: what an update costs if nothing but they took time.

use std::time::Instant;

use reft_core::site::Dims;
use reft_models::kernels::Packed;
use tch::{Device, Kind, Tensor, no_grad};

/// Median seconds of one call.
pub fn seconds(mut call: impl FnMut()) -> f64 {
    (0..3).for_each(|_| call());
    let mut times: Vec<f64> = (0..9)
        .map(|_| {
            let began = Instant::now();
            call();
            began.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Output and input width of each product of a block: q/k/v, attention output, gate/up, down.
fn shapes(dims: &Dims) -> [(i64, i64); 4] {
    let q = dims.heads * dims.head_width;
    let kv = dims.kv_heads * dims.head_width;
    [(q + 2 * kv, dims.width), (dims.width, q), (2 * dims.mlp_width, dims.width), (dims.width, dims.mlp_width)]
}

/// Seconds, and floating-point operations, of the products of one block for this many rows: forth, and back if asked for.
pub fn block(dims: &Dims, rows: i64, kind: Kind, back: bool) -> (f64, f64) {
    no_grad(|| {
        let (mut time, mut operations) = (0.0, 0.0);
        for (out, input) in shapes(dims) {
            let weight = Tensor::randn([out, input], (Kind::Float, Device::Cpu)).to_kind(kind);
            let directions = if back { vec![weight.shallow_clone(), weight.tr().contiguous()] } else { vec![weight] };
            for weight in directions {
                let x = Tensor::randn([rows, weight.size()[1]], (Kind::Float, Device::Cpu)).to_kind(kind);
                let packed = Packed::new(&weight);
                time += seconds(|| match &packed {
                    Some(packed) => drop(packed.linear(&x, None)),
                    None => drop(x.linear::<&Tensor>(&weight, None)),
                });
                operations += 2.0 * (rows * out * input) as f64;
            }
        }
        (time, operations)
    })
}
