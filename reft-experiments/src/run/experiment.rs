//! What is run, in three steps: its rows, which name it together with plan and model; the same with the model loaded; and what
//! is trained and scored.
//! `choice.rs` decides which implementation a plan takes.

use anyhow::Result;
use reft_core::adapt_config::SpecError;
use reft_core::lender::Lender;
use reft_core::site::Dims;

use super::fit::{Fit, TrainingReached};
use super::named::NamedRun;
use super::prediction::Prediction;
use super::session::Session;
use crate::config::plan::RunPlan;
use crate::data::data_file::DataFile;
use crate::data::left_out::LeftOut;
use crate::data::too_long::TooLong;
use crate::store::record::{Parameters, Rung, Score};
use crate::tasks::TaskId;
use crate::train::best::Epoch;
use crate::train::validation::DevLoss;

/// The rows of a run, read and limited. No model is needed for any of this.
pub trait RunRows {
    /// Identity of all of them; rows that are held back enter by their fingerprint.
    fn fingerprint(&self) -> String;

    /// What a score on these rows does not tell, in words: how many of them are also trained on, and in how many two choices are the
    /// same.
    fn warnings(&self) -> Vec<String>;

    /// The files that they were read from.
    fn files(&self) -> &[DataFile];

    /// What these files, or their folders, have beside rows: broken lines, and files of no format of rows.
    fn left_out(&self) -> &[LeftOut];

    /// The same with the model of the plan.
    ///
    /// # Errors
    /// When it cannot be loaded.
    fn load(self: Box<Self>, session: &mut Session) -> Result<Box<dyn Experiment>>;
}

/// Rows and the model that learns from them.
pub trait Experiment {
    /// The rows.
    fn rows(&self) -> &dyn RunRows;

    /// Refuses settings of the adaptation and rows that the model cannot be used with. Nothing is built or written for it.
    ///
    /// # Errors
    /// When they do not fit it.
    fn check(&self, plan: &RunPlan) -> Result<()>;

    /// What is trained and scored, at its initial values. The memory that the run takes is said, and refused where it cannot
    /// fit, at the latest before the first update.
    ///
    /// # Errors
    /// When the adaptation does not fit the model, or a row is longer than the model's context.
    fn begin<'a>(&'a self, run: &'a NamedRun<'a>) -> Result<Box<dyn Trainee + 'a>>;
}

/// The trainable parameters of a run with the objective that moves them and the rows that score them.
pub trait Trainee {
    /// Trains up to the part that is asked for.
    ///
    /// # Errors
    /// When the run cannot fit into memory, the loss is not finite (a [`crate::train::error::TrainError`]; the parameters are
    /// then those of the last finite one), or a file cannot be written.
    fn train(&mut self, fit: &Fit<'_>) -> Result<TrainingReached>;

    /// Puts the parameters back that did best on the rows for model selection; none where nothing was selected.
    ///
    /// # Errors
    /// When their file is damaged.
    fn select(&mut self) -> Result<SelectedParameters>;

    /// Writes what was trained into the run's folder.
    ///
    /// # Errors
    /// When the file system refuses.
    fn keep(&self) -> Result<()>;

    /// Deletes what only an interrupted run would need.
    fn tidy(&self);

    /// Scores of a run that stopped in part, by the rows for model selection; none where it has none and is scored as a
    /// complete one is.
    ///
    /// # Errors
    /// When interventions overlap.
    fn rung(&self, reached: &TrainingReached) -> Result<Option<Vec<(String, Score)>>>;

    /// Scores every task, one after the other.
    ///
    /// # Errors
    /// When a text cannot be encoded, interventions overlap, logits are not finite, or `each` fails.
    fn score(&self, each: &mut dyn FnMut(TaskScore) -> Result<()>) -> Result<()>;

    /// Training rows that were too long.
    fn too_long(&self) -> &[TooLong];

    /// Sizes.
    fn parameters(&self) -> Parameters;

    /// How often frozen weights are held at most while gradients pass through them; none where none do.
    fn weight_copies(&self) -> Option<usize> {
        None
    }
}

/// What model selection kept.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct SelectedParameters {
    /// The best epoch, where epochs are scored by a task's metric.
    pub epoch: Option<Epoch>,
    /// The best step, where dev rows are looked at.
    pub step: Option<DevLoss>,
}

/// A task that was scored.
pub struct TaskScore {
    /// The task.
    pub task: TaskId,
    /// What was answered, row by row.
    pub predictions: Vec<Prediction>,
    /// Rows that were cut; none if there are none.
    pub too_long: Option<TooLong>,
    /// What it came to; none where answers are to be judged.
    pub score: Option<Score>,
}

/// Whether what a plan trains fits a model of these dimensions. The model's own weights, which some methods train, always fit and
/// are not read for this.
///
/// # Errors
/// When the settings do not.
pub(super) fn check_settings(plan: &RunPlan, dims: &Dims, lender: &dyn Lender) -> Result<(), SpecError> {
    match plan.adapt.as_ref().filter(|spec| !spec.own_weights()) {
        Some(spec) => spec.config().trainable(dims, lender).map(drop),
        None => Ok(()),
    }
}

impl TrainingReached {
    /// As a rung of this part.
    pub(super) fn rung(&self, part: f64, scores: Vec<(String, Score)>) -> Rung {
        Rung { part, update: self.update, total: self.total, scores: scores.into_iter().collect() }
    }
}
