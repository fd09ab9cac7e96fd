//! Why there is nothing to resume: the run below the same folder that differs least from the one at hand, and in what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use super::RunId;
use super::environment::{Environment, THREADS};
use crate::config::plan::RunPlan;

/// Settings that are named; of more differences the number is said.
const NAMED: usize = 4;

/// A run that was begun.
struct BegunRun {
    folder: PathBuf,
    /// Whether it can be gone on with; it is complete if not.
    checkpoint: bool,
    written: SystemTime,
    differences: Vec<Difference>,
}

/// A setting that is not the same.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Difference {
    key: String,
    there: String,
    here: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, there, here } = self;
        match key.as_str() {
            // Their values are hashes, which say nothing to people.
            "data" => f.write_str("other rows"),
            "weights" => f.write_str("other weights"),
            "config.json" => f.write_str("another config.json of the model"),
            "tokenizer" => f.write_str("another tokenizer or chat template"),
            _ => write!(f, "{key} {there} there, {here} here"),
        }
    }
}

/// Says that a run has no checkpoint, and which run may have been meant.
pub fn explain(runs: &Path, run: &RunId, plan: &RunPlan, environment: &Environment) -> String {
    let begin = "no checkpoint of this run";
    let Some(nearest) = nearest(runs, run, plan, environment) else {
        return format!("{begin}, nor of another in {}: starting anew", runs.display());
    };
    let named: Vec<String> = nearest.differences.iter().take(NAMED).map(ToString::to_string).collect();
    let more = nearest.differences.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let state = if nearest.checkpoint { "has a checkpoint" } else { "is complete" };
    let remedy = match nearest.differences.as_slice() {
        [Difference { key, there, .. }] if key == THREADS => {
            format!(" (digits depend on it: with OMP_NUM_THREADS={there} it is the same run)")
        }
        _ => String::new(),
    };
    let folder = nearest.folder.display();
    format!("{begin}; {folder}, which {state}, differs in {}{more}{remedy}: starting anew", named.join("; "))
}

/// The begun run that differs in the fewest settings; of several the one that was written to last.
fn nearest(runs: &Path, run: &RunId, plan: &RunPlan, environment: &Environment) -> Option<BegunRun> {
    let here = (serde_json::to_value(plan).expect("plain data"), environment);
    let folders = std::fs::read_dir(runs).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let others = folders.filter(|folder| folder.file_name().is_some_and(|name| *name != *run.to_string()));
    let begun = others.filter_map(|folder| begun(folder, &here.0, environment, plan));
    begun.min_by_key(|begun| (begun.differences.len(), std::cmp::Reverse(begun.written)))
}

/// A folder's run; none where none was begun, or its configuration cannot be read.
fn begun(folder: PathBuf, plan: &Value, environment: &Environment, run_plan: &RunPlan) -> Option<BegunRun> {
    let modified = |name: &str| std::fs::metadata(folder.join(name)).and_then(|file| file.modified()).ok();
    let (checkpoint, record) = (modified("checkpoint.safetensors"), modified("record.json"));
    let written = record.or(checkpoint)?;
    let text = std::fs::read_to_string(folder.join("config.yaml")).ok()?;
    let noted: String =
        text.lines().filter_map(|line| line.strip_prefix("# ")).map(|line| line.to_owned() + "\n").collect();
    let there_environment: Environment = serde_saphyr::from_str(&noted).ok()?;
    let there: Value = serde_saphyr::from_str(&text).ok()?;
    let mut differences = in_plans(&there, plan);
    differences.extend(in_environments(&there_environment, environment, run_plan, &differences));
    Some(BegunRun { folder, checkpoint: record.is_none(), written, differences })
}

/// Settings of two plans that are not the same.
fn in_plans(there: &Value, here: &Value) -> Vec<Difference> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    leaves("", there, &mut old);
    leaves("", here, &mut new);
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let said =
        |side: &BTreeMap<String, Value>, key: &String| side.get(key).map_or("unset".to_owned(), Value::to_string);
    let difference = |key: &String| Difference { key: key.clone(), there: said(&old, key), here: said(&new, key) };
    keys.into_iter().filter(|key| !same(old.get(*key), new.get(*key))).map(difference).collect()
}

/// Whether two settings are equal; numbers by their values, however a file spells them.
fn same(one: Option<&Value>, other: Option<&Value>) -> bool {
    match (one, other) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => one.as_f64() == other.as_f64(),
        (None | Some(Value::Null), None | Some(Value::Null)) => true,
        _ => one == other,
    }
}

/// Values by keys such as `train.lr`; a list is one value.
fn leaves(prefix: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    let Value::Object(object) = value else {
        into.insert(prefix.to_owned(), value.clone());
        return;
    };
    for (key, value) in object {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        leaves(&key, value, into);
    }
}

/// What else is not the same, and does not follow from other settings.
fn in_environments(
    there: &Environment,
    here: &Environment,
    plan: &RunPlan,
    settings: &[Difference],
) -> Vec<Difference> {
    let changed = |prefix: &str| settings.iter().any(|difference| difference.key.starts_with(prefix));
    let (other_rows, other_model) = (changed("data.") || changed("seed"), changed("model"));
    let parts = there.deciding(plan.device.0).into_iter().zip(here.deciding(plan.device.0));
    let differing = parts.filter(|(there, here)| there != here);
    let explained = |name: &str| match name {
        "data" => other_rows,
        "weights" | "config.json" | "tokenizer" => other_model,
        _ => false,
    };
    differing
        .filter(|((name, _), _)| !explained(name))
        .map(|((name, there), (_, here))| Difference { key: name.to_owned(), there, here })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plans_differ_where_values_do_however_they_are_spelled() {
        let there = json!({"train": {"lr": 1.0, "epochs": 2, "old": null}, "data": {"eval": ["a"]}, "seed": 1});
        let here = json!({"train": {"lr": 1, "epochs": 4}, "data": {"eval": ["a", "b"]}, "seed": 1});
        let said: Vec<String> = in_plans(&there, &here).iter().map(ToString::to_string).collect();
        assert_eq!(said, [r#"data.eval ["a"] there, ["a","b"] here"#, "train.epochs 2 there, 4 here"]);
    }
}
