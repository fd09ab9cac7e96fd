//! The rows of an encoder's run: those to learn from, and the validation rows, split by the run's seed.

use reft_core::rng::Seed;

use super::ClassificationExperiment;
use super::answers::Reader;
use crate::config::plan::{EvalSplit, RunPlan};
use crate::data::data_file::DataFile;
use crate::data::error::DataError;
use crate::data::halves::ValidationHalves;
use crate::data::labels::Labels;
use crate::data::left_out::LeftOut;
use crate::data::overlap::Overlap;
use crate::data::row::{Row, limited};
use crate::data::source::DataSources;
use crate::data::split::fingerprint;
use crate::run::experiment::{Experiment, RunRows};
use crate::run::folders::split_files;
use crate::run::session::{LoadedEncoder, Session};
use crate::tasks::TaskId;
use crate::tasks::labelled::LabelledTask;

/// The rows of a run.
pub struct ClassificationRows {
    pub(super) plan: RunPlan,
    pub(super) task: &'static dyn LabelledTask,
    pub(super) labels: Labels,
    pub(super) train: Vec<Row>,
    pub(super) validation: ValidationHalves,
    left_out: Vec<LeftOut>,
    /// Which files of folders are which split's.
    folders: Vec<String>,
    files: Vec<DataFile>,
}

impl ClassificationRows {
    /// Reads and limits the rows of a plan.
    ///
    /// # Errors
    /// When data is missing or damaged, or one part of the validation rows would be empty.
    pub fn read(plan: &RunPlan, task: &'static dyn LabelledTask, sources: &DataSources) -> Result<Self, DataError> {
        let kind = plan.data.source;
        let sources = &sources.afresh();
        let mut train = task.training(kind, sources)?;
        let labels = task.labels(&train)?;
        train.truncate(limited(train.len(), plan.data.train_rows));
        let left_out = task.left_out(kind, sources)?;
        let validation = task.validation(kind, sources, Seed(plan.seed))?;
        check_held(plan, task, &validation)?;
        let folders = split_files(plan, sources)?;
        Ok(Self { plan: plan.clone(), task, labels, train, validation, left_out, folders, files: sources.files() })
    }

    /// The task as the plan names it.
    pub(super) fn id(&self) -> TaskId {
        self.plan.data.eval[0]
    }

    /// How these rows are read for an encoder.
    pub(super) fn reader<'a>(&self, loaded: &'a LoadedEncoder) -> Reader<'a> {
        Reader { task: self.task.key(), labels: self.labels, loaded, max_length: self.plan.data.max_length }
    }

    /// The rows for model selection: scored after every epoch.
    pub(super) fn watched(&self) -> &[Row] {
        first(&self.validation.watched, &self.plan)
    }
}

impl RunRows for ClassificationRows {
    fn fingerprint(&self) -> String {
        let parts =
            [fingerprint(&self.train), fingerprint(&self.validation.watched), self.validation.held.fingerprint()];
        fingerprint(&parts.map(|answer| Row { answer, ..Row::default() }))
    }

    /// Held rows are compared for a run that reports them only.
    fn warnings(&self) -> Vec<String> {
        let of = |rows: &[Row], part: &str| {
            Overlap::new(first(rows, &self.plan), &self.train).describe(self.task.key(), part)
        };
        let held = match &self.plan.data.eval_split {
            EvalSplit::Dev => None,
            EvalSplit::Test(selection) => of(self.validation.held.open(selection), "held"),
        };
        self.folders.iter().cloned().chain(of(&self.validation.watched, "watched")).chain(held).collect()
    }

    fn files(&self) -> &[DataFile] {
        &self.files
    }

    fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    fn load(self: Box<Self>, session: &mut Session) -> anyhow::Result<Box<dyn Experiment>> {
        let loaded = session.load_encoder(&self.plan)?;
        Ok(Box::new(ClassificationExperiment { rows: *self, loaded }))
    }
}

/// Refuses a plan that reports rows of which there are none.
///
/// # Errors
/// When it does.
pub fn check_held(plan: &RunPlan, task: &dyn LabelledTask, validation: &ValidationHalves) -> Result<(), DataError> {
    if plan.data.eval_split == EvalSplit::Dev || validation.held.count() > 0 {
        return Ok(());
    }
    let remedy = "hold some out with split.test, or score the dev rows";
    Err(DataError::NoRows { task: task.key(), split: "test", remedy })
}

/// The first rows, as many as a plan scores.
fn first<'r>(rows: &'r [Row], plan: &RunPlan) -> &'r [Row] {
    &rows[..limited(rows.len(), plan.data.eval_rows)]
}

/// The validation rows that a plan scores: those for model selection, or the held ones for a setting that is chosen.
pub fn scored<'r>(plan: &RunPlan, validation: &'r ValidationHalves) -> &'r [Row] {
    let rows = match &plan.data.eval_split {
        EvalSplit::Dev => &validation.watched,
        EvalSplit::Test(selection) => validation.held.open(selection),
    };
    first(rows, plan)
}
