//! Figures 9 and 10: how many input-output pairs one edit can hold, by layer and number of pairs.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cell::{EditTraining, FigureRun, FinishedRun, StudyBase};
use super::memorise::by_layer;
use crate::config::ConfigError;
use crate::report::figures::panels::LineSeries;
use crate::tasks::study::spec::{PairsSpec, StudySpec};
use crate::tasks::study::text::Book;

/// Tokens that an answer may have.
const MOST: usize = 10;

/// The study's settings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairsStudy {
    /// Pairs that one edit learns.
    pub counts: Vec<usize>,
    /// Layers, each with an edit of its own; from the last where negative.
    pub layers: Vec<i64>,
    /// How the edit is trained.
    pub training: EditTraining,
    /// As the authors' code does where it differs from the paper's text: answers are words of the book, not tokens.
    #[serde(default)]
    pub as_run: bool,
    /// Where the book comes from, for words.
    #[serde(default)]
    pub book: Book,
}

impl PairsStudy {
    /// A run for each number of pairs and layer, with the edit of figures 3 to 8.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn cells(&self, base: &StudyBase) -> Result<Vec<FigureRun>, ConfigError> {
        let mut cells = Vec::new();
        for &count in &self.counts {
            let study = StudySpec::Pairs(PairsSpec { count, as_run: self.as_run, book: self.book });
            for &layer in &self.layers {
                let reft = json!({"intervention": "consreft", "rank": 1, "positions": "l1", "layers": [layer]});
                let settings = json!({
                    "adapt": {"reft": reft},
                    "data": {"train": [{"study": study}], "eval": [{"study": study}]},
                    "train": self.training.settings(),
                    "eval": {"max_new_tokens": MOST},
                });
                cells.push(base.cell(format!("{count} pairs, layer {layer}"), settings)?);
            }
        }
        Ok(cells)
    }

    /// A line for each number of pairs: the share of pairs whose answer is exactly right, by layer.
    pub fn series(&self, done: &[FinishedRun]) -> Vec<LineSeries> {
        by_layer(&self.counts, &self.layers, done)
    }
}
