//! A style from five examples (appendix G.2): how often held-out answers have it, by strength.
//!
//! The style is an over-cautious assistant's: every answer begins with an excuse.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cell::{EditTraining, FigureRun, FinishedRun, StudyBase, share};
use super::composition::{MOST, questions};
use crate::config::ConfigError;
use crate::report::figures::panels::{LineSeries, SeriesPoint};
use crate::tasks::study::questions::{AnswerStyle, Questions};

/// Examples there are.
const EXAMPLES: usize = 5;

/// The study's settings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StyleStudy {
    /// The layer that is edited, at the last prompt token; from the last where negative.
    pub layer: i64,
    /// Rank of the LoReFT.
    pub rank: i64,
    /// How it is trained.
    pub training: EditTraining,
    /// Strengths to use it with; 0 is the base model.
    pub strengths: Vec<f64>,
}

impl StyleStudy {
    /// The one run.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn cells(&self, base: &StudyBase) -> Result<Vec<FigureRun>, ConfigError> {
        let reft = json!({"intervention": "loreft", "rank": self.rank, "positions": "l1", "layers": [self.layer]});
        let eval: Vec<Value> =
            self.strengths.iter().map(|&strength| questions(AnswerStyle::Excuse, vec![strength])).collect();
        let settings = json!({
            "adapt": {"reft": reft},
            "data": {"train": [questions(AnswerStyle::Excuse, Vec::new())], "train_rows": EXAMPLES, "eval": eval},
            "train": self.training.settings(),
            "eval": {"max_new_tokens": MOST},
        });
        Ok(vec![base.cell("style".to_owned(), settings)?])
    }

    /// One line: the share of held-out answers with the style by strength.
    pub fn series(&self, done: &[FinishedRun]) -> Vec<LineSeries> {
        let Some((_, Some(record))) = done.first() else { return Vec::new() };
        let point = |&strength: &f64| {
            let name = Questions { style: AnswerStyle::Excuse, strengths: vec![strength] }.name();
            let score = *record.scores.get(&name)?;
            Some(SeriesPoint::of(strength, share(score), score, Some(record)))
        };
        let points = self.strengths.iter().filter_map(point).collect();
        vec![LineSeries { panel: "five examples".to_owned(), name: "ours".to_owned(), points }]
    }
}
