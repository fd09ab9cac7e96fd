//! A causal model that is validated while it is trained: dev losses are kept, the best step comes back, patience stops early, an
//! interruption changes nothing, and without the setting nothing is different.

#![cfg(feature = "program")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Dir, RUN};

/// Rates that overshoot, so that the last step is not the best, and that do not depend on how long a run is.
const RATES: [&str; 3] = ["train.lr=10", "train.schedule=constant", "train.warmup_ratio=0"];

fn train(dir: &Dir, settings: &[&str]) -> (PathBuf, Value) {
    let overrides = settings.iter().flat_map(|setting| ["--set", *setting]);
    let arguments: Vec<&str> = ["train", "run.yaml", "--resume"].into_iter().chain(overrides).collect();
    let output = dir.run(&arguments);
    assert!(output.status.success(), "{settings:?}: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let run = dir.path().join(said.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder"));
    let record = serde_json::from_str(&std::fs::read_to_string(run.join("record.json")).expect("a record"));
    (run, record.expect("valid"))
}

fn adapter(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("adapter/adapter_model.safetensors")).expect("an adapter")
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("there");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn dev_losses(run: &Path) -> Vec<(u64, f64)> {
    let step = |line: &Value| Some((line["step"].as_u64()? + 1, line["dev_loss"].as_f64()?));
    lines(&run.join("metrics.jsonl")).iter().filter_map(step).collect()
}

/// The update with the lowest of these losses, the first of equals.
fn lowest(losses: &[(u64, f64)]) -> (u64, f64) {
    losses.iter().copied().reduce(|best, look| if look.1 < best.1 { look } else { best }).expect("a look")
}

fn dir() -> Dir {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    dir
}

#[test]
fn the_step_with_the_lowest_dev_loss_is_kept() {
    let dir = dir();
    let (run, record) = train(&dir, &[&RATES[..], &["train.validation={every: 5, rows: 20}"]].concat());
    let losses = dev_losses(&run);
    assert_eq!(losses.iter().map(|look| look.0).collect::<Vec<_>>(), (1..=9).map(|n| 5 * n).collect::<Vec<_>>());
    let (update, loss) = lowest(&losses);
    assert_eq!(record["best_step"]["update"], update);
    assert!((record["best_step"]["loss"].as_f64().expect("a number") - loss).abs() < 1e-12);
    assert_eq!(lines(&run.join("validation.jsonl")).len(), 9);
    assert!(!run.join("best.safetensors").exists() && !run.join("checkpoint.safetensors").exists());
    assert!(record["best"].is_null());
    let (last, _) = train(&dir, &[&RATES[..], &["train.validation={every: 48, rows: 20}"]].concat());
    assert_ne!(adapter(&run), adapter(&last));
    assert_eq!(
        lines(&run.join("metrics.jsonl")).iter().map(|line| line["loss"].clone()).collect::<Vec<_>>(),
        lines(&last.join("metrics.jsonl")).iter().map(|line| line["loss"].clone()).collect::<Vec<_>>(),
        "looking changes no update"
    );
    let events = std::fs::read(run.join("events.out.tfevents.reft")).expect("events");
    assert!(events.windows(8).any(|bytes| bytes == b"dev/loss"));
}

#[test]
fn the_parameters_that_are_kept_are_those_of_a_run_that_ends_there() {
    let dir = dir();
    let validated = |rate: &&str| {
        let (run, record) = train(&dir, &[&RATES[..], &[rate, "train.validation={rows: 20}"]].concat());
        (record["best_step"]["update"].as_u64().expect("a step"), run, (*rate).to_owned())
    };
    // At which of these rates the last look is not the best depends on rounding.
    let mut runs = ["train.lr=10", "train.lr=30", "train.lr=3", "train.lr=100"].iter().map(validated);
    let (update, run, rate) = runs.find(|(update, ..)| *update < 48).expect("a run that gets worse");
    let epochs = format!("train.epochs={}", update / 12);
    let (short, _) = train(&dir, &[&RATES[..], &[&rate, &epochs]].concat());
    assert!(adapter(&run) == adapter(&short));
}

