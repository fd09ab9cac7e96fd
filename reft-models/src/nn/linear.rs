//! Linear layers, and how their weights are held.

use reft_core::site::LinearWeight;
use tch::{Device, Kind, Tensor};

use super::WeightSource;
use crate::container::WeightsError;
use crate::kernels::{self, Packed};

/// How weights are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// They never change: products may keep them in an arrangement of their own.
    Frozen(WeightCopies),
    /// They may be trained.
    Trained,
}

/// How often a frozen weight is held at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WeightCopies {
    /// In one arrangement that serves the forward and the backward pass.
    One,
    /// In the fastest arrangement of each, the second one made when a gradient first needs it. Types and devices that have one
    /// for both hold one.
    Two,
}

impl WeightCopies {
    /// The most that weights of this type are held on this device, when gradients pass through them.
    pub fn most(kind: Kind, device: Device) -> Self {
        let packed = || Packed::new(&Tensor::zeros([16, 16], (kind, device)));
        let doubled = device == Device::Cpu && packed().is_some_and(|packed| packed.is_doubled_by_gradients());
        if doubled { Self::Two } else { Self::One }
    }

    /// As a number.
    pub fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
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
    fn frozen(weight: Tensor, copies: WeightCopies) -> Self {
        let doubled = || WeightCopies::most(weight.kind(), weight.device()) == WeightCopies::Two;
        if copies == WeightCopies::One && doubled() {
            return Self::Plain(weight);
        }
        Packed::new(&weight).map_or(Self::Plain(weight), Self::Packed)
    }
}

impl Linear {
    /// The modules `names` of `source`, outputs one after the other: `[outs.sum(), input]`.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape, or a bias is there that should not be.
    pub fn fused(
        source: &WeightSource<'_>,
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
        Ok(Self::of(joined(weights?), bias, source.purpose()))
    }

    /// A layer of this weight `[out, in]`, which it may share with another part of the model, and bias `[out]`.
    pub fn of(weight: Tensor, bias: Option<Tensor>, purpose: Purpose) -> Self {
        let weight = match purpose {
            Purpose::Frozen(copies) => Weight::frozen(weight, copies),
            Purpose::Trained => Weight::Plain(weight),
        };
        Self { weight, bias }
    }

    /// One module.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape, or a bias is there that should not be.
    pub fn load(source: &WeightSource<'_>, name: &str, input: i64, out: i64, bias: Bias) -> Result<Self, WeightsError> {
        Self::fused(source, &[name], input, &[out], bias)
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

/// Tensors one after the other; one is not copied.
fn joined(mut tensors: Vec<Tensor>) -> Tensor {
    match tensors.pop() {
        Some(only) if tensors.is_empty() => only,
        last => {
            tensors.extend(last);
            Tensor::cat(&tensors, 0)
        }
    }
}
