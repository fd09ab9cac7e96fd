//! Runs on disk: one folder a run, named by what it depends on. The records are the truth; tables are made from them.

pub mod claim;
pub mod entries;
pub mod environment;
pub mod lock;
pub mod nearest;
#[cfg(feature = "program")]
pub mod peft_benchmark;
pub mod record;
pub mod state;
pub mod test_reads;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::environment::Environment;
use crate::config::plan::RunPlan;

/// A run's name: a hash of everything that decides its result.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// The id of a plan in an environment: see [`Environment::deciding`]. The code's hash and revision are no part of it.
    pub fn new(plan: &RunPlan, environment: &Environment) -> Self {
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(&serde_json::to_string(plan).expect("plain data"));
        for (name, value) in environment.deciding(plan.device.0) {
            add(name);
            add(&value);
        }
        Self(format!("{:.16x}", hash.finalize()))
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
        /// The loss of the dev rows after every look at them, one line each.
        validation = "validation.jsonl";
        /// The parameters of the best epoch or step, while training.
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

#[cfg(test)]
mod tests {
    use reft_models::identity::Identity;
    use tch::Device;

    use super::*;
    use crate::config::plan::DeviceSpec;

    fn environment() -> Environment {
        let part = |name: &str| name.to_owned();
        let model = Identity { weights: part("w"), sketch: None, config: part("c"), tokenizer: part("t") };
        Environment { threads: 2, ..Environment::here("d".to_owned(), &model) }
    }

    #[test]
    fn run_ids_depend_on_what_decides_results_and_not_on_the_sources() {
        let plan = RunPlan::default();
        let name = |change: &dyn Fn(&mut Environment)| {
            let mut environment = environment();
            change(&mut environment);
            RunId::new(&plan, &environment)
        };
        let same = name(&|_| ());
        assert_eq!(name(&|e| e.code_hash = "a comment, a message, a new task".to_owned()), same);
        assert_eq!(name(&|e| e.git_revision = "another commit".to_owned()), same);
        let changes: [&dyn Fn(&mut Environment); 6] = [
            &|e| e.results_version += 1,
            &|e| e.data_fingerprint.push('x'),
            &|e| e.weights_fingerprint.push('x'),
            &|e| e.config_fingerprint.push('x'),
            &|e| e.tokenizer_fingerprint.push('x'),
            &|e| e.threads += 1,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert_ne!(name(change), same, "change {number}");
        }
        let shifted = name(&|e| (e.data_fingerprint, e.weights_fingerprint) = ("dw".to_owned(), String::new()));
        assert_ne!(shifted, same, "parts do not run into each other");
    }

    #[test]
    fn threads_decide_on_a_cpu_only() {
        let plan = RunPlan { device: DeviceSpec(Device::Cuda(0)), ..RunPlan::default() };
        let (here, there) = (environment(), Environment { threads: 7, ..environment() });
        assert_eq!(RunId::new(&plan, &here), RunId::new(&plan, &there));
    }

    #[test]
    fn an_environment_of_an_earlier_version_is_read() {
        let old =
            r#"{"git_revision":"r","code_hash":"c","data_fingerprint":"d","weights_fingerprint":"w","threads":2}"#;
        let old: Environment = serde_json::from_str(old).expect("readable");
        assert_eq!((old.results_version, old.config_fingerprint.as_str()), (0, ""));
    }
}
