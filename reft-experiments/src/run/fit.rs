//! The trainer with its observers, as a plan sets it: the same for every kind of run.

use anyhow::{Context, Result};
use reft_core::adaptation::Adaptation;
use reft_core::decay::Decay;
use reft_core::rng::Seed;

use super::named::NamedRun;
use crate::config::parity::ParityPoint;
use crate::config::plan::RunPlan;
use crate::train::learner::{HeadGradients, UpdateRules};
use crate::train::model_with_loss::ModelWithLoss;
use crate::train::observe::{Metrics, Observer};
use crate::train::progress::Progress;
use crate::train::tensorboard::TensorBoard;
use crate::train::trainer::{Trainer, TrainingArguments};

/// How far a run is trained.
pub struct Fit<'a> {
    /// The run.
    pub(super) named: &'a NamedRun<'a>,
    /// The part of the updates to be done, from 0 to 1.
    pub(super) part: f64,
}

/// Where training ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TrainingReached {
    /// Updates done.
    pub update: u64,
    /// Updates of the whole run.
    pub total: u64,
    /// Whether it stopped early: the run is then complete.
    pub early: bool,
    /// Tokens seen by this call.
    pub tokens: u64,
}

impl TrainingReached {
    /// Whether all of the run is trained.
    pub fn complete(&self) -> bool {
        self.early || self.update >= self.total
    }
}

impl Fit<'_> {
    /// Trains, from the checkpoint if the run goes on. `title` is added to the lines of progress.
    ///
    /// # Errors
    /// Those of [`Trainer::fit`].
    pub fn run<M: ModelWithLoss>(
        &self,
        title: &str,
        model: &mut M,
        adaptation: &mut dyn Adaptation,
        examples: &[M::Example],
    ) -> Result<TrainingReached> {
        let NamedRun { plan, paths, resume, label, group, .. } = self.named;
        let mut trainer = Trainer {
            model,
            adaptation,
            plan: train_plan(plan),
            seed: Seed(plan.seed),
            examples,
            checkpoint: paths.checkpoint(),
            group: group.as_deref(),
        };
        let mut events = TensorBoard::new(paths.events(), paths.metrics());
        let mut metrics = Metrics::new(paths.metrics());
        let mut progress = Progress::new(format!("{label} {title}").trim_end().to_owned());
        let (end, total) = (trainer.until(self.part), trainer.total());
        if let Some(every) = plan.train.validation.map(|validation| validation.every).filter(|every| *every > total) {
            eprintln!("train.validation.every: {every} updates, and there are {total}: dev rows are never looked at");
        }
        let mut observers: [&mut dyn Observer; 3] = [&mut events, &mut metrics, &mut progress];
        let observers = if self.named.leads() { &mut observers[..] } else { &mut [] };
        let outcome = trainer.fit(end, *resume, observers);
        let (update, tokens) = outcome.with_context(|| format!("{}: training stopped", paths.folder().display()))?;
        let early = update < total && trainer.model.stopped();
        if early {
            eprintln!("{label}: stopped early after update {update} of {total}: train.validation.patience");
        }
        Ok(TrainingReached { update, total, early, tokens })
    }
}

/// How a run trains.
fn train_plan(plan: &RunPlan) -> TrainingArguments {
    let train = &plan.train;
    TrainingArguments {
        epochs: train.epochs,
        lr: train.lr,
        batch: train.batch_size,
        shape: train.schedule,
        warmup_ratio: train.warmup_ratio,
        rules: UpdateRules {
            weight_decay: train.weight_decay,
            decay: if plan.follows_pyreft(ParityPoint::Decay) { Decay::Pyreft } else { Decay::Matrices },
            clip: train.clip,
            peak: train.lr,
            head_gradients: if plan.follows_pyreft(ParityPoint::HeadGradients) {
                HeadGradients::Kept
            } else {
                HeadGradients::Zeroed
            },
        },
        checkpoint_every: train.checkpoint_every,
        stops_early: train.validation.is_some_and(|validation| validation.patience > 0),
    }
}