#[test]
fn patience_ends_a_run_and_an_interruption_changes_nothing() {
    let patience = ["train.lr=0.3", "train.epochs=8", "train.validation={every: 3, rows: 20, patience: 3}"];
    let (whole, killed) = (dir(), dir());
    let (run, record) = train(&whole, &patience);
    let losses = dev_losses(&run);
    let (best, _) = lowest(&losses);
    let last = losses.last().expect("a look").0;
    assert_eq!(last, best + 9, "three looks after the best: {losses:?}");
    assert_eq!(lines(&run.join("metrics.jsonl")).len() as u64, last, "no update after it");
    // The other is killed once it has a checkpoint.
    let overrides = patience.iter().flat_map(|setting| ["--set", *setting]);
    let mut child = killed.reft(&["train", "run.yaml"]).args(overrides).spawn().expect("it starts");
    let runs = killed.path().join("runs").join(run.file_name().expect("a name"));
    let began = std::time::Instant::now();
    while !runs.join("checkpoint.safetensors").exists() && began.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    let (again, other) = train(&killed, &patience);
    for file in ["metrics.jsonl", "validation.jsonl", "adapter/adapter_model.safetensors", "predictions-arc_e.jsonl"] {
        let of = |run: &Path| std::fs::read(run.join(file)).expect(file);
        assert!(of(&run) == of(&again), "{file} differs");
    }
    assert_eq!((&record["best_step"], &record["scores"]), (&other["best_step"], &other["scores"]));
}

#[test]
fn validation_after_epochs_takes_the_dev_rows_from_training_and_other_schedules_train_otherwise() {
    let dir = dir();
    let test = "data.eval_split={test: {chosen_by: a test}}";
    let (run, record) = train(&dir, &[test, "train.validation={}"]);
    assert_eq!(dev_losses(&run).iter().map(|look| look.0).collect::<Vec<_>>(), [12, 24, 36, 48]);
    let (plain, without) = train(&dir, &[test]);
    assert!(without["best_step"].is_null() && without["plan"]["train"].get("validation").is_none());
    assert!(without["plan"]["train"].get("schedule").is_none() && dev_losses(&plain).is_empty());
    assert_ne!(record["environment"]["data_fingerprint"], without["environment"]["data_fingerprint"]);
    for (schedule, last) in [("cosine", 0.001), ("constant", 1.0)] {
        let setting = format!("train.schedule={schedule}");
        let (run, record) = train(&dir, &[&setting]);
        assert_eq!(record["plan"]["train"]["schedule"], schedule);
        let rates = lines(&run.join("metrics.jsonl"));
        let rate = rates.last().expect("a step")["lr"].as_f64().expect("a number") / 5e-3;
        assert!(if schedule == "constant" { (rate - last).abs() < 1e-12 } else { rate < 2e-3 }, "{schedule}: {rate}");
    }
}

#[test]
fn mistakes_are_answered_with_one_line() {
    let dir = dir();
    for (setting, parts) in [
        ("train.validation={evry: 3}", ["unknown key `train.validation.evry`", "did you mean `every`"]),
        ("train.schedule=cosin", ["train.schedule", "cosine"]),
        ("train.validation=3", ["train.validation", "3"]),
    ] {
        let output = dir.run(&["train", "run.yaml", "--set", setting]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{setting}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{setting}: {said}");
    }
    let encoder = ["data.train=[mrpc]", "data.eval=[mrpc]", "train.validation={}"];
    let overrides = encoder.iter().flat_map(|setting| ["--set", *setting]);
    let output = dir.run(&["train", "run.yaml"].into_iter().chain(overrides).collect::<Vec<_>>());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("train.validation: an encoder's epochs are chosen"), "{said}");
}
