//! The runs of a table as the store has them: nothing is run, and neither model nor data is looked at.
//!
//! A run's name depends on its data, its model and the results version, which are not at hand here. So a record belongs to a
//! table if its plan is the table's, setting by setting; of several, made by other versions or from other data, the newest is
//! taken and the others are named. Where the table leaves the type of the weights to the machine, a run in any type is the
//! table's: it may have been done on another machine, and which type it was is said.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::config::dtype::DtypeChoice;
use crate::config::parity::Parity;
use crate::config::plan::RunPlan;
use crate::store::entries::entries;
use crate::store::record::{Record, RecordError};
use crate::store::{RunId, RunPaths};
use crate::tables::spec::RowPlan;

/// A run that a table asks for.
#[derive(Clone, Copy, Debug)]
pub struct RunRequest<'a> {
    plan: &'a RunPlan,
    dtype: DtypeChoice,
}

impl<'a> RunRequest<'a> {
    /// A run, and what its file says of the type of its weights.
    pub fn new(plan: &'a RunPlan, dtype: DtypeChoice) -> Self {
        Self { plan, dtype }
    }

    /// The runs of a row.
    pub fn of_row(row: &'a RowPlan) -> impl Iterator<Item = Self> {
        row.runs.iter().zip(&row.dtypes).map(|(plan, &dtype)| Self { plan, dtype })
    }

    /// What a record's plan must be; the type of the weights is null where the machine chooses it.
    fn tree(self) -> Value {
        let mut tree = serde_json::to_value(self.plan).expect("plain data");
        if self.dtype == DtypeChoice::Auto {
            tree["dtype"] = Value::Null;
        }
        tree
    }
}

/// Whether a record's plan is the wanted one.
fn is(plan: &Value, wanted: &Value) -> bool {
    let (Value::Object(plan), Value::Object(wanted)) = (plan, wanted) else { return false };
    plan.len() == wanted.len()
        && wanted.iter().all(|(key, value)| match (key.as_str(), value) {
            ("dtype", Value::Null) => plan.contains_key(key),
            _ => plan.get(key) == Some(value),
        })
}

/// A complete run of a plan.
#[derive(Clone, Debug)]
pub struct StoredRun {
    /// What came out of it.
    pub record: Record,
    /// Its files.
    pub paths: RunPaths,
    /// Older runs of the same plan.
    pub others: Vec<RunId>,
}

