//! What the settings of an adaptation must provide. The table of all of them is [`crate::adaptations`].

use std::any::Any;
use std::fmt::{self, Debug};

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::Device;

use crate::adaptation::{Adaptation, NamedTensor};
use crate::layers::LayersError;
use crate::positions::TyingError;
use crate::rng::Seed;
use crate::site::{Component, Dims, LinearWeight, Site};

/// What a model offers to an adaptation that is built for it.
#[derive(Clone, Copy)]
pub struct Lent<'a> {
    /// The sizes that decide shapes.
    pub dims: &'a Dims,
    /// The model's own tensors, f32, by their names in its checkpoint, for methods that train these; empty where they are
    /// not lent.
    pub tensors: &'a [NamedTensor],
    /// The weight behind a linear component, for methods that compute with it (DoRA, merging); none where it is not lent.
    pub weight: Option<&'a dyn Fn(Site) -> Option<LinearWeight>>,
}

impl<'a> Lent<'a> {
    /// Sizes alone.
    pub fn sizes(dims: &'a Dims) -> Self {
        Self { dims, tensors: &[], weight: None }
    }

    /// Sizes and the model's own tensors.
    pub fn tensors(dims: &'a Dims, tensors: &'a [NamedTensor]) -> Self {
        Self { tensors, ..Self::sizes(dims) }
    }
}

impl Debug for Lent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dims, tensors, weight } = self;
        write!(f, "Lent {{ dims: {dims:?}, tensors: {}, weight: {} }}", tensors.len(), weight.is_some())
    }
}

/// The settings of an adaptation: what stands below its key in `adapt: {KEY: {settings}}`.
pub trait AdaptConfig: Any + Debug + Send + Sync {
    /// Fresh parameters for a model.
    ///
    /// # Errors
    /// When the settings do not fit the model, or it does not lend what they need.
    fn build(&self, on: &Lent<'_>, seed: Seed, device: Device) -> Result<Box<dyn Adaptation>, SpecError>;

    /// Number of trainable parameters on a model, without building anything.
    ///
    /// # Errors
    /// As for [`AdaptConfig::build`].
    fn trainable(&self, on: &Lent<'_>) -> Result<i64, SpecError>;

    /// Where the model's own tensors are what is trained: whether the tensor of a name is.
    fn own_weights(&self) -> Option<fn(name: &str) -> bool> {
        None
    }

    /// As tables print it, from the settings.
    fn title(&self) -> String;
}

/// A kind of adaptation as an entry of [`crate::adaptations`]. What the type's own documentation says stands in lists and
/// schemas.
pub trait AdaptMethod: AdaptConfig + Clone + Serialize + DeserializeOwned + JsonSchema {
    /// The key in configurations.
    const KEY: &'static str;
    /// As tables print the kind.
    const TITLE: &'static str;
    /// Trainable parameters as a formula.
    const PARAMETERS: &'static str;
    /// Whether the adapted model is the base model, bit for bit, with fresh parameters.
    const STARTS_AS_BASE: bool;

    /// Settings that fit every model, to show and to test with.
    fn example() -> Self;
}

/// Settings that do not fit the model or themselves.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SpecError {
    /// A layer does not exist, or the list is wrong.
    #[error(transparent)]
    Layers(#[from] LayersError),
    /// Positions without ends cannot be untied.
    #[error(transparent)]
    Tying(#[from] TyingError),
    /// Rank 0, or more rows than the space has dimensions.
    #[error("rank {rank} is impossible at {component}: choose 1 to {width}, the width there")]
    Rank {
        /// The rank asked for.
        rank: i64,
        /// Where.
        component: Component,
        /// The width there.
        width: i64,
    },
    /// The model has no such component.
    #[error("component {0} does not exist in this model: {1}")]
    Component(Component, &'static str),
    /// Not a probability.
    #[error("dropout p {0} is not a probability: choose 0 up to (not including) 1")]
    Dropout(f64),
    /// The model's own weights are wanted where there are none.
    #[error(
        "{0} trains the model's own weights, which only encoders lend: take an encoder and a task that it classifies, or \
         choose reft"
    )]
    OwnWeights(&'static str),
    /// `refts: []`.
    #[error("refts is empty: name at least one set of interventions, or leave out adapt for the base model")]
    Empty,
    /// What an adaptation of a program's own says.
    #[error("{0}")]
    Other(String),
}
