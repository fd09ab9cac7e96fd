//! A folder with a tiny encoder, and runs that train it.

// Every test program uses a part of it.
#![allow(dead_code)]

use std::path::PathBuf;

use serde_json::Value;

use super::encoders::add;
use super::support::Dir;

/// A run of a few updates.
const RUN: &str = "
model: encoder
dtype: f32
data: {train: [mrpc], eval: [mrpc], train_rows: 24, eval_rows: 20, max_length: 40}
train: {epochs: 2, batch_size: 8, lr: 5e-3}
";

/// A folder with the golden `bert` as `encoder/`.
pub fn dir() -> Dir {
    let dir = Dir::new();
    add(&dir, "bert", "encoder");
    dir.write("run.yaml", RUN);
    dir
}

/// Trains; the run's folder and its record.
pub fn train(dir: &Dir, settings: &[&str]) -> (PathBuf, Value) {
    let overrides = settings.iter().flat_map(|setting| ["--set", *setting]);
    let arguments: Vec<&str> = ["train", "run.yaml"].into_iter().chain(overrides).collect();
    let output = dir.run(&arguments);
    assert!(output.status.success(), "{settings:?}: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let run = dir.path().join(said.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder"));
    let record = std::fs::read_to_string(run.join("record.json")).expect("a record");
    (run, serde_json::from_str(&record).expect("valid"))
}

/// Runs the program and checks its complaint.
pub fn check(dir: &Dir, arguments: &[&str], parts: &[&str]) {
    let output = dir.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    let complaint: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((output.status.code(), complaint.len()), (Some(1), 1), "{arguments:?}: {said}");
    for part in parts {
        assert!(complaint[0].contains(part), "{arguments:?}: `{part}` is not in: {}", complaint[0]);
    }
    assert!(!said.contains("panicked"), "{said}");
}