/// The newest complete run of each plan below `runs`, by the time of its record; and what is wrong with records that cannot
/// be read.
///
/// # Errors
/// When the folder cannot be read.
pub fn find(runs: &Path, wanted: &[RunRequest<'_>]) -> Result<(Vec<Option<StoredRun>>, Vec<String>), RecordError> {
    let wanted: Vec<Value> = wanted.iter().map(|wanted| comparable(wanted.tree())).collect();
    let mut by_seed: HashMap<&Value, Vec<usize>> = HashMap::new();
    for (number, plan) in wanted.iter().enumerate() {
        by_seed.entry(&plan["seed"]).or_default().push(number);
    }
    let (entries, mut damaged) = entries(runs)?;
    let mut candidates: Vec<Vec<RunId>> = vec![Vec::new(); wanted.len()];
    for entry in entries {
        // Most runs of a large store differ in their seeds already.
        let Some(of_seed) = by_seed.get(&entry.plan["seed"]) else { continue };
        let plan = comparable(entry.plan);
        for &number in of_seed {
            if is(&plan, &wanted[number]) {
                candidates[number].push(entry.id.clone());
            }
        }
    }
    let newest = |ids: Vec<RunId>| newest(runs, ids, &mut damaged);
    let found = candidates.into_iter().map(newest).collect();
    Ok((found, damaged))
}

/// A plan as plans are compared: settings that older plans do not have are left out where they have their defaults, and so is
/// what dropout would fall on where there is none.
fn comparable(mut plan: Value) -> Value {
    if let Some(train) = plan["train"].as_object_mut()
        && train.get("parity").is_some_and(|parity| *parity == json!(Parity::default()))
    {
        train.remove("parity");
    }
    let without_dropout = |spec: &mut Value| {
        if let Some(dropout) = spec.get_mut("dropout").and_then(Value::as_object_mut)
            && dropout.get("p").and_then(Value::as_f64) == Some(0.0)
        {
            dropout.remove("on");
        }
    };
    if let Some(adapt) = plan.get_mut("adapt").and_then(Value::as_object_mut) {
        adapt.get_mut("reft").into_iter().for_each(without_dropout);
        let several = adapt.get_mut("refts").and_then(Value::as_array_mut);
        several.into_iter().flatten().for_each(without_dropout);
    }
    plan
}

/// The newest of several runs of one plan that can be read.
fn newest(runs: &Path, ids: Vec<RunId>, damaged: &mut Vec<String>) -> Option<StoredRun> {
    let mut found: Vec<(SystemTime, Record, RunPaths)> = Vec::new();
    for id in ids {
        let paths = RunPaths::new(runs, &id);
        let written = std::fs::metadata(paths.record()).and_then(|file| file.modified());
        match Record::find(&paths.record()) {
            Ok(Some(record)) => found.push((written.unwrap_or(SystemTime::UNIX_EPOCH), record, paths)),
            Ok(None) => {}
            Err(error) => damaged.push(error.to_string()),
        }
    }
    found.sort_by(|(a, first, _), (b, second, _)| (b, &second.id).cmp(&(a, &first.id)));
    let mut found = found.into_iter();
    let (_, record, paths) = found.next()?;
    Some(StoredRun { record, paths, others: found.map(|(_, record, _)| record.id).collect() })
}

/// What a table from the store has to say about its runs: those that are not there, and those that had to be chosen.
pub fn notes(rows: &[RowPlan], found: &[Option<StoredRun>]) -> Vec<String> {
    let titles: Vec<String> = rows.iter().flat_map(|row| row.runs.iter().map(|run| title(row, run))).collect();
    notes_of(&titles, found)
}

/// The same of runs by these titles.
pub fn notes_of(titles: &[String], found: &[Option<StoredRun>]) -> Vec<String> {
    let named = || titles.iter().zip(found);
    let missing: Vec<&str> = named().filter(|(_, stored)| stored.is_none()).map(|(title, _)| title.as_str()).collect();
    let mut notes = vec![format!(
        "from complete runs in the store, nothing was run: {} of {} are there{}{}",
        found.len() - missing.len(),
        found.len(),
        if missing.is_empty() { "" } else { "; missing, and in no figure: " },
        missing.join("; ")
    )];
    for (title, stored) in named().filter_map(|(title, stored)| Some((title, stored.as_ref()?))) {
        let StoredRun { record: Record { id, plan, environment, .. }, others, .. } = stored;
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(RunId::to_string).collect();
            notes.push(format!(
                "{title}: {id} ({}, code {}, data {}) is the newest run of this setting; older ones, in another type, by \
                 other code or on other data or weights, are passed over: {}",
                plan.dtype.name(),
                environment.code_hash,
                environment.data_fingerprint,
                others.join(", ")
            ));
        }
    }
    notes.extend(types(titles, found));
    notes
}

/// Which runs are in which type, where they are in several: their figures are then not strictly comparable.
fn types(titles: &[String], found: &[Option<StoredRun>]) -> Vec<String> {
    let mut by_type: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (title, stored) in titles.iter().zip(found) {
        if let Some(stored) = stored {
            by_type.entry(stored.record.plan.dtype.name()).or_default().push(title);
        }
    }
    if by_type.len() < 2 {
        return Vec::new();
    }
    by_type.iter().map(|(dtype, titles)| format!("base weights {dtype}: {}", titles.join("; "))).collect()
}

/// A run's name for people.
fn title(row: &RowPlan, run: &RunPlan) -> String {
    // The labelled tasks of a row have a run each.
    let labelled = run.data.eval.first().filter(|id| id.task().labelled().is_some());
    let task = labelled.map_or(String::new(), |id| format!(" {}", id.key()));
    format!("{} {}{task} seed {}", row.model.name, row.method, run.seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read::resolve;

    #[test]
    fn plans_of_before_parity_are_the_same_where_nothing_changed() {
        let plan = |p: f64| {
            let reft = json!({"intervention": "loreft", "rank": 1, "positions": "f3", "dropout": {"p": p}});
            serde_json::to_value(resolve(json!({"adapt": {"reft": reft}}), "a test").expect("valid"))
                .expect("plain data")
        };
        let before = |p: f64| {
            let mut old = plan(p);
            old["train"].as_object_mut().expect("settings").remove("parity");
            old["adapt"]["reft"]["dropout"]["on"] = json!("state");
            old
        };
        assert_ne!(plan(0.0), before(0.0));
        assert_eq!(comparable(plan(0.0)), comparable(before(0.0)));
        assert_ne!(comparable(plan(0.1)), comparable(before(0.1)), "another dropout");
        let mut pyreft = plan(0.0);
        pyreft["train"]["parity"] = json!(Parity::PYREFT);
        assert_ne!(comparable(pyreft), comparable(before(0.0)));
    }
}
