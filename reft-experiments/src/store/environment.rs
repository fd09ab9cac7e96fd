//! What a run depended on beside its plan.

use serde::{Deserialize, Serialize};

use crate::machine::fast;

/// Kept beside every run's configuration and in its record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// Commit of the code, `-dirty` with changes.
    pub git_revision: String,
    /// Hash of the sources that decide results.
    pub code_hash: String,
    /// Identity of the rows trained on and scored.
    pub data_fingerprint: String,
    /// Identity of the base weights.
    pub weights_fingerprint: String,
    /// Threads of libtorch.
    pub threads: i32,
    /// The processor's name; records before it was noted have none.
    #[serde(default)]
    pub processor: String,
    /// The type of the weights beside what `dtype: auto` takes on that machine, and why; likewise.
    #[serde(default)]
    pub dtype: String,
}

/// Hash of the sources that decide results.
pub const CODE_HASH: &str = env!("REFT_CODE_HASH");

impl Environment {
    /// This build on these data and weights, on this machine. What is to be said of the type of the weights depends on the plan.
    pub fn here(data_fingerprint: String, weights_fingerprint: String) -> Self {
        Self {
            git_revision: env!("REFT_GIT_REVISION").to_owned(),
            code_hash: CODE_HASH.to_owned(),
            data_fingerprint,
            weights_fingerprint,
            threads: tch::get_num_threads(),
            processor: fast::processor().name.clone(),
            dtype: String::new(),
        }
    }
}

/// Most memory this process has held, in MiB; 0 where the system does not say.
pub fn peak_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}
