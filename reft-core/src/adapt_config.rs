//! What the settings of an adaptation must provide. The table of all of them is [`crate::adaptations`].

use std::any::Any;
use std::fmt::Debug;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::Device;

use crate::adaptation::{Adaptation, NamedTensor};
use crate::layers::LayersError;
use crate::lender::{Lender, NormWeight};
use crate::positions::{Positions, TyingError};
use crate::rng::Seed;
use crate::site::{Component, Dims, LayerId, LinearWeight, Site};
use crate::subspace::Subspace;

/// Tensors of a model that were read for training them.
#[derive(Debug)]
pub struct LentTensors<'a>(pub &'a [NamedTensor]);

impl Lender for LentTensors<'_> {
    fn linear(&self, _: Site) -> Option<LinearWeight> {
        None
    }

    fn norm(&self, _: LayerId) -> Option<NormWeight> {
        None
    }

    fn tensors(&self) -> Result<Vec<NamedTensor>, String> {
        let same = |lent: &NamedTensor| NamedTensor { name: lent.name.clone(), tensor: lent.tensor.shallow_clone() };
        Ok(self.0.iter().map(same).collect())
    }
}

/// The settings of an adaptation: what stands below its key in `adapt: {KEY: {settings}}`.
pub trait AdaptConfig: Any + Debug + Send + Sync {
    /// Fresh parameters for a model of these dimensions, which lends of itself what the method computes with or trains.
    ///
    /// # Errors
    /// When the settings do not fit the model, or it does not lend what they need.
    fn build(
        &self,
        dims: &Dims,
        lender: &dyn Lender,
        seed: Seed,
        device: Device,
    ) -> Result<Box<dyn Adaptation>, SpecError>;

    /// Number of trainable parameters on a model, without building anything. Most methods need the dimensions alone.
    ///
    /// # Errors
    /// As for [`AdaptConfig::build`].
    fn trainable(&self, dims: &Dims, lender: &dyn Lender) -> Result<i64, SpecError>;

    /// Whether the model's own weights are trained, so that it must lend them: by default, whether a
    /// member does.
    fn own_weights(&self) -> bool {
        self.members().iter().any(|member| member.own_weights())
    }

    /// Whether the model's own tensor of this name is trained, by default by a member.
    fn trains_own(&self, name: &str) -> bool {
        self.members().iter().any(|member| member.trains_own(name))
    }

    /// Whether passes compute with the model's weights as they were loaded, so that these cannot be trained meanwhile: by
    /// default, whether those of a member do.
    fn computes_with_weights(&self) -> bool {
        self.members().iter().any(|member| member.computes_with_weights())
    }

    /// Tokens of the model's context that trained keys and values take, by default those of its members.
    fn virtual_tokens(&self) -> usize {
        self.members().iter().map(|member| member.virtual_tokens()).sum()
    }

    /// The adaptations that this one is made of, if it is made of others.
    fn members(&self) -> Vec<&dyn AdaptConfig> {
        Vec::new()
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
    /// Not a number to multiply with.
    #[error("strength {0} is not finite: choose a number, 1 for the intervention as it is")]
    Strength(f64),
    /// As many strengths as sets of interventions, or one, are wanted.
    #[error("{given} strengths for {sets} sets of interventions: give one for all, or one for each")]
    Strengths {
        /// How many there are.
        given: usize,
        /// How many sets.
        sets: usize,
    },
    /// What is trained is no intervention.
    #[error("{0} has no strength: only interventions (reft, refts) are multiplied")]
    NoStrength(&'static str),
    /// Rows that are not there, or of a `Φ` without rows.
    #[error("subspace {subspace}: {reason}")]
    Subspace {
        /// The rows.
        subspace: Subspace,
        /// What is wrong.
        reason: String,
    },
    /// A head that is not there.
    #[error(
        "head {head}: {component} has {heads} heads; choose one of query, key, value and head_output, and a head there"
    )]
    Head {
        /// The head.
        head: u32,
        /// Where.
        component: Component,
        /// How many there are.
        heads: i64,
    },
    /// Only an interchange needs tokens that a pass names, and it needs nothing else.
    #[error("positions `{0}`: dii takes positions: given, and no other intervention does")]
    Given(Positions),
    /// What the model lends cannot be read.
    #[error("the model's own weights cannot be read: {0}")]
    Unreadable(String),
    /// The model's own weights are wanted where there are none.
    #[error(
        "{0} trains the model's own weights, and here there are none to train (only the model itself knows them; a model \
         without biases has nothing for bitfit): choose another method"
    )]
    OwnWeights(&'static str),
    /// An empty list.
    #[error(
        "the list is empty: name at least one set of interventions or adaptation, or leave out adapt for the base model"
    )]
    Empty,
    /// A method cannot be put there.
    #[error(transparent)]
    Method(#[from] PlacementError),
    /// What an adaptation of a program's own says.
    #[error("{0}")]
    Other(String),
}

/// A method that cannot be put where a specification puts it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlacementError {
    /// No components.
    #[error("components is empty: name at least one, such as [query, value]")]
    NoComponents,
    /// A component twice.
    #[error("component {0} is listed twice: name each component once")]
    Twice(Component),
    /// Not a linear map.
    #[error("{method} changes linear maps, and {component} is none: choose {known}")]
    NotLinear {
        /// The method.
        method: &'static str,
        /// The component asked for.
        component: Component,
        /// Linear components of the model.
        known: String,
    },
    /// A component that the method has no formula for.
    #[error("{method} is not defined at {component}: choose {known}")]
    NotDefined {
        /// The method.
        method: &'static str,
        /// The component asked for.
        component: Component,
        /// Where it is defined.
        known: &'static str,
    },
    /// A number that must be positive.
    #[error("{key} {given} is impossible: choose {allowed}")]
    Number {
        /// The key.
        key: &'static str,
        /// The number given.
        given: String,
        /// What is possible.
        allowed: &'static str,
    },
    /// The model lends nothing at that site.
    #[error(
        "{method} computes with the model's own {what} of {site}, which this model does not lend: choose another method"
    )]
    NotLent {
        /// The method.
        method: &'static str,
        /// Weight or normalisation.
        what: &'static str,
        /// Where.
        site: String,
    },
    /// A bias that is to be trained where there is none.
    #[error("{0} has no bias in this model: choose bias: none")]
    NoBias(String),
    /// Stages within a list.
    #[error("staged cannot be a member of joint or staged: list its members there")]
    NestedStages,
    /// Two parts that cannot be trained together.
    #[error("{0} computes with the model's weights as they were loaded, and {1} trains them: choose one of the two")]
    Together(&'static str, &'static str),
}
