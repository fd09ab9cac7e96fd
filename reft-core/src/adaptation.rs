//! What training changes about a model: parameters, and the hooks that apply them.
//!
//! What the settings of one must provide is in [`crate::adapt_config`], the table of all of them is [`crate::adaptations`].

use std::collections::BTreeMap;
use std::fmt::Debug;

use tch::Tensor;

use crate::hooks::Hooks;
use crate::layout::Layout;
use crate::params::ParamSet;
use crate::positions::TyingGroup;
use crate::site::{Component, LayerId, Site};

pub use crate::params::Mode;

/// One named tensor of one site, for adapter files.
#[derive(Debug)]
pub struct NamedTensor {
    /// Such as `block_output.7.prefix.basis`.
    pub name: String,
    /// A view into the flat leaf.
    pub tensor: Tensor,
}

/// The rows that one parameter set edits at one site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EditedRows {
    /// Where.
    pub site: Site,
    /// By which parameters.
    pub group: TyingGroup,
    /// Rows of the pass, ascending.
    pub rows: Vec<i64>,
}

/// Where an adaptation's influence begins, in layers. Everything below is the base model's, whatever the parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frontier {
    /// Blocks, counted from the first, whose output is the base model's before any hook visits it.
    pub blocks: usize,
    /// Whether the last of these outputs is then visited: the edit that comes first.
    pub visits_last: bool,
}

impl Frontier {
    /// No block is sure to be the base model's.
    pub const NONE: Self = Self { blocks: 0, visits_last: false };

    /// The visit that comes first, where it is to an output kept.
    pub fn site(self) -> Option<Site> {
        self.visits_last.then(|| Site { layer: LayerId(self.blocks - 1), component: Component::BlockOutput })
    }
}

/// Trainable parameters that act on a frozen model.
pub trait Adaptation: Debug {
    /// The parameters.
    fn params(&self) -> &ParamSet;

    /// The parameters, to be moved by an optimiser or filled from a file.
    fn params_mut(&mut self) -> &mut ParamSet;

    /// Every trained tensor by the name it has in adapter files, in the order of the flat leaf. Each tensor is a view: writing
    /// to it changes the parameters.
    fn named(&self) -> Vec<NamedTensor>;

    /// Frozen tensors of its own, which adapter files hold too.
    fn fixed(&self) -> Vec<NamedTensor> {
        Vec::new()
    }

    /// Makes its parameters a part of another flat leaf, of which `flat` `[count]` is a view.
    fn bind(&mut self, flat: &Tensor) {
        self.params_mut().bind(flat);
    }

    /// How many stages are trained one after the other.
    fn stages(&self) -> usize {
        1
    }

    /// Goes to a stage, from 0. Outside training, an adaptation is in its last stage.
    fn enter(&mut self, _: usize) {}

    /// Whether all that is ever trained acts.
    fn is_last_stage(&self) -> bool {
        true
    }

    /// Meets the constraints (orthonormal rows) once, for as many passes as happen before the parameters move.
    fn begin(&self, mode: Mode) -> Box<dyn Step + '_>;

    /// Which rows of a pass are edited where, by which parameters; for people to look at.
    fn edits(&self, layout: &Layout) -> Vec<EditedRows>;

    /// Where its influence begins, in layers.
    fn frontier(&self) -> Frontier;

    /// Where its influence begins in a sequence with a prompt of this length, if it does: in a causal model all states
    /// left of this token are the base model's.
    fn first_edited(&self, prompt: i64) -> Option<i64>;
}

/// An adaptation between two parameter updates.
pub trait Step {
    /// The hooks for one pass.
    ///
    /// # Errors
    /// When two interventions would edit the same token at the same site (Def. 3.2).
    fn hooks<'s>(&'s self, layout: &Layout) -> Result<Box<dyn Hooks + 's>, OverlapError>;

    /// Which rows of a pass are edited where, as [`Adaptation::edits`] says.
    fn edits(&self, layout: &Layout) -> Vec<EditedRows>;

    /// All of the model's weights as they are now, by their names, where they are what is trained.
    fn weights(&self) -> Option<&BTreeMap<String, Tensor>> {
        None
    }

    /// Tokens of the model's context that trained keys and values take, before the sequence's own.
    fn virtual_tokens(&self) -> usize {
        0
    }

    /// Carries the gradients of all passes since [`Adaptation::begin`] back to the flat leaf. Once per step.
    fn backprop(self: Box<Self>);
}

/// Two interventions at one site with a position in common.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "interventions {first} and {second} both edit token {position} of a {prompt}-token prompt at {site}: \
     positions at one site must be disjoint (Def. 3.2); give them other layers, components or positions"
)]
pub struct OverlapError {
    /// Index of one intervention in the specification.
    pub first: usize,
    /// Index of the other.
    pub second: usize,
    /// The site they share.
    pub site: String,
    /// The token, counted from the sequence's first.
    pub position: i64,
    /// Length of the prompt it happens in.
    pub prompt: i64,
}
