//! A causal model that learns a labelled task as text: the same rows, parts and metrics as an encoder's, answers in words.

#![cfg(feature = "program")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::Dir;

/// Enough updates on two short words for a tiny model to say one of them.
const RUN: &str = "
model: model
dtype: f32
adapt: {lora: {rank: 8, alpha: 16, components: [q, v, o, gate, up, down]}}
data: {train: [mrpc], eval: [mrpc], labels: text, train_rows: 96, eval_rows: 20}
train: {epochs: 12, batch_size: 8, lr: 1e-2}
eval: {max_new_tokens: 16}
";

fn dir() -> Dir {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    dir
}

fn train(dir: &Dir, settings: &[&str]) -> (PathBuf, Value) {
    let overrides = settings.iter().flat_map(|setting| ["--set", *setting]);
    let output = dir.run(&["train", "run.yaml"].into_iter().chain(overrides).collect::<Vec<_>>());
    assert!(output.status.success(), "{settings:?}: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let run = dir.path().join(said.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder"));
    let record = serde_json::from_str(&std::fs::read_to_string(run.join("record.json")).expect("a record"));
    (run, record.expect("valid"))
}

fn predictions(run: &Path, task: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join(format!("predictions-{task}.jsonl"))).expect("predictions");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn classes_are_learned_as_words_and_scored_by_the_task_s_metrics() {
    let dir = dir();
    let (run, record) = train(&dir, &[]);
    let rows = predictions(&run, "mrpc");
    assert_eq!(rows.len(), 20);
    let right = rows.iter().filter(|row| row["answer"] == row["expected"]).count();
    let score = &record["scores"]["mrpc"];
    assert_eq!((&score["metric"], &score["second"]["metric"]), (&"accuracy".into(), &"f1".into()));
    assert_eq!(score["value"], right as f64 / 20.0);
    assert!(rows.iter().all(|row| row["correct"] == (row["answer"] == row["expected"])));
    // It has learned which words there are: those of T5, found as the names of the published files.
    let found: Vec<&Value> = rows.iter().filter(|row| row["answer"] == "0" || row["answer"] == "1").collect();
    assert!(found.len() > 10, "{rows:?}");
    for row in found {
        let word = if row["answer"] == "1" { "equivalent" } else { "not_equivalent" };
        assert!(row["said"].as_str().expect("text").trim_start().starts_with(word), "{row}");
    }
    // The saved adapter scores again what the run recorded, and the run compares with itself.
    let adapter = run.join("adapter").display().to_string();
    let again = dir.run(&["eval", "run.yaml", "--adapter", &adapter, "--out", "said"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let scores: Value =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("said/scores.json")).expect("kept"))
            .expect("JSON");
    assert_eq!(scores["scores"], record["scores"]);
    let name = run.display().to_string();
    let compared = dir.run(&["compare", &name, &name]);
    let said = String::from_utf8_lossy(&compared.stdout).into_owned();
    assert!(compared.status.success() && said.contains("mrpc"), "{said}{}", String::from_utf8_lossy(&compared.stderr));
}

#[test]
fn the_parts_of_the_validation_rows_are_an_encoder_s() {
    let dir = dir();
    let few = "train.epochs=1";
    let (watched, _) = train(&dir, &[few]);
    let (held, _) = train(&dir, &[few, "data.eval_split={test: {chosen_by: a test}}"]);
    let (others, _) = train(&dir, &[few, "seed=7"]);
    let questions = |run: &Path| -> Vec<String> {
        predictions(run, "mrpc").iter().map(|row| format!("{} {}", row["instruction"], row["input"])).collect()
    };
    let (watched, held) = (questions(&watched), questions(&held));
    assert!(watched.iter().all(|question| !held.contains(question)), "the parts are disjoint");
    assert_ne!(watched, questions(&others), "the seed splits them");
}

#[test]
fn scores_are_read_as_numbers_and_several_tasks_are_learned_together() {
    let dir = dir();
    let (run, record) = train(&dir, &["data.train=[stsb,arc_e]", "data.eval=[stsb,arc_e]", "train.epochs=1"]);
    assert_eq!(record["scores"]["stsb"]["metric"], "pearson");
    assert!(record["scores"]["arc_e"]["n"].as_u64() == Some(20));
    assert!(predictions(&run, "stsb").iter().all(|row| row.get("correct").is_none()));
    let refused = |settings: &[&str], part: &str| {
        let overrides = settings.iter().flat_map(|setting| ["--set", *setting]);
        let output = dir.run(&["train", "run.yaml"].into_iter().chain(overrides).collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(part), "{settings:?}: {said}");
    };
    refused(&["data.train=[arc_e]", "data.eval=[arc_e]"], "data.labels: no task here has labels");
    refused(&["data.labels=words"], "data.labels");
    refused(&["data.labels=head"], "config.json");
}
