//! What a run depended on beside its plan.

use reft_models::identity::Identity;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::machine::memory::kib;
use crate::machine::{fast, root};

/// Version of what the program computes: part of every run's identity. Raise it by one when a change of the code changes
/// numbers of a run (an algorithm, an order of summation, a default, how a prompt is built), and then only: every run is done
/// anew. `tests/results_version.rs` fails when figures move and this did not.
pub const RESULTS_VERSION: u32 = 3;

/// Kept beside every run's configuration and in its record. The revision and the hash of the sources are for information; the
/// rest decides, with the plan, what a run computes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// Commit of the code, `-dirty` with changes.
    pub git_revision: String,
    /// Hash of the sources.
    pub code_hash: String,
    /// [`RESULTS_VERSION`] of the code; 0 in records made before it was kept.
    #[serde(default)]
    pub results_version: u32,
    /// Identity of the rows trained on and scored.
    pub data_fingerprint: String,
    /// Identity of the base weights.
    pub weights_fingerprint: String,
    /// Identity of the model's configuration; empty in records made before it was kept.
    #[serde(default)]
    pub config_fingerprint: String,
    /// Identity of the tokenizer with its chat template; empty in records made before it was kept.
    #[serde(default)]
    pub tokenizer_fingerprint: String,
    /// Threads of libtorch. On a CPU the order of summation, and with it the last digits, depends on their number.
    pub threads: i32,
    /// Processes that shared every batch in training.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub processes: usize,
    /// The processor's name; records before it was noted have none.
    #[serde(default)]
    pub processor: String,
    /// The type of the weights beside what `dtype: auto` takes on that machine, and why; likewise.
    #[serde(default)]
    pub dtype: String,
}

/// Hash of the sources, for information.
pub const CODE_HASH: &str = env!("REFT_CODE_HASH");

impl Environment {
    /// This build on these data and this model, on this machine and in as many threads as libtorch has now. What is to be said
    /// of the type of the weights depends on the plan.
    pub fn here(data_fingerprint: String, model: &Identity) -> Self {
        Self {
            git_revision: env!("REFT_GIT_REVISION").to_owned(),
            code_hash: CODE_HASH.to_owned(),
            results_version: RESULTS_VERSION,
            data_fingerprint,
            weights_fingerprint: model.weights.clone(),
            config_fingerprint: model.config.clone(),
            tokenizer_fingerprint: model.tokenizer.clone(),
            threads: tch::get_num_threads(),
            processes: 1,
            processor: fast::processor().name.clone(),
            dtype: String::new(),
        }
    }

    /// What decides a run's result beside its plan, by names for people. Threads count on a CPU only, processes where there are
    /// several: gradients are summed in another order, and dropout differs.
    pub fn deciding(&self, device: Device) -> Vec<(&'static str, String)> {
        let mut parts = vec![
            ("results version", self.results_version.to_string()),
            ("data", self.data_fingerprint.clone()),
            ("weights", self.weights_fingerprint.clone()),
            ("config.json", self.config_fingerprint.clone()),
            ("tokenizer", self.tokenizer_fingerprint.clone()),
        ];
        if device == Device::Cpu {
            parts.push((THREADS, self.threads.to_string()));
        }
        if self.processes > 1 {
            parts.push(("processes", self.processes.to_string()));
        }
        parts
    }
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_one(count: &usize) -> bool {
    *count == 1
}

/// The name of the number of threads among what decides a result.
pub const THREADS: &str = "threads";

/// Lets [`peak_memory_mib`] count from now on, where the system can (Linux).
pub fn forget_peak_memory() {
    // Without it the peak is that of the whole process, which is no less true and less useful.
    let _ = std::fs::write(root().join("proc/self/clear_refs"), "5");
}

/// Most memory this process has held since it began, or since [`forget_peak_memory`], in MiB; 0 where the system does not say.
pub fn peak_memory_mib() -> u64 {
    kib(root(), "proc/self/status", "VmHWM:").map_or(0, |bytes| (bytes >> 20) as u64)
}
