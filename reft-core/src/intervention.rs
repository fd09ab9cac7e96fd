//! What an intervention is: a function `Φ` on hidden states with parameters of its own (Def. 3.1, eq. 7).
//!
//! The table of all of them is [`crate::interventions`].

use std::any::Any;
use std::fmt::Debug;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::Tensor;

/// How a parameter begins.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Init {
    /// Random orthonormal rows.
    Orthonormal,
    /// Uniform in ±1/√fan, as the reference's linear layers begin.
    Linear {
        /// Width of the layer's input.
        fan: i64,
    },
    /// Uniform in [0, 1), as the reference's constant sources begin.
    Unit,
    /// Normal around 0, as the classification heads of the reference begin.
    Normal {
        /// Standard deviation.
        sd: f32,
    },
    /// The same everywhere.
    Constant(f32),
    /// The values that the tensor declared before it begins with, which has the same shape.
    Previous,
}

/// What a parameter must satisfy after every optimiser step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Constraint {
    /// Nothing.
    Free,
    /// Orthonormal rows.
    Orthonormal,
}

/// What a parameter is to weight decay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParameterRole {
    /// A matrix of an intervention.
    InterventionMatrix,
    /// Any other matrix.
    Matrix,
    /// A vector that is added.
    Bias,
    /// A vector that scales.
    Gain,
}

/// One tensor of an intervention at one site.
#[derive(Clone, PartialEq, Debug)]
pub struct ParameterSpec {
    /// Its name in adapter files, such as `basis`.
    pub name: &'static str,
    /// Its shape.
    pub shape: Vec<i64>,
    /// How it begins.
    pub init: Init,
    /// What holds for it.
    pub constraint: Constraint,
    /// What it is to weight decay.
    pub role: ParameterRole,
}

/// The tensors of one site, in the order of [`Intervention::declare`], constraints met.
pub type PhiParams<'a> = &'a [Tensor];

/// `Φ`: new hidden states from old ones.
pub trait Intervention: Any + Debug + Send + Sync {
    /// The tensors one site needs, for states of width `d` and a subspace of this rank.
    fn declare(&self, d: i64, rank: i64) -> Vec<ParameterSpec>;

    /// `Φ(h)` for the selected rows. `h` is `[M, d]` in f32, and so is the result.
    fn phi(&self, p: PhiParams<'_>, h: &Tensor) -> Tensor;

    /// Whether the first axis of every tensor is the subspace's, so that some of its rows can be used without the others.
    fn is_divisible(&self) -> bool {
        false
    }

    /// Whether `Φ` depends on the states of another run: [`Intervention::phi_from`] is called then, and `phi` never.
    fn takes_source(&self) -> bool {
        false
    }

    /// `Φ(h, s)` for the selected rows and the source's states, both `[M, d]` in f32.
    fn phi_from(&self, p: PhiParams<'_>, h: &Tensor, _source: &Tensor) -> Tensor {
        self.phi(p, h)
    }
}

/// A kind of `Φ` with its settings, as an entry of [`crate::interventions`]: `intervention: {KEY: {settings}}`. What the
/// type's own documentation says stands in lists and schemas.
pub trait PhiSettings: Intervention + Clone + Serialize + DeserializeOwned + JsonSchema {
    /// The key in configurations.
    const KEY: &'static str;
    /// Trainable parameters of one site, as a formula of the width `d` and the rank `r`.
    const PARAMETERS: &'static str;
    /// Whether `Φ(h) = h` with fresh parameters.
    const STARTS_AS_IDENTITY: bool;

    /// Settings to show and to test with.
    fn example() -> Self;

    /// Combinations of settings that have a name of their own, which `intervention: NAME` means.
    fn names() -> Vec<NamedPhi<Self>> {
        Vec::new()
    }
}

/// Settings with a name.
#[derive(Clone, Debug)]
pub struct NamedPhi<S> {
    /// The key in configurations, such as `loreft`.
    pub key: &'static str,
    /// As the paper's tables print it.
    pub title: &'static str,
    /// The reference library's class for the same mathematics; the title where it has none.
    pub library: &'static str,
    /// What it means.
    pub settings: S,
}
