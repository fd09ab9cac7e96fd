//! What came out of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::RunId;
use super::environment::Environment;
use crate::config::plan::RunPlan;
use crate::data::data_file::DataFile;
use crate::data::left_out::LeftOut;
use crate::data::too_long::TooLong;
pub use crate::score::outcome::{Measure, Score, mean_figure};
use crate::train::best::Epoch;
use crate::train::validation::DevLoss;

/// Scores of a run that is trained in part.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rung {
    /// The part of the updates that was asked for, from 0 to 1.
    pub part: f64,
    /// Updates done.
    pub update: u64,
    /// Updates of the whole run.
    pub total: u64,
    /// Scores by task.
    pub scores: BTreeMap<String, Score>,
}

/// Sizes of model and adaptation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parameters {
    /// Numbers trained.
    pub trainable: i64,
    /// Numbers of the base model.
    pub base: i64,
    /// Numbers of a classification head, which are trained and not counted with the others.
    #[serde(default)]
    pub head: i64,
}

impl Parameters {
    /// Trainable numbers in percent of the base model's.
    pub fn percent(self) -> f64 {
        100.0 * self.trainable as f64 / self.base.max(1) as f64
    }
}

/// What a run took.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct RunCost {
    /// Seconds of training in the process that finished the run.
    pub train_seconds: f64,
    /// Tokens trained on in that process.
    pub train_tokens: u64,
    /// Seconds of scoring.
    pub eval_seconds: f64,
    /// Most memory held by that process since the run began, MiB. Records of before hold the most since the process began.
    pub peak_memory_mib: u64,
    /// Bytes of the adapter's tensors as they are saved; none where there is no adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter_bytes: Option<u64>,
    /// How often frozen weights were held at most while gradients passed through them (1 or 2, as memory allowed), which decides
    /// the order of summation; none of an encoder, and in records made before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_copies: Option<usize>,
}

/// A complete run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub id: RunId,
    /// Its plan.
    pub plan: RunPlan,
    /// What else it depended on.
    pub environment: Environment,
    /// Scores by task.
    pub scores: BTreeMap<String, Score>,
    /// The epoch that was kept, with its score on the rows watched while training; none where nothing was watched.
    #[serde(default)]
    pub best: Option<Epoch>,
    /// The step that was kept, with the loss of the dev rows; none where `train.validation` is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_step: Option<DevLoss>,
    /// Broken lines of data files that it did without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Rows that were longer than `data.max_length`, and what became of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub too_long: Vec<TooLong>,
    /// The files that its rows were read from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_files: Vec<DataFile>,
    /// Sizes.
    pub parameters: Parameters,
    /// What it took.
    pub cost: RunCost,
}

/// A record that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system said no.
    #[error("{path}: {source}: check the path, its permissions and the space left")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Damaged.
    #[error("{path}: not a run's record ({reason}): delete the run's folder to repeat the run")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        reason: String,
    },
}

impl Record {
    /// Writes it, complete or not at all.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn save(&self, path: &Path) -> Result<(), RecordError> {
        let json = serde_json::to_vec_pretty(self).expect("plain data");
        crate::atomic::write(path, &json).map_err(|source| RecordError::Io { path: path.to_owned(), source })
    }

    /// The record at `path`; none when the run is not complete.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn find(path: &Path) -> Result<Option<Self>, RecordError> {
        match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RecordError::Io { path: path.to_owned(), source }),
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| RecordError::Damaged { path: path.to_owned(), reason: error.to_string() }),
        }
    }
}
