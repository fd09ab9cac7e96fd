//! How the edits of a study are trained.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How edits are trained.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
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
