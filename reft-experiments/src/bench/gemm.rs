//! The bound that matrix products set: what an update costs if nothing but they took time.

use std::time::Instant;

use reft_core::site::Dims;
use reft_models::nn::Linear;
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

/// What products cost.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Cost {
    /// Time.
    pub seconds: f64,
    /// Floating-point operations.
    pub operations: f64,
}

impl Cost {
    /// So many times.
    fn times(self, n: f64) -> Self {
        Self { seconds: self.seconds * n, operations: self.operations * n }
    }

    fn plus(self, other: Self) -> Self {
        Self { seconds: self.seconds + other.seconds, operations: self.operations + other.operations }
    }
}

/// One product of `rows` with a weight `[out, input]`, as the model does it.
fn product(rows: i64, weight: &Tensor) -> Cost {
    let (out, input) = weight.size2().expect("a matrix");
    let x = Tensor::randn([rows, input], (Kind::Float, Device::Cpu)).to_kind(weight.kind());
    let layer = Linear::tied(weight);
    let seconds = seconds(|| drop(layer.forward(&x)));
    Cost { seconds, operations: 2.0 * (rows * out * input) as f64 }
}

fn weight(out: i64, input: i64, kind: Kind) -> Tensor {
    Tensor::randn([out, input], (Kind::Float, Device::Cpu)).to_kind(kind)
}

/// The products of one block for this many rows: forth, and back if asked for.
pub fn block(dims: &Dims, rows: i64, kind: Kind, back: bool) -> Cost {
    no_grad(|| {
        let mut cost = Cost::default();
        for (out, input) in shapes(dims) {
            let forth = weight(out, input, kind);
            cost = cost.plus(product(rows, &forth));
            if back {
                cost = cost.plus(product(rows, &forth.tr().contiguous()));
            }
        }
        cost
    })
}

/// Rows of a pass that takes prompts: enough for the products' full speed.
const PREFILL: i64 = 512;

/// All products of answers to prompts of so many tokens together, when `lanes` of them go on by a token in each pass.
pub fn answers(dims: &Dims, kind: Kind, prompts: usize, answers: usize, lanes: usize) -> Cost {
    let layers = dims.layers as f64;
    let prefill = block(dims, PREFILL, kind, false).times(layers * prompts as f64 / PREFILL as f64);
    let head = no_grad(|| product(lanes as i64, &weight(dims.vocab, dims.width, kind)));
    let pass = block(dims, lanes as i64, kind, false).times(layers).plus(head);
    prefill.plus(pass.times(answers as f64 / lanes as f64))
}
