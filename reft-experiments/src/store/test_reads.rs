//! Who read test rows, when, and by which choice: one line for each run that opened them, in `test-reads.jsonl` beside the
//! runs. Lines are added and never changed.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::claim::Owner;
use super::{RunId, record::RecordError};
use crate::data::split::Selection;

#[derive(Serialize)]
struct TestReadLine<'a> {
    /// Seconds since 1970.
    at: u64,
    host: &'a str,
    user: String,
    /// A run, or the saved adapter that `reft eval` scored.
    run: &'a str,
    tasks: &'a [&'a str],
    chosen_by: &'a str,
}

/// Notes that a run is about to score test rows.
///
/// # Errors
/// When the file system refuses: test rows are not read without a line in the log.
pub fn note(runs: &Path, run: &RunId, tasks: &[&str], selection: &Selection) -> Result<(), RecordError> {
    note_as(runs, &run.to_string(), tasks, selection)
}

/// The same for what is no run, by its name.
///
/// # Errors
/// As for [`note`].
pub fn note_as(runs: &Path, name: &str, tasks: &[&str], selection: &Selection) -> Result<(), RecordError> {
    let owner = Owner::here();
    let user = std::env::var("USER").unwrap_or_default();
    let line =
        TestReadLine { at: owner.since, host: &owner.host, user, run: name, tasks, chosen_by: &selection.chosen_by };
    let text = serde_json::to_string(&line).expect("plain data") + "\n";
    // A line that a full disk cut off stays alone.
    let cut = |before: &str| !before.is_empty() && !before.ends_with('\n');
    let text = if cut(&lines(runs)?) { format!("\n{text}") } else { text };
    let path = path(runs);
    // One write of a short line to a file opened for appending: lines of several processes do not mix.
    let add = || File::options().create(true).append(true).open(&path)?.write_all(text.as_bytes());
    add().map_err(|source| RecordError::Io { path: path.clone(), source })
}

/// Whether it was noted that a run scores test rows.
///
/// # Errors
/// When the notes cannot be read.
pub fn noted(runs: &Path, run: &RunId) -> Result<bool, RecordError> {
    let run = run.to_string();
    let of = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["run"] == run.as_str());
    Ok(lines(runs)?.lines().any(of))
}

fn path(runs: &Path) -> PathBuf {
    runs.join("test-reads.jsonl")
}

fn lines(runs: &Path) -> Result<String, RecordError> {
    let path = path(runs);
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|source| RecordError::Io { path, source }),
    }
}
