//! Measures in a tenth of a second how fast a type's products are.

use std::time::{Duration, Instant};

use tch::Kind;

use super::device::Dtype;
use super::product::Product;

/// Rows, as of a small batch's tokens; output and input width, as of a small model. Smaller products take as long as what is done
/// around them; one of these in the slowest kind that was seen (3 GFLOP/s) takes 15 ms.
const SHAPE: (i64, (i64, i64)) = (64, (576, 576));

/// Time after which a measurement does not begin again.
const LIMIT: Duration = Duration::from_millis(10);

/// How many times as long as in f32 one forward and one backward product take in a type on the CPU. Takes a twentieth to a tenth
/// of a second.
pub fn slowdown(dtype: Dtype) -> f64 {
    seconds(dtype.kind()) / seconds(Kind::Float)
}

fn seconds(kind: Kind) -> f64 {
    let (rows, shape) = SHAPE;
    let product = Product::new(rows, shape, kind);
    shortest(|| product.forward()) + shortest(product.backward())
}

/// Seconds of the shortest call after the first, of as many as [`LIMIT`] has room for: a neighbour's work only adds.
fn shortest(call: impl Fn()) -> f64 {
    call();
    let (began, mut shortest) = (Instant::now(), f64::INFINITY);
    while began.elapsed() < LIMIT || shortest.is_infinite() {
        let one = Instant::now();
        call();
        shortest = shortest.min(one.elapsed().as_secs_f64());
    }
    shortest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowdown_is_a_finite_ratio() {
        let slower = slowdown(Dtype::F32);
        assert!(slower.is_finite() && slower > 0.0, "{slower}");
    }
}
