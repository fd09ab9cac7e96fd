//! What a model lends of itself to methods that compute with its weights or train them.

use reft_core::adaptation::NamedTensor;
use reft_core::lender::{Lender, NormWeight};
use reft_core::site::{LayerId, LinearWeight, Site};

use crate::encoder::{self, Encoder};
use crate::model::Decoder;
use crate::registry;
use crate::weights::Weights;

/// A decoder with the checkpoint that it was read from.
pub struct LendingDecoder<'a> {
    /// The model.
    pub model: &'a dyn Decoder,
    /// Where its tensors can be read again.
    pub weights: &'a Weights,
}

impl Lender for LendingDecoder<'_> {
    fn linear(&self, at: Site) -> Option<LinearWeight> {
        self.model.weight(at)
    }

    fn norm(&self, _: LayerId) -> Option<NormWeight> {
        None
    }

    fn tensors(&self) -> Result<Vec<NamedTensor>, String> {
        registry::lend(self.weights, self.model.options().1).map_err(|error| error.to_string())
    }
}

/// An encoder with the checkpoint that it was read from.
pub struct LendingEncoder<'a> {
    /// The model.
    pub model: &'a Encoder,
    /// Where its tensors can be read again.
    pub weights: &'a Weights,
}

impl Lender for LendingEncoder<'_> {
    fn linear(&self, at: Site) -> Option<LinearWeight> {
        self.model.weight(at)
    }

    fn norm(&self, layer: LayerId) -> Option<NormWeight> {
        self.model.last_norm(layer)
    }

    fn tensors(&self) -> Result<Vec<NamedTensor>, String> {
        encoder::lend(self.weights, self.model.options().1).map_err(|error| error.to_string())
    }
}
