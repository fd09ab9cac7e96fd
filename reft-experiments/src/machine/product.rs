//! A product of rows with a frozen weight, forward and backward, as models do it.

use reft_models::kernels::Packed;
use tch::{Device, Kind, Tensor, no_grad};

/// `x Wᵀ` with `x` `[rows, in]` and a constant `W` `[out, in]`, of random numbers on the CPU.
#[derive(Debug)]
pub struct Product {
    x: Tensor,
    weight: Tensor,
    packed: Option<Packed>,
    /// The gradient of the output, `[rows, out]`.
    gradient: Tensor,
}

impl Product {
    /// Of `rows` rows, with a weight of this type.
    pub fn new(rows: i64, (out, input): (i64, i64), kind: Kind) -> Self {
        let random = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
        let weight = random([out, input]);
        let packed = Packed::new(&weight);
        Self { x: random([rows, input]), weight, packed, gradient: random([rows, out]) }
    }

    /// Floating-point operations, forward or backward.
    pub fn operations(&self) -> f64 {
        let (rows, input) = self.x.size2().expect("a matrix");
        2.0 * (rows * input * self.weight.size()[0]) as f64
    }

    fn of(&self, x: &Tensor) -> Tensor {
        match &self.packed {
            Some(packed) => packed.linear(x, None),
            None => x.linear::<&Tensor>(&self.weight, None),
        }
    }

    /// The forward product, with nothing kept for a backward pass.
    pub fn forward(&self) {
        no_grad(|| drop(self.of(&self.x)));
    }

    /// The backward product, `dx = dy W`, to be called any number of times; what autograd runs for it, which has another
    /// memory layout than the forward product and may run at another speed.
    pub fn backward(&self) -> impl Fn() + use<> {
        let x = self.x.detach().copy().set_requires_grad(true);
        let loss = (self.of(&x) * &self.gradient).sum(Kind::Float);
        move || drop(Tensor::run_backward(&[&loss], &[&x], true, false))
    }
}
