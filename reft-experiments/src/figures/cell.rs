//! The runs of a figure.

use serde_json::json;

use crate::config::ConfigError;
use crate::config::dtype::DtypeChoice;
use crate::config::merge::merge;
use crate::config::plan::{DeviceSpec, RunPlan};
use crate::config::read::resolve;
use crate::store::record::Record;
use crate::studies::lines::CellResult;
use crate::studies::study::StudyCell;

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

impl StudyBase {
    /// The run of a cell.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn run(&self, cell: StudyCell) -> Result<FigureRun, ConfigError> {
        let StudyCell { title, settings } = cell;
        let mut tree =
            json!({"model": self.model, "dtype": self.dtype.name(), "device": self.device, "seed": self.seed});
        merge(&mut tree, settings);
        let plan = resolve(tree, &title)?;
        Ok(FigureRun { title, plan, dtype: self.dtype })
    }
}

/// A run with its record, where it is done.
pub type FinishedRun = (FigureRun, Option<Record>);

/// What a run came to, as studies draw it; none of a run that is not done.
pub fn result((_, record): &FinishedRun) -> Option<CellResult> {
    let Record { id, scores, .. } = record.as_ref()?;
    Some(CellResult { scores: scores.clone(), run: id.to_string() })
}
