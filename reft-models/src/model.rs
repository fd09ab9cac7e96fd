//! What training, scoring and decoding need of a model.

use std::collections::BTreeMap;
use std::ops::Range;

use reft_core::hooks::Hooks;
use reft_core::layout::Layout;
use reft_core::site::{Dims, LayerId, LinearWeight, Site};
use tch::{Device, Kind, Tensor};

use crate::attention::PastKeyValues;
use crate::container::WeightsError;
use crate::rope::LengthLimit;

/// Everything one forward pass depends on beside the weights. A model has no state of its own.
pub struct Pass<'a> {
    /// Which row is which token.
    pub layout: &'a Layout,
    /// Who reads and edits hidden states.
    pub hooks: &'a dyn Hooks,
    /// Keys and values of earlier tokens.
    pub cache: PastKeyValues<'a>,
    /// The rows whose output is asked for, `[M]`; what the last block leaves in others is then undefined.
    /// None for all.
    pub wanted: Option<&'a Tensor>,
}

/// A causal language model.
pub trait Decoder {
    /// Its sizes.
    fn dims(&self) -> &Dims;

    /// Type and device of its weights and hidden states.
    fn options(&self) -> (Kind, Device);

    /// Numbers in the model, shared ones once.
    fn parameters(&self) -> i64;

    /// Tokens of a sequence at most: what the model was trained to read, prompt and answer together.
    fn context(&self) -> usize;

    /// What a user should know about how the checkpoint was read, a line each.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// Keys that a token of this layer sees at most; none for all before it.
    fn window(&self, _: LayerId) -> Option<i64> {
        None
    }

    /// The length up to which a token's keys do not depend on how long its sequence is; none where they never do. A longer
    /// sequence must be in one pass, or come token by token.
    fn length_limit(&self) -> Option<LengthLimit> {
        None
    }

    /// Token ids `[N]` to `h^(0)` `[N, D]`.
    fn embed(&self, ids: &Tensor, pass: &Pass<'_>) -> Tensor;

    /// The blocks of `range`: `[N, D] -> [N, D]`. A range lets a caller skip layers whose output it has kept.
    fn layers(&self, h: Tensor, range: Range<usize>, pass: &mut Pass<'_>) -> Tensor;

    /// The final normalisation, `[M, D] -> [M, D]`.
    fn normalise(&self, h: &Tensor) -> Tensor;

    /// Logits `[M, V]` of normalised states `[M, D]`.
    fn head(&self, h: &Tensor) -> Tensor;

    /// The model on other weights, by the names of its checkpoint: those of [`lend`](crate::registry::lend), perhaps moved
    /// since. Gradients flow to them.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    fn on(&self, weights: &BTreeMap<String, Tensor>) -> Result<Box<dyn Decoder>, WeightsError>;

    /// The frozen weight behind a linear component, for methods that compute with it; none where there is no such map, as
    /// where the model normalises what the weight gives.
    fn weight(&self, at: Site) -> Option<LinearWeight>;

    /// Logits of the rows handed in, `[M, D] -> [M, V]`: positions that are not asked for cost nothing.
    fn logits(&self, h: &Tensor) -> Tensor {
        self.head(&self.normalise(h))
    }

    /// The last block's output for these tokens, `[N] -> [N, D]`.
    fn hidden(&self, ids: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        self.layers(self.embed(ids, pass), 0..self.dims().layers, pass)
    }

    /// The layer after the last.
    fn end(&self) -> LayerId {
        LayerId(self.dims().layers)
    }
}
