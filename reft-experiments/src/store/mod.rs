//! Runs on disk: one folder a run, named by what it depends on. The records are the truth; tables are made from them.

mod cache;
pub mod claim;
pub mod environment;
pub mod index;
pub mod record;
pub mod state;
pub mod test_reads;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::plan::RunPlan;

/// A run's name: a hash of everything that decides its result.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// The id of a plan on this data and these weights, by this code.
    pub fn new(plan: &RunPlan, data: &str, weights: &str, code: &str) -> Self {
        let plan = serde_json::to_string(plan).expect("plain data");
        let mut hash = Sha256::new();
        for part in [plan.as_str(), data, weights, code] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The files of one run. The only place that spells their names.
#[derive(Clone, Debug)]
pub struct RunPaths {
    folder: PathBuf,
}

macro_rules! paths {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $($(#[$doc])* pub fn $name(&self) -> PathBuf { self.folder.join($file) })*
    };
}

impl RunPaths {
    /// The run `id` below `root`.
    pub fn new(root: &Path, id: &RunId) -> Self {
        Self { folder: root.join(id.to_string()) }
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    paths! {
        /// The resolved configuration with its environment.
        config = "config.yaml";
        /// One line for each update.
        metrics = "metrics.jsonl";
        /// The same for TensorBoard.
        events = "events.out.tfevents.reft";
        /// The state of training.
        checkpoint = "checkpoint.safetensors";
        /// The trained adapter.
        adapter = "adapter";
        /// A trained classification head.
        head = "head.safetensors";
        /// What every epoch scored on the rows that are watched, one line each.
        epochs = "epochs.jsonl";
        /// The parameters of the best of them, while training.
        best = "best.safetensors";
        /// What came out; exists when the run is complete.
        record = "record.json";
        /// Why the run ended early; exists until it is repeated.
        failure = "failure.txt";
        /// What sweeps did with it so far.
        state = "state.json";
    }

    /// Who worked on it, the `number`-th time.
    pub fn claim(&self, number: usize) -> PathBuf {
        self.folder.join(format!("claim-{number:04}.json"))
    }

    /// What the model said, row by row.
    pub fn predictions(&self, task: &str) -> PathBuf {
        self.folder.join(format!("predictions-{task}.jsonl"))
    }

    /// The same as a file of model outputs, for tasks that are judged.
    pub fn outputs(&self, task: &str) -> PathBuf {
        self.folder.join(format!("outputs-{task}.json"))
    }

    /// What a judge said about them.
    pub fn annotations(&self, task: &str) -> PathBuf {
        self.folder.join(format!("annotations-{task}.json"))
    }
}
