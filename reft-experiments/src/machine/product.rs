//! A product of rows with a frozen weight, forward and backward, as models do it.

use reft_models::nn::{Linear, Purpose, WeightCopies};
use tch::{Device, Kind, Tensor, no_grad};

/// `x Wᵀ` with `x` `[rows, in]` and a constant `W` `[out, in]`, of random numbers on the CPU.
#[derive(Debug)]
pub struct Product {
    x: Tensor,
    layer: Linear,
    operations: f64,
    /// The gradient of the output, `[rows, out]`.
    gradient: Tensor,
}

impl Product {
    /// Of `rows` rows, with a weight of this type.
    pub fn new(rows: i64, (out, input): (i64, i64), kind: Kind) -> Self {
        let random = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
        let layer = Linear::of(random([out, input]), None, Purpose::Frozen(WeightCopies::Two));
        let operations = 2.0 * (rows * input * out) as f64;
        Self { x: random([rows, input]), layer, operations, gradient: random([rows, out]) }
    }

    /// Floating-point operations, forward or backward.
    pub fn operations(&self) -> f64 {
        self.operations
    }

    /// The forward product, with nothing kept for a backward pass.
    pub fn forward(&self) {
        no_grad(|| drop(self.layer.forward(&self.x)));
    }

    /// The backward product, `dx = dy W`, to be called any number of times; what autograd runs for it, which has another
    /// memory layout than the forward product and may run at another speed.
    pub fn backward(&self) -> impl Fn() + use<> {
        let x = self.x.detach().copy().set_requires_grad(true);
        let loss = (self.layer.forward(&x) * &self.gradient).sum(Kind::Float);
        move || drop(Tensor::run_backward(&[&loss], &[&x], true, false))
    }
}
