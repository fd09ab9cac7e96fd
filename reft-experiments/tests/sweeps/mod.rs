//! A tiny sweep, and what is left of it on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Dir, RUN};

/// Six trials in two rungs, the winner on two seeds.
pub const SWEEP: &str = "
title: Tiny
base: run.yaml
run: {train: {epochs: 2}}
space:
  train.lr: {choices: [1e-3, 5e-3, 2e-2]}
  adapt.reft.rank: {choices: [1, 2]}
method: grid
halving: {eta: 3, rungs: 2}
final: {seeds: [1, 2]}
";

pub fn dir() -> Dir {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    dir.write("tiny.yaml", SWEEP);
    dir
}

pub fn said(dir: &Dir, arguments: &[&str]) -> String {
    let output = dir.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

pub fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The only sweep below a folder of runs.
pub fn folder(runs: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(runs.join("sweeps")).expect("sweeps");
    entries.next().expect("a sweep").expect("readable").path()
}

/// Every run's state, by its name.
pub fn states(runs: &Path) -> BTreeMap<String, Value> {
    let manifest = read(&folder(runs).join("manifest.json"));
    let trials = manifest["trials"].as_array().expect("trials").iter().map(|trial| trial["run"].clone());
    let last = manifest["chosen"]["runs"].as_array().into_iter().flatten().cloned();
    let name = |run: Value| run.as_str().expect("a name").to_owned();
    trials.chain(last).map(name).map(|run| (run.clone(), read(&runs.join(&run).join("state.json")))).collect()
}

/// How the attempts at a run ended, those whose processes died aside.
pub fn endings(state: &Value) -> Vec<String> {
    let attempts = state["attempts"].as_array().expect("attempts").iter();
    let ended = attempts.map(|attempt| attempt["ended"][0].as_str().unwrap_or("open").to_owned());
    ended.filter(|ending| ending != "lost").collect()
}

/// All that does not depend on when and where a sweep ran: its decisions and the scores of every run.
pub fn outcome(runs: &Path) -> Value {
    let manifest = read(&folder(runs).join("manifest.json"));
    let scores = |(run, state): (&String, &Value)| {
        let record = runs.join(run).join("record.json");
        let scores = if record.exists() { read(&record)["scores"].clone() } else { json!(null) };
        let file = |name: &str| std::fs::read(runs.join(run).join(name)).ok();
        let trained = ["adapter/adapter_model.safetensors", "head.safetensors", "checkpoint.safetensors"].map(file);
        assert!(trained.iter().any(Option::is_some), "{run}: nothing trained is left");
        json!({"run": run, "scores": scores, "rungs": state["rungs"], "trained": trained})
    };
    let runs: Vec<Value> = states(runs).iter().map(scores).collect();
    json!({"trials": manifest["trials"], "chosen": manifest["chosen"], "runs": runs})
}

/// Lines of all traces: how far the sweep is.
pub fn progress(runs: &Path) -> usize {
    let entries = std::fs::read_dir(runs).into_iter().flatten().filter_map(Result::ok);
    let lines = |entry: std::fs::DirEntry| {
        std::fs::read_to_string(entry.path().join("metrics.jsonl")).map(|text| text.lines().count())
    };
    entries.filter_map(|entry| lines(entry).ok()).sum()
}
