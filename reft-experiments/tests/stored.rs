//! Tables from the store alone: no model, nothing run, what is missing named.

#![cfg(feature = "program")]

mod support;

use std::path::{Path, PathBuf};

use reft_core::testing::golden_dir;
use serde_json::{Value, json};
use support::{Dir, RUN};

const TABLE: &str = "
title: T
printed: printed.csv
profiles:
  words:
    purpose: a test
    tasks: [arc_e]
    samples: 1
    seeds: [1, 2]
    run: {dtype: f32, data: {source: embedded, train_rows: 8, eval_rows: 3}, eval: {max_new_tokens: 2}}
    models: [{name: Tiny, model: model}]
    methods: [{name: base model}, {name: LoReFT, run: {adapt: {reft: {intervention: loreft, rank: 2, positions: f1}}}}]
  glue:
    purpose: a test
    tasks: [mrpc, rte]
    samples: 1
    seeds: [1, 2]
    run: {dtype: f32, data: {source: embedded, train_rows: 8, eval_rows: 8, max_length: 40}}
    models: [{name: Tiny, model: encoder}]
    methods: [{name: LoReFT, run: {adapt: {reft: {intervention: loreft, rank: 1, positions: f3}}}}]
";

/// A folder with a tiny model of either kind and a table for each.
fn dir() -> Dir {
    let dir = Dir::new();
    let encoder = dir.path().join("encoder");
    std::fs::create_dir(&encoder).expect("writable");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden_dir().join("models/bert").join(file), encoder.join(file)).expect("copied");
    }
    std::fs::copy(dir.path().join("model/tokenizer.json"), encoder.join("tokenizer.json")).expect("copied");
    dir.write("printed.csv", "model,method,params_percent,arc_e,avg,origin\n");
    dir.write("t.yaml", TABLE);
    dir
}

fn table(dir: &Dir, arguments: &[&str]) -> String {
    let output = dir.run(&[&["table", "t.yaml", "--profile"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn rows(table: &str) -> Vec<&str> {
    table.lines().filter(|line| line.starts_with('|')).collect()
}

/// The record of an adapted run, by its seed and task.
fn record(runs: &Path, seed: u64, task: &str) -> (PathBuf, Value) {
    let paths = std::fs::read_dir(runs).expect("runs").map(|run| run.expect("readable").path().join("record.json"));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).ok()?;
        Some((path, serde_json::from_str::<Value>(&text).expect("a record")))
    };
    let same = |(_, record): &(PathBuf, Value)| {
        let plan = &record["plan"];
        plan["data"]["train_rows"] == 8
            && plan["seed"] == seed
            && plan["data"]["eval"][0] == task
            && !plan["adapt"].is_null()
    };
    paths.filter_map(read).find(same).expect("such a run")
}

/// `whole` is how many runs the profile has, `perfect` a score that cannot be beaten.
fn check(profile: &str, whole: usize, (task, title): (&str, &str), perfect: &Value) {
    let dir = dir();
    let runs = dir.path().join("runs");
    let refused = dir.run(&["table", "t.yaml", "--profile", profile, "--stored"]);
    assert!(!refused.status.success() && !dir.path().join("results").join(profile).join("t.md").exists());
    // A run that is in the store and in no table.
    dir.write("run.yaml", RUN);
    assert!(dir.run(&["train", "run.yaml", "--set", "train.epochs=1", "--set", "seed=1"]).status.success());
    let made = table(&dir, &[profile]);
    let samples = std::fs::read_to_string(dir.path().join("results").join(profile).join("t-samples.md")).expect("kept");
    let parts: Vec<&str> = samples.split("## ").filter(|part| part.contains("**Tiny LoReFT**")).collect();
    assert_eq!(parts.len(), samples.matches("\n## ").count() + 1, "every task has an answer: {samples}");
    for model in ["model", "encoder"] {
        std::fs::remove_dir_all(dir.path().join(model)).expect("there");
    }
    let stored = || table(&dir, &[profile, "--stored", "--results", "again"]);
    let first = stored();
    let new: Vec<&str> = first.lines().filter(|line| !made.contains(line)).collect();
    assert_eq!(rows(&first), rows(&made));
    assert_eq!(new.len(), 2, "beside how it was made nothing else is said: {new:?}");
    assert!(new[0].contains("--stored`") && new[1].ends_with(&format!("{whole} of {whole} are there")), "{new:?}");

    // The same run by other code, later.
    let (path, mut other) = record(&runs, 1, task);
    let id = other["id"].as_str().expect("a name").to_owned();
    other["id"] = json!("00000000000000ff");
    other["environment"]["code_hash"] = json!("0therc0de");
    other["scores"][task] = perfect.clone();
    let beside = runs.join("00000000000000ff");
    std::fs::create_dir(&beside).expect("writable");
    std::fs::write(beside.join("record.json"), other.to_string()).expect("writable");
    let chosen = stored();
    assert_ne!(rows(&chosen), rows(&made));
    assert!(chosen.contains("0therc0de (git ") && chosen.contains(&format!("passed over: {id}")), "{chosen}");

    std::fs::remove_dir_all(&beside).expect("there");
    std::fs::remove_dir_all(path.parent().expect("a folder")).expect("there");
    let short = stored();
    let missing = format!("{} of {whole} are there; missing, and in no figure: {title} seed 1", whole - 1);
    assert!(short.contains(&missing), "{short}");
    let last = short.lines().rfind(|line| line.starts_with("| Tiny | LoReFT")).expect("a row");
    assert!(last.ends_with("| 1 | ours |"), "{last}");
    std::fs::remove_dir_all(record(&runs, 2, task).0.parent().expect("a folder")).expect("there");
    let short = stored();
    let last = short.lines().rfind(|line| line.starts_with("| Tiny | LoReFT")).expect("a row");
    assert!(last.contains("| – |") && last.ends_with("| 0 | ours |"), "{last}");
}

#[test]
fn of_language_models() {
    check("words", 3, ("arc_e", "Tiny LoReFT"), &json!({"correct": 3, "n": 3}));
}

#[test]
fn of_encoders() {
    check("glue", 4, ("rte", "Tiny LoReFT rte"), &json!({"metric": "accuracy", "value": 1.0, "n": 8}));
}

#[test]
fn a_run_in_the_type_of_another_machine_belongs_to_a_row_that_leaves_it_to_the_machine() {
    let dir = dir();
    dir.write("auto.yaml", &TABLE.replace("dtype: f32", "dtype: auto"));
    let made = table(&dir, &["words"]);
    let (path, mut elsewhere) = record(&dir.path().join("runs"), 1, "arc_e");
    let here = elsewhere["plan"]["dtype"].as_str().expect("a type").to_owned();
    elsewhere["plan"]["dtype"] = json!("f16");
    std::fs::write(&path, elsewhere.to_string()).expect("writable");
    let output = dir.run(&["table", "auto.yaml", "--profile", "words", "--stored"]);
    let stored = String::from_utf8(output.stdout).expect("text");
    assert_eq!(rows(&stored), rows(&made));
    assert!(stored.contains(&format!("base weights f16 in 1 runs and {here} in 2 runs")), "{stored}");
    assert!(stored.contains("base weights f16: Tiny LoReFT seed 1\n"), "{stored}");
    // The table that names its type takes no other.
    let named = table(&dir, &["words", "--stored"]);
    assert!(named.contains("2 of 3 are there; missing, and in no figure: Tiny LoReFT seed 1"), "{named}");
}
