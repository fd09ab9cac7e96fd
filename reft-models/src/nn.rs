//! The layers that models are made of. Weights of a checkpoint are frozen; given ones may require a gradient.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use reft_core::lender::NormWeight;
use tch::{Device, Kind, Tensor};

use crate::container::WeightsError;
use crate::kernels::{self, GateActivation};
use crate::weights::Weights;

mod linear;

pub use self::linear::{Bias, Linear, Purpose, WeightCopies};

/// Names and shapes of tensors that a port asked for, in its order.
pub type TensorLog = RefCell<Vec<(String, Vec<i64>)>>;

/// Where the tensors of one module are read from, and into what. Names are those of the checkpoint.
#[derive(Clone)]
pub struct WeightSource<'a> {
    tensors: TensorOrigin<'a>,
    prefix: String,
    kind: Kind,
    copies: WeightCopies,
}

#[derive(Clone, Copy)]
enum TensorOrigin<'a> {
    /// Frozen, in files.
    Stored(&'a Weights, Device),
    /// At hand, perhaps trained.
    Given(&'a BTreeMap<String, Tensor>),
    /// Nothing is read: what is asked for is recorded, and must be in the checkpoint if there is one.
    Recorded(Option<&'a Weights>, &'a TensorLog),
}

impl<'a> WeightSource<'a> {
    /// The root of a checkpoint, read into this type and device.
    pub fn new(weights: &'a Weights, kind: Kind, device: Device) -> Self {
        Self { tensors: TensorOrigin::Stored(weights, device), prefix: String::new(), kind, copies: WeightCopies::Two }
    }

    /// The same, frozen weights held as often as this.
    #[must_use]
    pub fn held(self, copies: WeightCopies) -> Self {
        Self { copies, ..self }
    }

    /// The root of a checkpoint of which nothing is read: a port gets tensors without rows, and what it asks for is recorded.
    /// Without a checkpoint every tensor is there.
    pub fn recording(weights: Option<&'a Weights>, record: &'a TensorLog) -> Self {
        // A type that needs nothing of the processor.
        let tensors = TensorOrigin::Recorded(weights, record);
        Self { tensors, prefix: String::new(), kind: Kind::Float, copies: WeightCopies::Two }
    }

    /// Tensors at hand, used in this type. Gradients flow to them.
    pub fn given(tensors: &'a BTreeMap<String, Tensor>, kind: Kind) -> Self {
        Self { tensors: TensorOrigin::Given(tensors), prefix: String::new(), kind, copies: WeightCopies::Two }
    }

    /// The module `name` below this one; the same one for an empty name.
    #[must_use]
    pub fn sub(&self, name: impl std::fmt::Display) -> Self {
        let name = name.to_string();
        let prefix = if name.is_empty() { self.prefix.clone() } else { format!("{}{name}.", self.prefix) };
        Self { prefix, ..self.clone() }
    }

    /// A tensor of this module.
    ///
    /// # Errors
    /// When it is missing or of another shape.
    pub fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, WeightsError> {
        self.arranged(name, shape, |tensor| tensor)
    }

    /// A tensor of this module, brought into another order of its numbers. One that is only recorded has none.
    ///
    /// # Errors
    /// When it is missing or of another shape.
    pub fn arranged(
        &self,
        name: &str,
        shape: &[i64],
        arrange: impl Fn(Tensor) -> Tensor,
    ) -> Result<Tensor, WeightsError> {
        let name = format!("{}{name}", self.prefix);
        match self.tensors {
            TensorOrigin::Stored(weights, device) => weights.tensor(&name, shape, self.kind, device).map(arrange),
            TensorOrigin::Recorded(weights, record) => {
                weights.map_or(Ok(()), |weights| weights.check(&name, shape))?;
                record.borrow_mut().push((name, shape.to_vec()));
                // It can be joined and measured like the tensor it stands for, and takes no memory.
                let rows_cut = shape.iter().enumerate().map(|(axis, &size)| if axis == 0 { 0 } else { size });
                Ok(Tensor::zeros(rows_cut.collect::<Vec<_>>(), (self.kind, Device::Cpu)))
            }
            TensorOrigin::Given(tensors) => match tensors.get(&name) {
                Some(tensor) if tensor.size() == shape => Ok(arrange(tensor.to_kind(self.kind))),
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

    /// Whether this module has such a tensor. Without a checkpoint it has what today's names are.
    pub fn contains(&self, name: &str) -> bool {
        let name = format!("{}{name}", self.prefix);
        match self.tensors {
            TensorOrigin::Stored(weights, _) | TensorOrigin::Recorded(Some(weights), _) => weights.contains(&name),
            TensorOrigin::Recorded(None, _) => false,
            TensorOrigin::Given(tensors) => tensors.contains_key(&name),
        }
    }

    /// Refuses a tensor that the configuration says is not there. A record is compared with the whole checkpoint instead.
    pub(crate) fn without(&self, name: &str) -> Result<(), WeightsError> {
        match self.tensors {
            TensorOrigin::Stored(weights, _) if self.contains(name) => {
                let (path, name) = (weights.path().to_owned(), format!("{}{name}", self.prefix));
                Err(WeightsError::Unexpected { path, name })
            }
            TensorOrigin::Stored(..) | TensorOrigin::Given(_) | TensorOrigin::Recorded(..) => Ok(()),
        }
    }

    /// How its weights are used.
    pub fn purpose(&self) -> Purpose {
        match self.tensors {
            TensorOrigin::Stored(..) => Purpose::Frozen(self.copies),
            TensorOrigin::Given(_) | TensorOrigin::Recorded(..) => Purpose::Trained,
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
    pub fn load(source: &WeightSource<'_>, name: &str, width: i64, eps: f64) -> Result<Self, WeightsError> {
        Ok(Self { weight: source.sub(name).tensor("weight", &[width])?, eps })
    }

    /// The same where the file holds `w - 1`, as Gemma's do: `x / rms(x) * (1 + w)`, computed in f32 whatever the model's
    /// type.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn load_from_zero(source: &WeightSource<'_>, name: &str, width: i64, eps: f64) -> Result<Self, WeightsError> {
        Ok(Self { weight: source.sub(name).tensor("weight", &[width])?.to_kind(Kind::Float) + 1.0, eps })
    }

    /// `[N, D] -> [N, D]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if x.kind() != self.weight.kind() {
            let x_f32 = x.to_kind(self.weight.kind());
            return x_f32.rms_norm(self.weight.size(), Some(&self.weight), self.eps).to_kind(x.kind());
        }
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
    bias: Option<Tensor>,
    eps: f64,
}

impl LayerNorm {
    /// The module `name` of `source`. Old checkpoints call weight and bias `gamma` and `beta`.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn load(source: &WeightSource<'_>, name: &str, width: i64, eps: f64) -> Result<Self, WeightsError> {
        let source = source.sub(name);
        let (weight, bias) = if source.contains("gamma") { ("gamma", "beta") } else { ("weight", "bias") };
        Ok(Self { weight: source.tensor(weight, &[width])?, bias: Some(source.tensor(bias, &[width])?), eps })
    }

    /// The same where the configuration says whether there is a bias.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape, or a bias is there that should not be.
    pub fn load_with(
        source: &WeightSource<'_>,
        name: &str,
        (width, eps): (i64, f64),
        bias: Bias,
    ) -> Result<Self, WeightsError> {
        if bias == Bias::With {
            return Self::load(source, name, width, eps);
        }
        let source = source.sub(name);
        source.without("bias")?;
        Ok(Self { weight: source.tensor("weight", &[width])?, bias: None, eps })
    }

    /// Its numbers, to be computed with elsewhere.
    pub fn lent(&self) -> NormWeight {
        let bias = self.bias.as_ref().map_or_else(|| self.weight.zeros_like(), Tensor::shallow_clone);
        NormWeight { weight: self.weight.shallow_clone(), bias, eps: self.eps }
    }

    /// `[N, D] -> [N, D]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), self.bias.as_ref(), self.eps, false)
    }
}

/// `silu(gate) * up` of rows `[N, 2 D]` that hold gate and up side by side; `[N, D]`.
pub fn gated_silu(x: &Tensor) -> Tensor {
    if kernels::cover_like(x) {
        return kernels::expect(kernels::gated(x, GateActivation::Silu));
    }
    let halves = x.chunk(2, -1);
    halves[0].silu() * &halves[1]
}

/// `gelu(gate) * up` of such rows, with the approximation of GELU by a hyperbolic tangent.
pub fn gated_gelu_tanh(x: &Tensor) -> Tensor {
    if kernels::cover_like(x) {
        return kernels::expect(kernels::gated(x, GateActivation::GeluTanh));
    }
    let halves = x.chunk(2, -1);
    halves[0].gelu("tanh") * &halves[1]
}
