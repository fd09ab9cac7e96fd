//! All complete runs of a folder, read from their records. There is no second copy that could be out of date: records are
//! small, and cores read them in parallel.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::RunId;
use super::record::{Cost, RecordError, Score};

/// What lists show of a complete run.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
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

/// A record without what lists do not show: a plan of an older version is no reason to leave its run out.
#[derive(Deserialize)]
struct Kept {
    id: RunId,
    plan: Value,
    scores: BTreeMap<String, Score>,
    cost: Cost,
}

/// The complete runs below `runs`, by name, and what is wrong with records that cannot be read.
///
/// # Errors
/// When the folder cannot be read.
pub fn entries(runs: &Path) -> Result<(Vec<Entry>, Vec<String>), RecordError> {
    let listed = std::fs::read_dir(runs).map_err(|source| RecordError::Io { path: runs.to_owned(), source })?;
    let mut paths: Vec<_> = listed.filter_map(Result::ok).map(|entry| entry.path().join("record.json")).collect();
    paths.sort();
    let read: Vec<Option<Result<Entry, RecordError>>> = paths.par_iter().map(|path| entry(path).transpose()).collect();
    let (mut entries, mut damaged) = (Vec::new(), Vec::new());
    for outcome in read.into_iter().flatten() {
        match outcome {
            Ok(entry) => entries.push(entry),
            Err(error) => damaged.push(error.to_string()),
        }
    }
    Ok((entries, damaged))
}

fn entry(path: &Path) -> Result<Option<Entry>, RecordError> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(source) => return Err(RecordError::Io { path: path.to_owned(), source }),
        Ok(text) => text,
    };
    let damaged = |error: serde_json::Error| RecordError::Damaged { path: path.to_owned(), reason: error.to_string() };
    let Kept { id, plan, scores, cost } = serde_json::from_str(&text).map_err(damaged)?;
    let split = if plan["data"]["eval_split"] == "dev" { "dev" } else { "test" };
    Ok(Some(Entry { id, plan, scores, split, seconds: cost.train_seconds + cost.eval_seconds }))
}
