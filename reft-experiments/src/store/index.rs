//! All complete runs of a folder. Their records are the truth; those that have not changed since they were last read are
//! taken from an index beside them.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::RunId;
use super::cache::{Cache, Stamp};
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

impl Entry {
    /// An entry; its plan says which rows were scored.
    pub(super) fn new(id: RunId, plan: Value, scores: BTreeMap<String, Score>, seconds: f64) -> Self {
        let split = if plan["data"]["eval_split"] == "dev" { "dev" } else { "test" };
        Self { id, plan, scores, split, seconds }
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
struct Kept {
    id: RunId,
    plan: Value,
    scores: BTreeMap<String, Score>,
    cost: Cost,
}

/// The complete runs below `runs`, by the names of their folders, and what is wrong with records that cannot be read. An
/// index that is missing, damaged or cannot be written costs time and is no error.
///
/// # Errors
/// When the folder cannot be read.
pub fn entries(runs: &Path) -> Result<(Vec<Entry>, Vec<String>), RecordError> {
    let mut cache = Cache::read(runs);
    let found = Found::below(runs, std::mem::take(&mut cache.known))?;
    // Whoever comes next reads what could not be written.
    let _ = cache.write(found.unknown(), &found.gone);
    Ok(found.into_parts())
}

/// The same, with every record read and the index made anew.
///
/// # Errors
/// When the folder cannot be read or the index cannot be written.
pub fn rebuild(runs: &Path) -> Result<(Vec<Entry>, Vec<String>), RecordError> {
    let found = Found::below(runs, HashMap::new())?;
    let cache = Cache::empty(runs);
    let written = cache.write(found.unknown(), &found.gone);
    written.map_err(|source| RecordError::Io { path: cache.path().to_owned(), source })?;
    Ok(found.into_parts())
}

/// What is below a folder.
struct Found {
    /// By folder, each with whether it was read just now.
    all: Vec<(String, Stamp, Entry, bool)>,
    damaged: Vec<String>,
    /// Folders that were known and have no record any more.
    gone: Vec<String>,
}

impl Found {
    /// Looks at every record and reads those that are not known as they are.
    fn below(runs: &Path, mut known: HashMap<String, (Stamp, Entry)>) -> Result<Self, RecordError> {
        let listed = std::fs::read_dir(runs).map_err(|source| RecordError::Io { path: runs.to_owned(), source })?;
        let mut folders: Vec<String> = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        folders.sort();
        let stamp = |folder: String| {
            let path = runs.join(&folder).join("record.json");
            Some((folder, stamp(&path).transpose()?, path))
        };
        let stamped: Vec<_> = folders.into_par_iter().filter_map(stamp).collect();
        let mut found = Self { all: Vec::new(), damaged: Vec::new(), gone: Vec::new() };
        let mut unread: Vec<(String, Stamp, PathBuf)> = Vec::new();
        for (folder, stamp, path) in stamped {
            match (stamp, known.remove(&folder)) {
                (Err(error), _) => found.damaged.push(error.to_string()),
                (Ok(stamp), Some((same, entry))) if stamp == same => found.all.push((folder, stamp, entry, false)),
                (Ok(stamp), _) => unread.push((folder, stamp, path)),
            }
        }
        let read = |(folder, stamp, path): (String, Stamp, PathBuf)| (folder, stamp, entry(&path));
        for (folder, stamp, read) in unread.into_par_iter().map(read).collect::<Vec<_>>() {
            match read {
                Ok(entry) => found.all.push((folder, stamp, entry, true)),
                Err(error) => found.damaged.push(error.to_string()),
            }
        }
        found.all.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        found.gone = known.into_keys().collect();
        Ok(found)
    }

    /// What was read just now.
    fn unknown(&self) -> impl Iterator<Item = (&str, Stamp, &Entry)> {
        let new = self.all.iter().filter(|(.., new)| *new);
        new.map(|(folder, stamp, entry, _)| (folder.as_str(), *stamp, entry))
    }

    fn into_parts(self) -> (Vec<Entry>, Vec<String>) {
        (self.all.into_iter().map(|(_, _, entry, _)| entry).collect(), self.damaged)
    }
}

/// The stamp of a record; none where there is no record.
fn stamp(path: &Path) -> Result<Option<Stamp>, RecordError> {
    match std::fs::metadata(path) {
        Ok(file) => Ok(Some(Stamp::of(&file))),
        // A run that is not complete, or a file beside the runs.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(RecordError::Io { path: path.to_owned(), source }),
    }
}

fn entry(path: &Path) -> Result<Entry, RecordError> {
    let text = std::fs::read_to_string(path).map_err(|source| RecordError::Io { path: path.to_owned(), source })?;
    let damaged = |error: serde_json::Error| RecordError::Damaged { path: path.to_owned(), reason: error.to_string() };
    let Kept { id, plan, scores, cost } = serde_json::from_str(&text).map_err(damaged)?;
    Ok(Entry::new(id, plan, scores, cost.train_seconds + cost.eval_seconds))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use rusqlite::Connection;
    use serde_json::json;

    use super::*;

    /// A record that was written a minute ago.
    fn put(runs: &Path, id: &str, seed: u64) {
        let record = json!({
            "id": id,
            "plan": {"model": "tiny", "seed": seed, "train": {"lr": 9e-4}, "data": {"eval_split": "dev"}},
            "scores": {"arc_e": {"correct": seed, "n": 10}, "cola": {"metric": "matthews", "value": 0.1 + 0.2, "n": 10}},
            "cost": {"train_seconds": 1.5, "train_tokens": 7, "eval_seconds": 0.1, "peak_memory_mib": 5},
        });
        let path = runs.join(id).join("record.json");
        crate::atomic::write(&path, record.to_string().as_bytes()).expect("writable");
        let file = File::options().write(true).open(path).expect("there");
        file.set_modified(SystemTime::now() - Duration::from_mins(1)).expect("writable");
    }

    fn store() -> tempfile::TempDir {
        let runs = tempfile::tempdir().expect("a temporary folder");
        (0..5).for_each(|seed| put(runs.path(), &format!("run{seed}"), seed));
        std::fs::write(runs.path().join("test-reads.jsonl"), "").expect("writable");
        runs
    }

    /// What the records say, and how many of them the index does not know.
    fn truth(runs: &Path) -> (Vec<Entry>, usize) {
        let found = Found::below(runs, Cache::read(runs).known).expect("readable");
        let unknown = found.unknown().count() + found.gone.len();
        (Found::below(runs, HashMap::new()).expect("readable").into_parts().0, unknown)
    }

    /// The list is what the records say, and the index then knows all of them.
    fn check(name: &str, runs: &Path, unknown: usize) {
        let (expected, found) = truth(runs);
        assert_eq!(found, unknown, "{name}");
        assert_eq!(entries(runs).expect("readable"), (expected, Vec::new()), "{name}");
        assert_eq!(truth(runs).1, 0, "{name}");
    }

    #[test]
    fn only_records_that_are_new_changed_or_gone_are_looked_into() {
        let runs = store();
        check("new", runs.path(), 5);
        check("unchanged", runs.path(), 0);
        put(runs.path(), "run1", 7);
        put(runs.path(), "run9", 9);
        std::fs::remove_dir_all(runs.path().join("run3")).expect("there");
        check("changed, new and gone", runs.path(), 3);
        // Written within the last moments: a second change could look like none.
        std::fs::write(
            runs.path().join("run2/record.json"),
            std::fs::read(runs.path().join("run0/record.json")).unwrap(),
        )
        .expect("writable");
        entries(runs.path()).expect("readable");
        assert_eq!(truth(runs.path()).1, 1);
        std::fs::write(runs.path().join("run4/record.json"), "{").expect("writable");
        let (listed, damaged) = entries(runs.path()).expect("readable");
        assert_eq!((listed.len(), damaged.len()), (4, 1));
        assert!(damaged[0].contains("run4/record.json: not a run's record"), "{damaged:?}");
    }

    #[test]
    fn an_index_that_is_damaged_old_or_locked_or_says_something_else_is_of_no_harm() {
        type Harm = fn(&Path);
        fn open(index: &Path) -> Connection {
            Connection::open(index).expect("an index")
        }
        let cases: [(&str, Harm, usize); 6] = [
            ("no database", |index| std::fs::write(index, "no database").expect("writable"), 5),
            ("empty", |index| std::fs::write(index, "").expect("writable"), 5),
            ("truncated", |index| File::options().write(true).open(index).unwrap().set_len(4096).expect("writable"), 5),
            ("old", |index| open(index).pragma_update(None, "user_version", 99).expect("writable"), 5),
            (
                "changed",
                |index| {
                    let change = "UPDATE records SET plan = replace(plan, 'tiny', 'huge') WHERE folder = 'run2'";
                    assert_eq!(open(index).execute(change, []).expect("writable"), 1);
                },
                1,
            ),
            (
                "locked",
                |index| {
                    let database = Box::leak(Box::new(open(index)));
                    database.execute_batch("BEGIN EXCLUSIVE").expect("free");
                    put(index.parent().expect("a folder"), "run8", 8);
                },
                1,
            ),
        ];
        for (name, harm, unknown) in cases {
            let runs = store();
            check("new", runs.path(), 5);
            harm(&runs.path().join("index.sqlite"));
            check(name, runs.path(), unknown);
        }
    }

    #[test]
    fn an_index_that_cannot_be_written_is_an_error_only_where_it_was_asked_for() {
        let runs = store();
        std::fs::create_dir(runs.path().join("index.sqlite")).expect("writable");
        assert_eq!(entries(runs.path()).expect("readable").0.len(), 5);
        let error = rebuild(runs.path()).expect_err("refused").to_string();
        assert!(error.contains("index.sqlite"), "{error}");
        std::fs::remove_dir(runs.path().join("index.sqlite")).expect("there");
        assert_eq!(rebuild(runs.path()).expect("writable").0.len(), 5);
        check("made anew", runs.path(), 0);
    }
}
