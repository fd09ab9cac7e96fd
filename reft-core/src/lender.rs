//! What a model lends of itself to methods that compute with its weights or train them.

use tch::Tensor;

use crate::adaptation::NamedTensor;
use crate::site::{LayerId, LinearWeight, Site};

/// A layer normalisation, as the model computes with it.
#[derive(Debug)]
pub struct NormWeight {
    /// Gain `[D]`.
    pub weight: Tensor,
    /// Bias `[D]`.
    pub bias: Tensor,
    /// Added to the variance.
    pub eps: f64,
}

impl NormWeight {
    /// `(x - mean) / sd * weight + bias` of rows `[M, D]`, f32.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let [weight, bias] = [&self.weight, &self.bias].map(|part| part.to_kind(x.kind()));
        x.layer_norm(weight.size(), Some(&weight), Some(&bias), self.eps, false)
    }
}

/// A model, to what is trained on it.
pub trait Lender {
    /// The frozen weight behind a linear component; none where there is no such map.
    fn linear(&self, at: Site) -> Option<LinearWeight>;

    /// The normalisation of the sum of the MLP's output and its input, where a block ends with one.
    fn norm(&self, layer: LayerId) -> Option<NormWeight>;

    /// All tensors that a checkpoint of the model holds, by name, f32.
    ///
    /// # Errors
    /// When they cannot be read again, in words.
    fn tensors(&self) -> Result<Vec<NamedTensor>, String>;
}

/// Lends nothing: for methods that need nothing but the model's sizes.
#[derive(Clone, Copy, Debug)]
pub struct NoLender;

impl Lender for NoLender {
    fn linear(&self, _: Site) -> Option<LinearWeight> {
        None
    }

    fn norm(&self, _: LayerId) -> Option<NormWeight> {
        None
    }

    fn tensors(&self) -> Result<Vec<NamedTensor>, String> {
        Ok(Vec::new())
    }
}
