//! Figure 2: the edited tokens and layers of a prompt, with the size of each edit and its angle to the state.

use reft_core::layers::{LayerIndex, Layers};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::lines::{Axes, CellResult, LineSeries};
use super::questions::{AnswerStyle, MOST, Questions};
use super::study::{Study, StudyCell, StudySettings, as_task};
use super::training::EditTraining;

/// The edits of a prompt, by a small adapter that is trained to be looked at.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditsStudy {
    /// The prompt whose edits are drawn.
    pub prompt: String,
    /// The layers that are edited; from the last where negative.
    pub layers: Layers,
    /// The prompt tokens that are edited.
    pub positions: String,
    /// Rank of the LoReFT.
    pub rank: i64,
    /// How it is trained.
    pub training: EditTraining,
}

impl Study for EditsStudy {
    /// The run that trains the adapter.
    fn cells(&self) -> Vec<StudyCell> {
        let reft =
            json!({"intervention": "loreft", "rank": self.rank, "positions": self.positions, "layers": self.layers});
        let learned = as_task(&Questions::learned(AnswerStyle::Excuse));
        let settings = json!({
            "adapt": {"reft": reft},
            "data": {"train": [learned], "eval": [learned]},
            "train": self.training.settings(),
            "eval": {"max_new_tokens": MOST},
        });
        vec![StudyCell { title: Self::KEY.to_owned(), settings }]
    }

    fn lines(&self, _: &[Option<CellResult>]) -> Vec<LineSeries> {
        Vec::new()
    }

    fn edited_prompt(&self) -> Option<&str> {
        Some(&self.prompt)
    }
}

impl StudySettings for EditsStudy {
    const KEY: &'static str = "edits";
    const TITLE: &'static str = "the edits of a prompt (figure 2)";
    const AXES: Option<Axes> = None;
    type Measure = Questions;

    fn example() -> Self {
        let training = EditTraining { epochs: 2, batch_size: 8, lr: 1e-2 };
        let (prompt, positions) = ("a b".to_owned(), "f1+l1".to_owned());
        let layers = Layers::Listed([0, 2].map(LayerIndex::FromStart).into());
        Self { prompt, layers, positions, rank: 2, training }
    }
}
