//! What a study is: runs whose edits are measured in a way of their own, and what is drawn of the measures.
//!
//! The table of all studies is [`super`]. What every study has in common is written once: training and records in
//! `run/studying`, what a plan may say in `config/plan/study.rs`, figures in `figures`.

use std::any::Any;
use std::fmt::Debug;

use anyhow::Result;
use reft_core::layers::LayerIndex;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::edited::{EditedModel, StudyContext};
use super::lines::{Axes, CellResult, LineSeries};
use crate::data::encode::Example;
use crate::data::source::DataSources;
use crate::score::outcome::Score;

/// A run of a study: what it adds to model, type, device and seed, which all runs of a figure have in common.
#[derive(Clone, PartialEq, Debug)]
pub struct StudyCell {
    /// What it is, for people.
    pub title: String,
    /// Settings of a run file: `adapt`, `data`, `train`, `eval`.
    pub settings: Value,
}

/// A study: which runs there are, and what is drawn of them.
pub trait Study: Any + Debug + Send + Sync {
    /// Its runs, in an order that [`Study::lines`] relies on.
    fn cells(&self) -> Vec<StudyCell>;

    /// The layers that its `layers` lists where each is edited by runs of its own and is to the right in its lines, counted from the
    /// last where negative; none otherwise.
    fn layers(&self) -> &[LayerIndex] {
        &[]
    }

    /// Why settings that are valid alone do not go together: the setting, and what to do.
    ///
    /// # Errors
    /// With the first of them.
    fn check(&self) -> Result<(), (&'static str, String)> {
        Ok(())
    }

    /// What is drawn of its runs, in the order of the cells; none of a run that is not done.
    fn lines(&self, done: &[Option<CellResult>]) -> Vec<LineSeries>;

    /// The prompt whose edits are drawn instead of lines, by the adapter of the first run.
    fn edited_prompt(&self) -> Option<&str> {
        None
    }

    /// Whether times are measured, which runs beside each other disturb.
    fn is_timed(&self) -> bool {
        false
    }
}

/// A study with its settings, as an entry of [`super`]: `study: {KEY: {settings}}` in a figure's file. What the type's own
/// documentation says stands in lists.
pub trait StudySettings: Study + DeserializeOwned + JsonSchema {
    /// The key in a figure's file.
    const KEY: &'static str;
    /// As lists print it.
    const TITLE: &'static str;
    /// What the axes of its lines are; none where no lines are drawn.
    const AXES: Option<Axes>;
    /// What is measured in its runs, and what their edits learn from.
    type Measure: MeasureSettings;

    /// Settings to show and to test with.
    fn example() -> Self;
}

/// What the edits of a run learn from, and what they are measured by: `study: {KEY: {settings}}` in place of a task in
/// `data.train` and `data.eval`. Several studies may have one measure.
pub trait StudyMeasure: Any + Debug + Send + Sync {
    /// Its name in records, and in the names of files.
    fn name(&self) -> String;

    /// A text that it is made of and that does not come from the settings alone; it enters the identity of runs.
    ///
    /// # Errors
    /// When a file is not there, or is another.
    fn material(&self, _sources: &DataSources) -> Result<String> {
        Ok(String::new())
    }

    /// Why edits cannot be trained by it with these settings, and what to do.
    ///
    /// # Errors
    /// When they cannot.
    fn check_training(&self) -> Result<(), &'static str> {
        Ok(())
    }

    /// Whether it has a set of rows: `data.train_rows` and `data.eval_rows` limit them, and several such measures can be trained
    /// on together, each by a set of `refts` of its own.
    fn has_rows(&self) -> bool {
        false
    }

    /// Why it cannot be measured on this model, known before anything is trained.
    ///
    /// # Errors
    /// When it cannot.
    fn check_measure(&self, _context: &StudyContext<'_>) -> Result<()> {
        Ok(())
    }

    /// What edits learn from.
    ///
    /// # Errors
    /// When a text cannot be encoded, or there is less of it than is asked for.
    fn examples(&self, context: &StudyContext<'_>) -> Result<Vec<Example>>;

    /// What the edits come to.
    ///
    /// # Errors
    /// When a text cannot be encoded, or interventions overlap.
    fn measure(&self, edited: &EditedModel<'_>) -> Result<Measurement>;
}

/// A measure with its settings.
pub trait MeasureSettings: StudyMeasure + Serialize + DeserializeOwned + JsonSchema {
    /// The key in run files.
    const KEY: &'static str;
    /// Where it comes from.
    const ORIGIN: &'static str;
}

/// A measure in place of a task in `data.train` or `data.eval`.
pub fn as_task<M: MeasureSettings>(measure: &M) -> Value {
    json!({"study": {M::KEY: measure}})
}

/// What was measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Measurement {
    /// What it came to.
    pub score: Score,
    /// What was answered; nothing where only times count.
    pub answers: Vec<StudyAnswer>,
}

/// What an edited model answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StudyAnswer {
    /// The prompt.
    pub asked: String,
    /// What the model said.
    pub said: String,
    /// What was learned.
    pub expected: String,
    /// Whether the one passes for the other.
    pub correct: bool,
}

impl Measurement {
    /// The number of right answers among them.
    pub fn counted(answers: Vec<StudyAnswer>) -> Self {
        let correct = answers.iter().filter(|answer| answer.correct).count();
        Self { score: Score::Counts { correct, n: answers.len(), cut: 0 }, answers }
    }
}
