//! Saved encoders, scored by `reft eval`: the score of every method is the one that training recorded, and what does not
//! belong together is refused.

#![cfg(feature = "program")]

#[path = "support/encoder.rs"]
mod encoder;
mod encoders;
mod support;

use std::path::{Path, PathBuf};

use encoder::{check, dir, train};
use encoders::add;
use serde_json::Value;
use support::Dir;

const TEST: &str = "data.eval_split={test: {chosen_by: a test}}";
const LOREFT: &str = "adapt={reft: {intervention: loreft, rank: 2, positions: f3, tying: untied}}";

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("there")).expect("valid")
}

/// The arguments that name a run's files.
fn files(run: &Path) -> [String; 2] {
    let (adapter, head) = (run.join("adapter"), run.join("head.safetensors"));
    if adapter.exists() {
        ["--adapter".to_owned(), adapter.display().to_string()]
    } else {
        ["--head".to_owned(), head.display().to_string()]
    }
}

/// Scores a run's files on the rows that these settings name; the folder of what came out.
fn eval(dir: &Dir, run: &Path, settings: &[&str]) -> PathBuf {
    let [flag, path] = files(run);
    let mut arguments = vec!["eval", "run.yaml", "--overwrite", "--out", "said", &flag, &path];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", *setting]));
    let output = dir.run(&arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    dir.path().join("said")
}

#[test]
fn every_method_scores_again_what_training_recorded() {
    let dir = dir();
    let red = "adapt={reft: {intervention: red, rank: 1, positions: all, component: mlp_output}}";
    let methods = [Some(LOREFT), Some(red), Some("adapt={bitfit: {}}"), Some("adapt={full: {}}"), None];
    for (adapt, task) in methods.into_iter().zip(["mrpc", "stsb", "stsb", "mrpc", "stsb"]) {
        let (learned, scored) = (format!("data.train=[{task}]"), format!("data.eval=[{task}]"));
        let settings: Vec<&str> = [learned.as_str(), &scored].into_iter().chain(adapt).collect();
        let (run, record) = train(&dir, &settings);
        let out = eval(&dir, &run, &settings[..2]);
        assert_eq!(json(&out.join("scores.json"))["scores"], record["scores"], "watched rows, {adapt:?}");
        let with_test: Vec<&str> = settings.iter().copied().chain([TEST]).collect();
        let (run, record) = train(&dir, &with_test);
        let out = eval(&dir, &run, &[settings[0], settings[1], TEST]);
        assert_eq!(json(&out.join("scores.json"))["scores"], record["scores"], "held rows, {adapt:?}");
        let said =
            |folder: &Path| std::fs::read_to_string(folder.join(format!("predictions-{task}.jsonl"))).expect("there");
        assert_eq!(said(&out), said(&run), "{adapt:?}");
        assert!(said(&out).lines().count() > 1);
    }
    let reads = std::fs::read_to_string(dir.path().join("runs/test-reads.jsonl")).expect("noted");
    let by_eval = reads.lines().filter(|line| line.contains(r#""run":"reft eval "#) && line.contains("a test")).count();
    assert_eq!((by_eval, reads.lines().count()), (5, 10), "{reads}");
}

#[test]
fn what_does_not_belong_together_is_answered_with_one_line() {
    let dir = dir();
    add(&dir, "roberta", "other");
    let (run, _) = train(&dir, &[LOREFT]);
    let [_, adapter] = files(&run);
    let head = run.join("head.safetensors").display().to_string();
    let of = |more: &[&'static str]| -> Vec<String> {
        ["eval", "run.yaml", "--adapter", &adapter].into_iter().chain(more.iter().copied()).map(str::to_owned).collect()
    };
    let check_of = |more: &[&'static str], parts: &[&str]| {
        let arguments = of(more);
        check(&dir, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), parts);
    };
    check_of(&["--model", "other"], &["was trained on `encoder`", "`other`", "load the base model"]);
    check(&dir, &["eval", "run.yaml", "--head", &head, "--model", "other"], &["head was trained on `encoder`"]);
    let stsb = ["--set", "data.train=[stsb]", "--set", "data.eval=[stsb]"];
    check_of(&stsb, &["trained on mrpc and has 2 outputs, stsb needs 1", "as many classes"]);
    dir.write("words.yaml", support::RUN);
    check(&dir, &["eval", "words.yaml", "--head", &head], &["--head: arc_e is no task that is classified"]);
    check_of(
        &["--head", "elsewhere.safetensors"],
        &["elsewhere.safetensors: No such file", "head.safetensors in its folder"],
    );
    check_of(
        &["--set", "data.max_length=200"],
        &["mrpc row", "than the 68 that the model reads", "data.max_length to 68"],
    );
    let bytes = std::fs::read(&head).expect("there");
    std::fs::write(&head, &bytes[..bytes.len() - 9]).expect("writable");
    check_of(&[], &["head.safetensors", "truncated", "copy it again"]);
    std::fs::remove_file(&head).expect("there");
    check_of(&[], &["no classification head (head.safetensors) is in this folder"]);
}
