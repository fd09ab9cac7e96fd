//! No adaptation at all: what is trained beside it (a classification head) is trained alone.

use tch::Device;

use crate::adaptation::{Adaptation, EditedRows, Frontier, Mode, NamedTensor, OverlapError, Step};
use crate::hooks::{Hooks, NoHooks};
use crate::layout::Layout;
use crate::params::ParamSet;
use crate::rng::Seed;

/// An adaptation without parameters.
#[derive(Debug)]
pub struct NoAdaptation(ParamSet);

impl NoAdaptation {
    /// The only one there is.
    pub fn new(device: Device) -> Self {
        Self(ParamSet::new(Vec::new(), &mut Seed(0).stream("init", 0), device))
    }
}

impl Adaptation for NoAdaptation {
    fn params(&self) -> &ParamSet {
        &self.0
    }

    fn params_mut(&mut self) -> &mut ParamSet {
        &mut self.0
    }

    fn named(&self) -> Vec<NamedTensor> {
        Vec::new()
    }

    fn begin(&self, _: Mode) -> Box<dyn Step + '_> {
        Box::new(NoAdaptationStep)
    }

    fn edits(&self, _: &Layout) -> Vec<EditedRows> {
        Vec::new()
    }

    fn frontier(&self) -> Frontier {
        Frontier::NONE
    }

    fn first_edited(&self, _: i64) -> Option<i64> {
        None
    }
}

struct NoAdaptationStep;

impl Step for NoAdaptationStep {
    fn hooks<'s>(&'s self, _: &Layout) -> Result<Box<dyn Hooks + 's>, OverlapError> {
        Ok(Box::new(NoHooks))
    }

    fn edits(&self, _: &Layout) -> Vec<EditedRows> {
        Vec::new()
    }

    fn backprop(self: Box<Self>) {}
}
