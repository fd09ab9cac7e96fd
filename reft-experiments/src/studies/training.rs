//! How the edits of a study are trained.

use std::num::{NonZeroU64, NonZeroUsize};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How edits are trained.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditTraining {
    /// Times over the rows.
    pub epochs: NonZeroU64,
    /// Rows of an update.
    #[serde(default = "one")]
    pub batch_size: NonZeroUsize,
    /// Learning rate, which decays linearly to 0.
    pub lr: LearningRate,
}

fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

/// A learning rate, finite and above 0.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
pub struct LearningRate(f64);

impl TryFrom<f64> for LearningRate {
    type Error = String;

    fn try_from(rate: f64) -> Result<Self, String> {
        if rate.is_finite() && rate > 0.0 {
            Ok(Self(rate))
        } else {
            Err(format!("{rate} is not a learning rate: above 0"))
        }
    }
}

/// Updates between two checkpoints: a run of a study has a few hundred short ones.
const CHECKPOINT_EVERY: u64 = 100;

impl EditTraining {
    /// So many epochs of batches of so many rows at this rate.
    ///
    /// # Panics
    /// When one of them is 0, or the rate is not finite.
    pub fn new(epochs: u64, batch_size: usize, lr: f64) -> Self {
        let epochs = NonZeroU64::new(epochs).expect("some epochs");
        Self {
            epochs,
            batch_size: NonZeroUsize::new(batch_size).expect("some rows"),
            lr: lr.try_into().expect("a rate"),
        }
    }

    /// As a run's configuration has it.
    pub fn settings(self) -> Value {
        let Self { epochs, batch_size, lr } = self;
        json!({"epochs": epochs, "batch_size": batch_size, "lr": lr, "warmup_ratio": 0.0, "checkpoint_every": CHECKPOINT_EVERY})
    }
}
