//! A style from five examples (appendix G.2): how often held-out answers have it, by strength.
//!
//! The style is an over-cautious assistant's: every answer begins with an excuse.

use std::num::NonZeroU32;

use reft_core::layers::LayerIndex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::distinct::Distinct;
use super::lines::{Axes, CellResult, LineSeries};
use super::questions::{AnswerStyle, MOST, Questions};
use super::study::{Study, StudyCell, StudyMeasure, StudySettings, as_task};
use super::training::EditTraining;

/// Examples there are.
const EXAMPLES: usize = 5;

/// A style learned from five examples, used with several strengths.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StyleStudy {
    /// The layer that is edited, at the last prompt token; from the last where negative.
    pub layer: LayerIndex,
    /// Rank of the LoReFT.
    pub rank: NonZeroU32,
    /// How it is trained.
    pub training: EditTraining,
    /// Strengths to use it with; 0 is the base model.
    pub strengths: Distinct<f64>,
}

/// What is measured at a strength.
fn measure(strength: f64) -> Questions {
    Questions { style: AnswerStyle::Excuse, strengths: vec![strength] }
}

impl Study for StyleStudy {
    /// The one run.
    fn cells(&self) -> Vec<StudyCell> {
        let reft = json!({"intervention": "loreft", "rank": self.rank, "positions": "l1", "layers": [self.layer]});
        let eval: Vec<Value> = self.strengths.iter().map(|&strength| as_task(&measure(strength))).collect();
        let train = as_task(&Questions::learned(AnswerStyle::Excuse));
        let settings = json!({
            "adapt": {"reft": reft},
            "data": {"train": [train], "train_rows": EXAMPLES, "eval": eval},
            "train": self.training.settings(),
            "eval": {"max_new_tokens": MOST},
        });
        vec![StudyCell { title: Self::KEY.to_owned(), settings }]
    }

    /// One line: the share of held-out answers with the style by strength.
    fn lines(&self, done: &[Option<CellResult>]) -> Vec<LineSeries> {
        let Some(Some(result)) = done.first() else { return Vec::new() };
        let point = |&strength: &f64| result.share(strength, &measure(strength).name());
        let points = self.strengths.iter().filter_map(point).collect();
        vec![LineSeries { panel: "five examples".to_owned(), name: "ours".to_owned(), points }]
    }
}

impl StudySettings for StyleStudy {
    const KEY: &'static str = "style";
    const TITLE: &'static str = "a style from five examples (appendix G.2)";
    const AXES: Option<Axes> = Some(Axes::of_shares("style", "strength", "rate"));
    type Measure = Questions;

    fn example() -> Self {
        let training = EditTraining::new(2, 4, 1e-2);
        Self {
            layer: LayerIndex::FromStart(1),
            rank: NonZeroU32::new(2).expect("not 0"),
            training,
            strengths: [0.0, 1.0].into(),
        }
    }
}
