//! The training loop: frozen model, trainable adaptation.

use std::path::PathBuf;

use reft_core::adaptation::{Adaptation, OverlapError};
use reft_core::rng::Seed;
use reft_models::model::Decoder;

use super::adamw::AdamW;
use super::batches;
use super::checkpoint::{self, CheckpointError};
use super::frozen::{Budget, Frozen};
use super::learner::{Learner, UpdateError};
use super::observe::{Observer, StepInfo};
use super::schedule::Linear;
use crate::data::encode::Example;

/// How a run trains: the resolved `train:` section of a configuration.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Plan {
    /// Passes over the examples.
    pub epochs: u64,
    /// Peak learning rate.
    pub lr: f64,
    /// Examples in one update.
    pub batch: usize,
    /// Tokens in one pass at most; a larger batch is accumulated over several.
    pub micro_tokens: usize,
    /// Part of the updates in which the learning rate rises.
    pub warmup_ratio: f64,
    /// Weight decay of free parameters.
    pub weight_decay: f64,
    /// Largest norm of the gradient; a larger one is scaled down to it.
    pub clip: f64,
    /// Updates between two checkpoints.
    pub checkpoint_every: u64,
    /// Blocks between two states that are kept for the way back; 0 keeps everything.
    pub recompute: usize,
    /// What may be kept of what training cannot change; none to compute it anew in every pass.
    pub frozen: Option<Budget>,
}

/// Why training stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The loss or the gradient is NaN or infinite.
    #[error(
        "step {step} (epoch {epoch}): loss {loss}, gradient norm {norm} in the batch of {rows}: the adapter of \
         the last finite loss is kept; lower train.lr, or look at these rows"
    )]
    NonFinite {
        /// The update, from 0.
        step: u64,
        /// The epoch, from 0.
        epoch: u64,
        /// The loss.
        loss: f64,
        /// The gradient's norm.
        norm: f64,
        /// The rows of the batch.
        rows: String,
    },
    /// There is nothing to train on.
    #[error("no training row has an answer within data.max_length {max_length}: raise it, or give other data")]
    NoLabels {
        /// Tokens a row may have.
        max_length: usize,
    },
    /// Two interventions edit one token.
    #[error(transparent)]
    Overlap(#[from] OverlapError),
    /// The checkpoint cannot be written or used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Metrics cannot be written.
    #[error("{path}: {source}: check the path and the space left")]
    Observe {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

/// One training run.
pub struct Trainer<'a> {
    /// The frozen model.
    pub model: &'a dyn Decoder,
    /// What is trained.
    pub adaptation: &'a mut dyn Adaptation,
    /// How.
    pub plan: Plan,
    /// Decides shuffling and dropout.
    pub seed: Seed,
    /// The examples, each with at least one output token.
    pub examples: &'a [Example],
    /// Where the state is kept between updates.
    pub checkpoint: PathBuf,
}

impl Trainer<'_> {
    /// Updates of the whole run.
    pub fn total(&self) -> u64 {
        self.plan.epochs * self.per_epoch()
    }

    fn per_epoch(&self) -> u64 {
        self.examples.len().div_ceil(self.plan.batch) as u64
    }

    /// What is seen once is not kept: it would not be asked for again.
    fn frozen<'m>(&self, model: &'m dyn Decoder) -> Frozen<'m> {
        let Some(budget) = self.plan.frozen else { return Frozen::off(model) };
        let longest = self.examples.iter().map(|example| example.prompt).max().unwrap_or(0);
        let mut frozen = Frozen::new(model, self.adaptation, longest, budget);
        if self.plan.epochs > 1
            && let Some(held) = frozen.fill(self.examples, self.plan.micro_tokens)
        {
            eprintln!("{held}");
        }
        frozen
    }

    /// Trains until update `end` of the whole run's schedule, from the checkpoint if `resume` and there is one that is not
    /// beyond it. Going on later gives what training without a stop gives. Returns the tokens seen by this call.
    ///
    /// # Errors
    /// When the loss is not finite (the parameters are then those of the last finite one), or a file cannot be written.
    pub fn fit(&mut self, end: u64, resume: bool, observers: &mut [&mut dyn Observer]) -> Result<u64, TrainError> {
        let (total, per_epoch, plan) = (self.total(), self.per_epoch(), self.plan);
        let params = self.adaptation.params();
        let mut optimiser = AdamW::new(params.flat(), plan.weight_decay, &params.decay_mask());
        if resume && checkpoint::updates(&self.checkpoint)?.is_some_and(|updates| updates <= end) {
            checkpoint::load(&self.checkpoint, self.adaptation.params_mut(), &mut optimiser)?;
        }
        let schedule = Linear::new(plan.lr, plan.warmup_ratio, total);
        let lengths: Vec<usize> = self.examples.iter().map(|example| example.ids.len()).collect();
        for observer in observers.iter_mut() {
            observer.start(optimiser.updates, total)?;
        }
        let frozen = self.frozen(self.model);
        let Plan { clip, micro_tokens, .. } = plan;
        let mut learner = Learner::new(self.model, frozen, self.adaptation, optimiser, clip, micro_tokens);
        learner.recompute = plan.recompute;
        let mut seen = 0;
        while learner.optimiser.updates < end {
            let epoch = learner.optimiser.updates / per_epoch;
            let skip = (learner.optimiser.updates % per_epoch) as usize;
            let left = (end - learner.optimiser.updates) as usize;
            for batch in batches::of_epoch(&lengths, plan.batch, self.seed, epoch)[skip..].iter().take(left) {
                let step = learner.optimiser.updates;
                let _draws = self.seed.seed_libtorch("dropout", step);
                let batch: Vec<&Example> = batch.iter().map(|&index| &self.examples[index]).collect();
                let lr = schedule.at(step);
                let update = learner.update(&batch, lr).map_err(|error| TrainError::at(error, step, epoch, &batch))?;
                seen += update.tokens as u64;
                for observer in observers.iter_mut() {
                    observer.step(&StepInfo { step, epoch, update, lr })?;
                }
                if (step + 1).is_multiple_of(plan.checkpoint_every) || step + 1 == end {
                    checkpoint::save(&self.checkpoint, learner.adaptation.params(), &learner.optimiser)?;
                }
            }
        }
        Ok(seen)
    }
}

impl TrainError {
    /// An update's error with its place in the run.
    fn at(error: UpdateError, step: u64, epoch: u64, batch: &[&Example]) -> Self {
        match error {
            UpdateError::Overlap(error) => Self::Overlap(error),
            UpdateError::NonFinite { loss, norm } => {
                let rows = batch.iter().map(|example| example.name.as_str()).collect::<Vec<_>>().join(", ");
                Self::NonFinite { step, epoch, loss, norm, rows }
            }
        }
    }
}
