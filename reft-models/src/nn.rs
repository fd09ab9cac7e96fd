//! The layers that models are made of. Weights are frozen: none of them ever requires a gradient.

use tch::{Device, Kind, Tensor};

use crate::kernels::{self, Packed};
use crate::weights::{Weights, WeightsError};

/// Where the tensors of one module are read from, and into what. Names are those of the checkpoint.
#[derive(Clone)]
pub struct Source<'a> {
    weights: &'a Weights,
    prefix: String,
    kind: Kind,
    device: Device,
}

impl<'a> Source<'a> {
    /// The root of a checkpoint, read into this type and device.
    pub fn new(weights: &'a Weights, kind: Kind, device: Device) -> Self {
        Self { weights, prefix: String::new(), kind, device }
    }

    /// The module `name` below this one.
    #[must_use]
    pub fn sub(&self, name: impl std::fmt::Display) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), ..self.clone() }
    }

    /// A tensor of this module.
    ///
    /// # Errors
    /// When it is missing or of another shape.
    pub fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, WeightsError> {
        self.weights.tensor(&format!("{}{name}", self.prefix), shape, self.kind, self.device)
    }

    /// Whether this module has such a tensor.
    pub fn contains(&self, name: &str) -> bool {
        self.weights.contains(&format!("{}{name}", self.prefix))
    }
}

/// `x Wᵀ + b`; several layers with the same input may be fused into one.
#[derive(Debug)]
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

/// `[out, in]`.
#[derive(Debug)]
enum Weight {
    Plain(Tensor),
    Packed(Packed),
}

impl Weight {
    fn new(weight: Tensor) -> Self {
        Packed::new(&weight).map_or(Self::Plain(weight), Self::Packed)
    }
}

impl Linear {
    /// The modules `names` of `source`, outputs one after the other: `[outs.sum(), input]`.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn fused(source: &Source<'_>, names: &[&str], input: i64, outs: &[i64]) -> Result<Self, WeightsError> {
        let parts = || names.iter().zip(outs);
        let weights: Result<Vec<_>, _> =
            parts().map(|(name, &out)| source.sub(name).tensor("weight", &[out, input])).collect();
        let bias = if names.iter().all(|name| source.sub(name).contains("bias")) {
            let biases: Result<Vec<_>, _> =
                parts().map(|(name, &out)| source.sub(name).tensor("bias", &[out])).collect();
            Some(Tensor::cat(&biases?, 0))
        } else {
            None
        };
        Ok(Self { weight: Weight::new(Tensor::cat(&weights?, 0)), bias })
    }

    /// One module.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn load(source: &Source<'_>, name: &str, input: i64, out: i64) -> Result<Self, WeightsError> {
        Self::fused(source, &[name], input, &[out])
    }

    /// A layer without bias that shares its weight `[out, in]` with somebody else (tied embeddings).
    pub fn tied(weight: &Tensor) -> Self {
        Self { weight: Weight::new(weight.shallow_clone()), bias: None }
    }

    /// `[N, in] -> [N, out]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match &self.weight {
            Weight::Plain(weight) => x.linear(weight, self.bias.as_ref()),
            Weight::Packed(weight) => weight.linear(x, self.bias.as_ref()),
        }
    }
}

/// Root-mean-square normalisation, `x / rms(x) * w`.
#[derive(Debug)]
pub struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    /// The module `name` of `source`.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn load(source: &Source<'_>, name: &str, width: i64, eps: f64) -> Result<Self, WeightsError> {
        Ok(Self { weight: source.sub(name).tensor("weight", &[width])?, eps })
    }

    /// `[N, D] -> [N, D]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if kernels::cover_like(x) {
            return kernels::rms_norm(x, &self.weight, self.eps);
        }
        x.rms_norm(self.weight.size(), Some(&self.weight), self.eps)
    }
}

/// `(x - mean) / sd * w + b`.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// The module `name` of `source`. Old checkpoints call weight and bias `gamma` and `beta`.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn load(source: &Source<'_>, name: &str, width: i64, eps: f64) -> Result<Self, WeightsError> {
        let source = source.sub(name);
        let (weight, bias) = if source.contains("gamma") { ("gamma", "beta") } else { ("weight", "bias") };
        Ok(Self { weight: source.tensor(weight, &[width])?, bias: source.tensor(bias, &[width])?, eps })
    }

    /// `[N, D] -> [N, D]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, false)
    }
}

/// `silu(gate) * up` of rows `[N, 2 D]` that hold gate and up side by side; `[N, D]`.
pub fn gated_silu(x: &Tensor) -> Tensor {
    if kernels::cover_like(x) {
        return kernels::gated_silu(x);
    }
    let halves = x.chunk(2, -1);
    halves[0].silu() * &halves[1]
}
