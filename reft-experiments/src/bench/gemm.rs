//! The bound that matrix products set: what an update costs if nothing but they took time.

use std::time::{Duration, Instant};

use reft_core::site::Dims;
use tch::Kind;

use crate::machine::product::Product;

/// Time after which no further call is timed: products of a type that the processor is slow with take seconds.
const LIMIT: Duration = Duration::from_secs(1);

/// Median seconds of one call, of nine after three others; of fewer where they take long.
pub fn seconds(mut call: impl FnMut()) -> f64 {
    let mut times = Vec::new();
    let began = Instant::now();
    for untimed in [true, true, true].into_iter().chain([false; 9]) {
        let one = Instant::now();
        call();
        if !untimed || began.elapsed() > LIMIT {
            times.push(one.elapsed().as_secs_f64());
        }
        if began.elapsed() > LIMIT && !times.is_empty() {
            break;
        }
    }
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
pub struct ProductCost {
    /// Time.
    pub seconds: f64,
    /// Floating-point operations.
    pub operations: f64,
}

impl ProductCost {
    /// So many times.
    fn times(self, n: f64) -> Self {
        Self { seconds: self.seconds * n, operations: self.operations * n }
    }

    fn plus(self, other: Self) -> Self {
        Self { seconds: self.seconds + other.seconds, operations: self.operations + other.operations }
    }
}

/// One product of `rows` with a weight `[out, input]`, forward; with its backward product, of the same operations, if asked for.
fn product(rows: i64, shape: (i64, i64), kind: Kind, back: bool) -> ProductCost {
    let product = Product::new(rows, shape, kind);
    let operations = product.operations();
    let forward = ProductCost { seconds: seconds(|| product.forward()), operations };
    if back { forward.plus(ProductCost { seconds: seconds(product.backward()), operations }) } else { forward }
}

/// The products of one block for this many rows: forward, and backward if asked for.
pub fn block(dims: &Dims, rows: i64, kind: Kind, back: bool) -> ProductCost {
    let of_shape = |shape| product(rows, shape, kind, back);
    shapes(dims).into_iter().map(of_shape).fold(ProductCost::default(), ProductCost::plus)
}

/// Rows of a pass that takes prompts: enough for the products' full speed.
const PREFILL: i64 = 512;

/// All products of answers to prompts of so many tokens together, when `lanes` of them go on by a token in each pass.
pub fn answers(dims: &Dims, kind: Kind, prompts: usize, answers: usize, lanes: usize) -> ProductCost {
    let layers = dims.layers as f64;
    let prefill = block(dims, PREFILL, kind, false).times(layers * prompts as f64 / PREFILL as f64);
    let head = product(lanes as i64, (dims.vocab, dims.width), kind, false);
    let pass = block(dims, lanes as i64, kind, false).times(layers).plus(head);
    prefill.plus(pass.times(answers as f64 / lanes as f64))
}
