//! What figures depend on beside the rows that they are of: printed with them, and kept with them.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::config::plan::{DeviceSpec, Dtype, EvalSplit, RunPlan};
use crate::machine::fast;
use crate::store::record::Record;

/// The model and the machine that scores come from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Conditions {
    /// The base model.
    pub model: String,
    /// The adapter on it, by its folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// Which rows: `embedded`, `real` or `own`, with the split where they are of one: `own dev`.
    pub rows: String,
    /// What decides all that is drawn.
    pub seed: u64,
    /// Type of the base weights.
    pub dtype: &'static str,
    /// Where it computes.
    pub device: String,
    /// The processor's name; none in records of before it was noted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub processor: String,
    /// Threads of libtorch.
    pub threads: i32,
}

impl Conditions {
    /// Those of this process.
    pub fn here(model: &str, adapter: Option<&Path>, (rows, seed): (String, u64), at: (Dtype, DeviceSpec)) -> Self {
        let (dtype, device) = at;
        Self {
            model: model.to_owned(),
            adapter: adapter.map(|adapter| adapter.display().to_string()),
            rows,
            seed,
            dtype: dtype.name(),
            device: device.into(),
            processor: fast::processor().name.clone(),
            threads: tch::get_num_threads(),
        }
    }

    /// Those of a run.
    pub fn of(record: &Record) -> Self {
        let (plan, environment) = (&record.plan, &record.environment);
        Self {
            model: plan.model.clone(),
            adapter: None,
            rows: scored_rows(plan),
            seed: plan.seed,
            dtype: plan.dtype.name(),
            device: plan.device.into(),
            processor: environment.processor.clone(),
            threads: environment.threads,
        }
    }
}

/// Which rows a plan scores, with their split.
pub(super) fn scored_rows(plan: &RunPlan) -> String {
    let split = match plan.data.eval_split {
        EvalSplit::Dev => "dev",
        EvalSplit::Test(_) => "test",
    };
    format!("{} {split}", plan.data.rows())
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, adapter, rows, seed, dtype, device, processor, threads } = self;
        let with = adapter.as_ref().map_or(String::new(), |adapter| format!(" with {adapter}"));
        let on = if processor.is_empty() { String::new() } else { format!(" ({processor})") };
        write!(f, "{model}{with} on {rows} rows, seed {seed}, {dtype}, {device}{on}, {threads} threads")
    }
}
