//! What a learner moves parameters by: a frozen model with a loss of its outputs.
//!
//! Causal models take their loss from the table of objectives ([`super::objectives`]).

use reft_core::adaptation::{Adaptation, OverlapError, Step};
use reft_core::params::ParamSet;

use super::error::TrainError;

/// A row to learn from.
pub trait TokenRow {
    /// Tokens that a pass over it holds.
    fn tokens(&self) -> usize;

    /// The task and the row, for messages.
    fn name(&self) -> &str;
}

/// A frozen model with a loss, and perhaps parameters of its own that are trained beside the adaptation's and not counted
/// with them: a classification head.
pub trait ModelWithLoss {
    /// What it learns from.
    type Example: TokenRow;

    /// Parameters of its own.
    fn params(&self) -> Option<&ParamSet> {
        None
    }

    /// Parameters of its own, to be moved.
    fn params_mut(&mut self) -> Option<&mut ParamSet> {
        None
    }

    /// Training begins, or goes on after `done` updates; an epoch has `per_epoch`.
    ///
    /// # Errors
    /// When a file of an earlier part of the run cannot be used.
    fn prepare(
        &mut self,
        _adaptation: &dyn Adaptation,
        _examples: &[Self::Example],
        _done: u64,
        _per_epoch: u64,
    ) -> Result<(), TrainError> {
        Ok(())
    }

    /// What a batch is scored on, and its mean loss is a mean over: output tokens, or rows.
    fn scored(&self, batch: &[&Self::Example]) -> usize;

    /// Mean loss over a batch, its gradient left in the step's parameters and its own; and the tokens seen.
    ///
    /// # Errors
    /// When interventions overlap.
    fn gradients(&self, step: &dyn Step, batch: &[&Self::Example]) -> Result<(f64, usize), OverlapError>;

    /// `done` updates are over, of which an epoch has `per_epoch`: the rows for model selection are looked at, if it is time.
    /// The loss of dev rows, where that is what was looked at. Without model selection there is nothing to do.
    ///
    /// # Errors
    /// When a file cannot be written, or interventions overlap.
    fn after_update(
        &mut self,
        _done: u64,
        _per_epoch: u64,
        _adaptation: &dyn Adaptation,
    ) -> Result<Option<f64>, TrainError> {
        Ok(None)
    }

    /// Whether training stops early: model selection has waited long enough.
    fn stopped(&self) -> bool {
        false
    }
}
