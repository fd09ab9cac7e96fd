//! All complete runs of a folder, from their records, which are read in parallel.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use rayon::prelude::*;
use reft_core::{AdaptSpec, value_reader};
use serde::Deserialize;
use serde_json::Value;

use super::RunId;
use super::record::{RecordError, RunCost, Score};

/// What lists show of a complete run.
#[derive(Clone, PartialEq, Debug)]
pub struct RecordSummary {
    /// Its name.
    pub id: RunId,
    /// Its plan, by the keys of a configuration.
    pub plan: Value,
    /// Scores by task.
    pub scores: BTreeMap<String, Score>,
    /// `dev` or `test`.
    pub split: &'static str,
    /// Seconds of training and scoring.
    pub seconds: f64,
}

impl RecordSummary {
    /// An entry; its plan says which rows were scored.
    fn new(id: RunId, plan: Value, scores: BTreeMap<String, Score>, seconds: f64) -> Self {
        let split = if plan["data"]["eval_split"] == "dev" { "dev" } else { "test" };
        Self { id, plan, scores, split, seconds }
    }

    /// What was trained, as tables print it; settings of other versions by their key.
    pub fn method(&self) -> String {
        let adapt = &self.plan["adapt"];
        let key = || adapt.as_object().and_then(|adapt| adapt.keys().next()).map_or("base model", String::as_str);
        value_reader::read::<AdaptSpec>(adapt).map_or_else(|_| key().to_owned(), |spec| spec.title())
    }

    /// A setting of its plan by a key such as `train.lr`; in a list keys are places.
    pub fn setting(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.plan, |value, key| match value {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            other => other.get(key),
        })
    }
}

/// A record without what lists do not show: a plan of an older version is no reason to leave its run out.
#[derive(Deserialize)]
struct ListedRecord {
    id: RunId,
    plan: Value,
    scores: BTreeMap<String, Score>,
    cost: RunCost,
}

/// The complete runs below `runs`, by the names of their folders, and what is wrong with records that cannot be read.
///
/// # Errors
/// When the folder cannot be read.
pub fn entries(runs: &Path) -> Result<(Vec<RecordSummary>, Vec<String>), RecordError> {
    let listed = std::fs::read_dir(runs).map_err(|source| RecordError::Io { path: runs.to_owned(), source })?;
    let mut folders: Vec<String> = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    folders.sort();
    let read: Vec<Result<RecordSummary, RecordError>> = folders
        .into_par_iter()
        .filter_map(|folder| entry(&runs.join(folder).join("record.json")).transpose())
        .collect();
    let (mut entries, mut damaged) = (Vec::with_capacity(read.len()), Vec::new());
    for read in read {
        match read {
            Ok(entry) => entries.push(entry),
            Err(error) => damaged.push(error.to_string()),
        }
    }
    Ok((entries, damaged))
}

/// What a record says; none where there is no record.
fn entry(path: &Path) -> Result<Option<RecordSummary>, RecordError> {
    let text = match std::fs::read_to_string(path) {
        // A run that is not complete, or a file beside the runs.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        read => read.map_err(|source| RecordError::Io { path: path.to_owned(), source })?,
    };
    let damaged = |error: serde_json::Error| RecordError::Damaged { path: path.to_owned(), reason: error.to_string() };
    let ListedRecord { id, plan, scores, cost } = serde_json::from_str(&text).map_err(damaged)?;
    Ok(Some(RecordSummary::new(id, plan, scores, cost.train_seconds + cost.eval_seconds)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put(runs: &Path, id: &str, seed: u64) {
        let record = json!({
            "id": id,
            "plan": {"model": "tiny", "seed": seed, "train": {"lr": 9e-4}, "data": {"eval_split": "dev"}},
            "scores": {"arc_e": {"correct": seed, "n": 10}, "cola": {"metric": "matthews", "value": 0.1 + 0.2, "n": 10}},
            "cost": {"train_seconds": 1.5, "train_tokens": 7, "eval_seconds": 0.1, "peak_memory_mib": 5},
        });
        crate::atomic::write(&runs.join(id).join("record.json"), record.to_string().as_bytes()).expect("writable");
    }

    #[test]
    fn complete_runs_are_listed_in_order_and_damaged_records_named() {
        let runs = tempfile::tempdir().expect("a temporary folder");
        let runs = runs.path();
        (0..5).rev().for_each(|seed| put(runs, &format!("run{seed}"), seed));
        std::fs::write(runs.join("test-reads.jsonl"), "").expect("writable");
        std::fs::create_dir(runs.join("begun")).expect("writable");
        let (listed, damaged) = entries(runs).expect("readable");
        let seeds: Vec<Option<u64>> =
            listed.iter().map(|entry| entry.setting("seed").and_then(Value::as_u64)).collect();
        assert_eq!((seeds, damaged), ((0..5).map(Some).collect(), Vec::new()));
        assert_eq!((listed[0].split, listed[0].setting("train.lr")), ("dev", Some(&json!(9e-4))));
        std::fs::write(runs.join("run4/record.json"), "{").expect("writable");
        let (listed, damaged) = entries(runs).expect("readable");
        assert_eq!((listed.len(), damaged.len()), (4, 1));
        assert!(damaged[0].contains("run4/record.json: not a run's record"), "{damaged:?}");
        assert!(entries(&runs.join("none")).is_err());
    }
}
