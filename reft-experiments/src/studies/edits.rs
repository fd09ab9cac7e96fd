//! Figure 2: the edited tokens and layers of a prompt, with the size of each edit and its angle to the state.

use std::num::NonZeroU32;

use reft_core::layers::{LayerIndex, Layers};
use reft_core::positions::Positions;
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
    pub positions: Positions,
    /// Rank of the LoReFT.
    pub rank: NonZeroU32,
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

    fn check(&self) -> Result<(), (&'static str, String)> {
        match self.positions {
            Positions::Generated { .. } | Positions::Given => {
                Err(("positions", format!("{} edits no token of a prompt: write f2+l2, prompt or all", self.positions)))
            }
            _ if self.prompt.is_empty() => Err(("prompt", "an empty prompt has no edits: write one".to_owned())),
            Positions::Ends { .. } | Positions::Prompt | Positions::All | Positions::Tail { .. } => Ok(()),
        }
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
        let training = EditTraining::new(2, 8, 1e-2);
        let (prompt, positions) = ("a b".to_owned(), Positions::Ends { prefix: 1, suffix: 1 });
        let layers = Layers::Listed([0, 2].map(LayerIndex::FromStart).into());
        Self { prompt, layers, positions, rank: NonZeroU32::new(2).expect("not 0"), training }
    }
}
