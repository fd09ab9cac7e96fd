//! One update of the trainable parameters: forward and backward over a batch, clip, move, retract.

use std::path::Path;

use reft_core::adaptation::{Adaptation, Mode, OverlapError};
use reft_core::params::ParamSet;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::adamw::AdamW;
use super::checkpoint::{self, CheckpointError};
use super::objective::Objective;

/// What an update did.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Update {
    /// Mean loss over what the batch is scored on (output tokens, or rows), before the update.
    pub loss: f64,
    /// The gradient's norm before clipping.
    pub norm: f64,
    /// Tokens of the batch.
    pub tokens: usize,
}

/// Why an update was not done.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The loss or the gradient is NaN or infinite.
    #[error("loss {loss}, gradient norm {norm}")]
    NonFinite {
        /// The loss.
        loss: f64,
        /// The gradient's norm.
        norm: f64,
    },
    /// Two interventions edit one token.
    #[error(transparent)]
    Overlap(#[from] OverlapError),
}

/// A frozen model with its loss, a trainable adaptation, and their optimisers.
pub struct Learner<'a, O> {
    /// The model and its loss.
    pub objective: &'a mut O,
    /// What is trained.
    pub adaptation: &'a mut dyn Adaptation,
    /// One for the adaptation's parameters, and one for the objective's if it has some.
    pub optimisers: Vec<AdamW>,
    /// Largest norm of the gradient; a larger one is scaled down to it.
    clip: f64,
    /// The parameters that gave the last finite loss, `[count]` each; none before the first update.
    last_good: Vec<Tensor>,
}

impl<'a, O: Objective> Learner<'a, O> {
    /// A learner that has done nothing yet.
    pub fn new(objective: &'a mut O, adaptation: &'a mut dyn Adaptation, weight_decay: f64, clip: f64) -> Self {
        let sets = std::iter::once(adaptation.params()).chain(objective.params());
        let optimiser = |set: &ParamSet| AdamW::new(set.flat(), weight_decay, &set.decay_mask());
        let optimisers = sets.map(optimiser).collect();
        Self { objective, adaptation, optimisers, clip, last_good: Vec::new() }
    }

    /// Updates done so far.
    pub fn updates(&self) -> u64 {
        self.optimisers[0].updates
    }

    /// Everything that is trained.
    pub fn sets(&self) -> Vec<&ParamSet> {
        std::iter::once(self.adaptation.params()).chain(self.objective.params()).collect()
    }

    fn sets_mut(&mut self) -> impl Iterator<Item = &mut ParamSet> {
        std::iter::once(self.adaptation.params_mut()).chain(self.objective.params_mut())
    }

    /// Goes on from a checkpoint, if there is one.
    ///
    /// # Errors
    /// When it is damaged or belongs to other parameters; nothing is changed then.
    pub fn load(&mut self, checkpoint: &Path) -> Result<(), CheckpointError> {
        let sets = std::iter::once(self.adaptation.params_mut()).chain(self.objective.params_mut()).collect();
        checkpoint::load(checkpoint, sets, &mut self.optimisers).map(|_| ())
    }

    /// One update on this batch.
    ///
    /// # Errors
    /// When interventions overlap, or the loss is not finite: the parameters are then those of the last finite loss.
    pub fn update(&mut self, batch: &[&O::Example], lr: f64) -> Result<Update, UpdateError> {
        let (loss, tokens) = self.gradients(batch)?;
        let leaves: Vec<Tensor> = self.sets().iter().map(|set| set.flat().shallow_clone()).collect();
        let of_leaf = |leaf: &Tensor| if leaf.grad().defined() { leaf.grad() } else { leaf.zeros_like() };
        let grads: Vec<Tensor> = leaves.iter().map(of_leaf).collect();
        let norm = grads.iter().map(|grad| grad.norm().double_value(&[])).fold(0.0, f64::hypot);
        if !loss.is_finite() || !norm.is_finite() {
            let last_good = std::mem::take(&mut self.last_good);
            self.sets_mut().zip(&last_good).for_each(|(set, values)| set.load(values));
            return Err(UpdateError::NonFinite { loss, norm });
        }
        self.last_good = leaves.iter().map(|leaf| leaf.detach().copy()).collect();
        for (optimiser, (leaf, grad)) in self.optimisers.iter_mut().zip(leaves.iter().zip(grads)) {
            let clipped = if norm > self.clip { grad * (self.clip / (norm + 1e-6)) } else { grad };
            optimiser.update(leaf, &clipped, lr);
        }
        for set in self.sets_mut() {
            set.zero_grad();
            set.retract();
        }
        Ok(Update { loss, norm, tokens })
    }

    /// Mean loss over a batch, its gradient left in the parameters, and the tokens seen.
    ///
    /// # Errors
    /// When interventions overlap.
    pub fn gradients(&self, batch: &[&O::Example]) -> Result<(f64, usize), UpdateError> {
        let step = self.adaptation.begin(Mode::Train);
        let done = self.objective.gradients(step.as_ref(), batch)?;
        step.backprop();
        Ok(done)
    }
}
