//! The runs of a study.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::ConfigError;
use crate::config::dtype::DtypeChoice;
use crate::config::merge::merge;
use crate::config::plan::{DeviceSpec, RunPlan};
use crate::config::read::resolve;
use crate::store::record::{Record, Score};

/// A run that a figure is made of.
#[derive(Clone, PartialEq, Debug)]
pub struct FigureRun {
    /// What it is, for people.
    pub title: String,
    /// The run.
    pub plan: RunPlan,
    /// What the figure's file says of the type of its weights.
    pub dtype: DtypeChoice,
}

/// What all runs of a study have in common.
#[derive(Clone, PartialEq, Debug)]
pub struct StudyBase {
    /// The model.
    pub model: String,
    /// Type of its weights.
    pub dtype: DtypeChoice,
    /// Where it computes.
    pub device: DeviceSpec,
    /// Decides texts, answers and the beginning of edits.
    pub seed: u64,
}

/// How edits are trained.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditTraining {
    /// Times over the rows.
    pub epochs: u64,
    /// Rows of an update.
    #[serde(default = "one")]
    pub batch_size: usize,
    /// Learning rate, which decays linearly to 0.
    pub lr: f64,
}

fn one() -> usize {
    1
}

/// Updates between two checkpoints: a run of a study has a few hundred short ones.
const CHECKPOINT_EVERY: u64 = 100;

impl EditTraining {
    /// As a run's configuration has it.
    pub fn settings(self) -> Value {
        let Self { epochs, batch_size, lr } = self;
        json!({"epochs": epochs, "batch_size": batch_size, "lr": lr, "warmup_ratio": 0.0, "checkpoint_every": CHECKPOINT_EVERY})
    }
}

impl StudyBase {
    /// The run with these settings.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn cell(&self, title: String, settings: Value) -> Result<FigureRun, ConfigError> {
        let mut tree =
            json!({"model": self.model, "dtype": self.dtype.name(), "device": self.device, "seed": self.seed});
        merge(&mut tree, settings);
        let plan = resolve(tree, &title)?;
        Ok(FigureRun { title, plan, dtype: self.dtype })
    }
}

/// A cell with its record, where it is done.
pub type FinishedRun = (FigureRun, Option<Record>);

impl FigureRun {
    /// The score of its `number`-th task in its record.
    pub fn score(&self, record: Option<&Record>, number: usize) -> Option<Score> {
        record?.scores.get(self.plan.data.eval.get(number)?.key()).copied()
    }
}

/// A score as a share of its rows.
pub fn share(score: Score) -> f64 {
    match score {
        Score::Counts { correct, n, .. } => correct as f64 / n.max(1) as f64,
        Score::Measured { .. } | Score::Graded { .. } | Score::Timed { .. } => score.figure() / 100.0,
    }
}
