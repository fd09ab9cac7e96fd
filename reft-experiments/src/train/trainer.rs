//! The training loop: a frozen model with its loss, a trainable adaptation.

use std::path::PathBuf;

use reft_core::adaptation::Adaptation;
use reft_core::rng::Seed;

use super::batches;
use super::checkpoint::Saved;
use super::error::TrainError;
use super::learner::{Learner, UpdateError, UpdateRules};
use super::model_with_loss::{ModelWithLoss, TokenRow};
use super::observe::{Observer, StepInfo};
use super::schedule::{Schedule, SchedulerType};

/// How a run trains: the resolved `train:` section of a configuration.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TrainingArguments {
    /// Passes over the examples, in each stage where there are several.
    pub epochs: u64,
    /// Peak learning rate.
    pub lr: f64,
    /// Examples in one update.
    pub batch: usize,
    /// How the learning rate falls after the warm-up.
    pub shape: SchedulerType,
    /// Part of the updates in which the learning rate rises.
    pub warmup_ratio: f64,
    /// What an update does with gradients and parameters.
    pub rules: UpdateRules,
    /// Updates between two checkpoints.
    pub checkpoint_every: u64,
}

/// One training run.
pub struct Trainer<'a, M: ModelWithLoss> {
    /// The frozen model and its loss.
    pub model: &'a mut M,
    /// What is trained.
    pub adaptation: &'a mut dyn Adaptation,
    /// How.
    pub plan: TrainingArguments,
    /// Decides shuffling and dropout.
    pub seed: Seed,
    /// The examples, each with something to learn.
    pub examples: &'a [M::Example],
    /// Where the state is kept between updates.
    pub checkpoint: PathBuf,
}

impl<M: ModelWithLoss> Trainer<'_, M> {
    /// Updates of the whole run.
    pub fn total(&self) -> u64 {
        self.adaptation.stages() as u64 * self.per_stage()
    }

    fn per_stage(&self) -> u64 {
        self.plan.epochs * self.per_epoch()
    }

    /// The update that ends this part of the whole run, from 0 to 1; the first at least.
    pub fn until(&self, part: f64) -> u64 {
        ((part * self.total() as f64).ceil() as u64).clamp(1, self.total())
    }

    fn per_epoch(&self) -> u64 {
        self.examples.len().div_ceil(self.plan.batch) as u64
    }

    /// Trains until update `end` of the whole run's schedule, from the checkpoint if `resume` and there is one that is not
    /// beyond it. Going on later gives what training without a stop gives. Ends early where model selection does. Returns
    /// the updates done and the tokens seen by this call.
    ///
    /// # Errors
    /// When the loss is not finite (the parameters are then those of the last finite one), or a file cannot be written.
    pub fn fit(
        &mut self,
        end: u64,
        resume: bool,
        observers: &mut [&mut dyn Observer],
    ) -> Result<(u64, u64), TrainError> {
        let (total, per_stage, per_epoch, plan) = (self.total(), self.per_stage(), self.per_epoch(), self.plan);
        let mut learner = Learner::new(&mut *self.model, &mut *self.adaptation, plan.rules);
        let saved = if resume { Saved::read(&self.checkpoint)? } else { None };
        if let Some(saved) = saved.filter(|saved| saved.updates() <= end) {
            learner.load(&saved)?;
        }
        let schedule = Schedule::new(plan.shape, plan.lr, plan.warmup_ratio, per_stage);
        let lengths: Vec<usize> = self.examples.iter().map(TokenRow::tokens).collect();
        for observer in observers.iter_mut() {
            observer.start(learner.updates(), total)?;
        }
        let done = learner.updates();
        learner.model.prepare(learner.adaptation, self.examples, done, per_epoch)?;
        let (mut seen, mut entered) = (0, None);
        while learner.updates() < end && !learner.model.stopped() {
            let epoch = learner.updates() / per_epoch;
            // A stage's schedule and moments are its own; an epoch belongs to one stage.
            let (stage, began) = (epoch / plan.epochs, epoch / plan.epochs * per_stage);
            if entered != Some(stage) {
                learner.enter(stage as usize, began);
                entered = Some(stage);
            }
            let skip = (learner.updates() % per_epoch) as usize;
            let left = (end - learner.updates()) as usize;
            for batch in batches::of_epoch(&lengths, plan.batch, self.seed, epoch)[skip..].iter().take(left) {
                let step = learner.updates();
                let _draws = self.seed.seed_libtorch("dropout", step);
                let batch: Vec<&M::Example> = batch.iter().map(|&index| &self.examples[index]).collect();
                let lr = schedule.at(step - began);
                let update = learner.update(&batch, lr).map_err(|error| at_step(error, step, epoch, &batch))?;
                seen += update.tokens as u64;
                // Before the checkpoint: what a checkpoint has behind it has been looked at.
                let dev_loss = learner.model.after_update(step + 1, per_epoch, learner.adaptation)?;
                for observer in observers.iter_mut() {
                    observer.step(&StepInfo { step, epoch, update, lr, dev_loss })?;
                }
                let stopped = learner.model.stopped();
                if (step + 1).is_multiple_of(plan.checkpoint_every) || step + 1 == end || stopped {
                    learner.save(&self.checkpoint)?;
                }
                if stopped {
                    break;
                }
            }
        }
        Ok((learner.updates(), seen))
    }
}

/// An update's error with its place in the run.
fn at_step<E: TokenRow>(error: UpdateError, step: u64, epoch: u64, batch: &[&E]) -> TrainError {
    match error {
        UpdateError::Overlap(error) => TrainError::Overlap(error),
        UpdateError::Group(error) => TrainError::Group(error),
        UpdateError::NonFinite { loss, norm } => {
            let rows = batch.iter().map(|example| example.name()).collect::<Vec<_>>().join(", ");
            TrainError::NonFinite { step, epoch, loss, norm, rows }
        }
    }
}
