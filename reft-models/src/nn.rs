//! The layers that models are made of. Weights of a checkpoint are frozen; given ones may require a gradient.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use reft_core::adaptation::NamedTensor;
use reft_core::lender::NormWeight;
use reft_core::site::LinearWeight;
use tch::{Device, Kind, Tensor};

use crate::kernels::{self, Packed};
use crate::weights::{Weights, WeightsError};

/// Where the tensors of one module are read from, and into what. Names are those of the checkpoint.
#[derive(Clone)]
pub struct Source<'a> {
    tensors: Tensors<'a>,
    prefix: String,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Tensors<'a> {
    /// Frozen, in files.
    Stored(&'a Weights, Device),
    /// At hand, perhaps trained.
    Given(&'a BTreeMap<String, Tensor>),
    /// In files; each tensor that is read is noted, so that it can be trained.
    Noted(&'a Weights, Device, &'a RefCell<Vec<NamedTensor>>),
}

impl<'a> Source<'a> {
    /// The root of a checkpoint, read into this type and device.
    pub fn new(weights: &'a Weights, kind: Kind, device: Device) -> Self {
        Self { tensors: Tensors::Stored(weights, device), prefix: String::new(), kind }
    }

    /// The root of a checkpoint of which every tensor that a port reads is noted under its name, f32.
    pub fn noting(weights: &'a Weights, device: Device, notes: &'a RefCell<Vec<NamedTensor>>) -> Self {
        Self { tensors: Tensors::Noted(weights, device, notes), prefix: String::new(), kind: Kind::Float }
    }

    /// Tensors at hand, used in this type. Gradients flow to them.
    pub fn given(tensors: &'a BTreeMap<String, Tensor>, kind: Kind) -> Self {
        Self { tensors: Tensors::Given(tensors), prefix: String::new(), kind }
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
        let name = format!("{}{name}", self.prefix);
        match self.tensors {
            Tensors::Stored(weights, device) => weights.tensor(&name, shape, self.kind, device),
            Tensors::Noted(weights, device, notes) => {
                let tensor = weights.tensor(&name, shape, self.kind, device)?;
                notes.borrow_mut().push(NamedTensor { name, tensor: tensor.shallow_clone() });
                Ok(tensor)
            }
            Tensors::Given(tensors) => match tensors.get(&name) {
                Some(tensor) if tensor.size() == shape => Ok(tensor.to_kind(self.kind)),
                Some(tensor) => {
                    let (found, expected) = (tensor.size(), shape.to_vec());
                    Err(WeightsError::Shape { path: PathBuf::from("trained weights"), name, found, expected })
                }
                None => {
                    let hint = "they are of another model".to_owned();
                    Err(WeightsError::Missing { path: PathBuf::from("trained weights"), name, hint })
                }
            },
        }
    }

    /// Whether this module has such a tensor.
    pub fn contains(&self, name: &str) -> bool {
        let name = format!("{}{name}", self.prefix);
        match self.tensors {
            Tensors::Stored(weights, _) | Tensors::Noted(weights, ..) => weights.contains(&name),
            Tensors::Given(tensors) => tensors.contains_key(&name),
        }
    }

    /// Refuses a tensor that the configuration says is not there.
    fn without(&self, name: &str) -> Result<(), WeightsError> {
        match self.tensors {
            Tensors::Stored(weights, _) | Tensors::Noted(weights, ..) if self.contains(name) => {
                let (path, name) = (weights.path().to_owned(), format!("{}{name}", self.prefix));
                Err(WeightsError::Unexpected { path, name })
            }
            Tensors::Stored(..) | Tensors::Given(_) | Tensors::Noted(..) => Ok(()),
        }
    }

    /// A weight as products want it.
    fn arranged(&self, weight: Tensor) -> Weight {
        match self.tensors {
            Tensors::Stored(..) => Weight::new(weight),
            // Packed weights are constant.
            Tensors::Given(_) | Tensors::Noted(..) => Weight::Plain(weight),
        }
    }
}

/// Whether a layer adds a bias.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bias {
    /// It does, and the checkpoint must hold it.
    With,
    /// It does not, and the checkpoint must not hold one.
    Without,
}

impl Bias {
    /// As a configuration's switch says.
    pub fn when(on: bool) -> Self {
        if on { Self::With } else { Self::Without }
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
    /// When a tensor is missing, of another shape, or a bias is there that should not be.
    pub fn fused(
        source: &Source<'_>,
        names: &[&str],
        input: i64,
        outs: &[i64],
        bias: Bias,
    ) -> Result<Self, WeightsError> {
        let parts = || names.iter().zip(outs).map(|(name, &out)| (source.sub(name), out));
        let weights: Result<Vec<_>, _> = parts().map(|(part, out)| part.tensor("weight", &[out, input])).collect();
        let bias = match bias {
            Bias::With => {
                let biases: Result<Vec<_>, _> = parts().map(|(part, out)| part.tensor("bias", &[out])).collect();
                Some(Tensor::cat(&biases?, 0))
            }
            Bias::Without => {
                parts().try_for_each(|(part, _)| part.without("bias"))?;
                None
            }
        };
        Ok(Self { weight: source.arranged(Tensor::cat(&weights?, 0)), bias })
    }

    /// One module.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape, or a bias is there that should not be.
    pub fn load(source: &Source<'_>, name: &str, input: i64, out: i64, bias: Bias) -> Result<Self, WeightsError> {
        Self::fused(source, &[name], input, &[out], bias)
    }

    /// A layer without bias that shares its frozen weight `[out, in]` with another part of the model.
    pub fn tied(weight: &Tensor) -> Self {
        Self { weight: Weight::new(weight.shallow_clone()), bias: None }
    }

    /// The same for the embedding read from `source`, which may be trained.
    pub fn tied_to(source: &Source<'_>, embedding: &Tensor) -> Self {
        Self { weight: source.arranged(embedding.shallow_clone()), bias: None }
    }

    /// The outputs `first .. first + count`: their rows of the weight, as they are computed with, and their biases.
    pub fn rows(&self, first: i64, count: i64) -> LinearWeight {
        let weight = match &self.weight {
            Weight::Plain(weight) => weight.shallow_clone(),
            Weight::Packed(weight) => weight.unpacked(),
        };
        LinearWeight {
            weight: weight.narrow(0, first, count),
            bias: self.bias.as_ref().map(|bias| bias.narrow(0, first, count)),
        }
    }

    /// `[N, in] -> [N, out]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match &self.weight {
            Weight::Plain(weight) => x.linear(weight, self.bias.as_ref()),
            Weight::Packed(weight) => kernels::expect(weight.linear(x, self.bias.as_ref())),
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
        // The kernel has no gradient with respect to the weight.
        if kernels::cover_like(x) && !self.weight.requires_grad() {
            return kernels::expect(kernels::rms_norm(x, &self.weight, self.eps));
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

    /// Its numbers, to be computed with elsewhere.
    pub fn lent(&self) -> NormWeight {
        NormWeight { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone(), eps: self.eps }
    }

    /// `[N, D] -> [N, D]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, false)
    }
}

/// `silu(gate) * up` of rows `[N, 2 D]` that hold gate and up side by side; `[N, D]`.
pub fn gated_silu(x: &Tensor) -> Tensor {
    if kernels::cover_like(x) {
        return kernels::expect(kernels::gated_silu(x));
    }
    let halves = x.chunk(2, -1);
    halves[0].silu() * &halves[1]
}
