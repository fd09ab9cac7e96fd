//! The training loop: a frozen model with its loss, a trainable adaptation.

use std::path::PathBuf;

use reft_core::adaptation::Adaptation;
use reft_core::rng::Seed;
use reft_models::distributed::{GroupError, ProcessGroup};
use tch::Tensor;

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
    /// Whether model selection may end training early: ranks then ask rank 0 after every update.
    pub stops_early: bool,
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
    /// The processes that share every batch with this one. Rank 0 alone reads and writes the checkpoint and selects models; the
    /// others have a model that selects nothing, and no observers.
    pub group: Option<&'a ProcessGroup>,
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
        learner.group = self.group;
        let leads = self.group.is_none_or(ProcessGroup::leads);
        let saved = if resume && leads { Saved::read(&self.checkpoint)? } else { None };
        if let Some(saved) = saved.filter(|saved| saved.updates() <= end) {
            learner.load(&saved)?;
        }
        if let Some(group) = self.group {
            learner.take_over(group)?;
        }
        let asked = self.group.filter(|_| plan.stops_early);
        let schedule = Schedule::new(plan.shape, plan.lr, plan.warmup_ratio, per_stage);
        if (0..per_stage).all(|step| schedule.at(step) == 0.0) {
            eprintln!(
                "the warm-up takes all {per_stage} updates at rate 0: nothing is learned; train more updates, or without train.warmup_ratio"
            );
        }
        let lengths: Vec<usize> = self.examples.iter().map(TokenRow::tokens).collect();
        for observer in observers.iter_mut() {
            observer.start(learner.updates(), total)?;
        }
        let done = learner.updates();
        learner.model.prepare(learner.adaptation, self.examples, done, per_epoch)?;
        let (mut seen, mut entered, mut stopped) = (0, None, ends_early(learner.model.stopped(), asked)?);
        while learner.updates() < end && !stopped {
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
                let _draws = self.seed.seed_libtorch(&dropout_stream(self.group), step);
                let batch: Vec<&M::Example> = batch.iter().map(|&index| &self.examples[index]).collect();
                let lr = schedule.at(step - began);
                let update = learner.update(&batch, lr).map_err(|error| at_step(error, step, epoch, &batch))?;
                seen += update.tokens as u64;
                // Before the checkpoint: what a checkpoint has behind it has been looked at.
                let model = &mut *learner.model;
                let looked = leads.then(|| model.after_update(step + 1, per_epoch, learner.adaptation));
                let dev_loss = looked.transpose()?.flatten();
                for observer in observers.iter_mut() {
                    observer.step(&StepInfo { step, epoch, update, lr, dev_loss })?;
                }
                stopped = ends_early(learner.model.stopped(), asked)?;
                if leads && ((step + 1).is_multiple_of(plan.checkpoint_every) || step + 1 == end || stopped) {
                    learner.save(&self.checkpoint)?;
                }
                if stopped {
                    break;
                }
            }
        }
        if !learner.ends_finite() {
            return Err(TrainError::NotFinite { updates: learner.updates() });
        }
        Ok((learner.updates(), seen))
    }
}

/// The name of the random numbers that dropout takes: each rank has its own.
fn dropout_stream(group: Option<&ProcessGroup>) -> String {
    match group.map_or(0, ProcessGroup::rank) {
        0 => "dropout".to_owned(),
        rank => format!("dropout of rank {rank}"),
    }
}

/// Whether training ends early, as rank 0 sees it: the others are told.
fn ends_early(own: bool, asked: Option<&ProcessGroup>) -> Result<bool, GroupError> {
    let Some(group) = asked else { return Ok(own) };
    let mut word = Tensor::from_slice(&[i64::from(own)]);
    group.broadcast(&mut word)?;
    Ok(word.int64_value(&[0]) == 1)
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
