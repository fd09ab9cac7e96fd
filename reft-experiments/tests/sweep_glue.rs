//! Sweeps of a tiny encoder: rungs change nothing, whichever workers work or are killed; the held rows are read by the winner only.

#![cfg(feature = "program")]

mod encoders;
mod kills;
mod support;
mod sweeps;

use std::path::Path;
use std::process::Stdio;

use kills::killed_time_and_again;
use serde_json::{Value, json};
use support::Dir;
use sweeps::{SWEEP, endings, folder, outcome, read, said, states};

/// Six trials of four epochs, three updates each. The first rung is after four updates: within the second epoch.
const GLUE: &str = "
title: Tiny GLUE
base: glue-run.yaml
space:
  train.lr: {choices: [1e-3, 5e-3, 2e-2]}
  adapt.reft.rank: {choices: [1, 2]}
method: grid
halving: {eta: 3, rungs: 2}
metric: glue
final: {seeds: [42, 43]}
";

const RUN: &str = "
model: encoder
dtype: f32
adapt: {reft: {intervention: loreft, rank: 1, positions: f3, dropout: {p: 0.1}}}
data: {train: [stsb], eval: [stsb], train_rows: 24, eval_rows: 20, max_length: 40}
train: {epochs: 4, batch_size: 8, checkpoint_every: 2}
";

fn dir() -> Dir {
    let dir = sweeps::dir();
    encoders::add(&dir, "bert", "encoder");
    dir.write("glue-run.yaml", RUN);
    dir.write("glue.yaml", GLUE);
    dir
}

/// Lines of JSON; none where there is no file.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("valid")).collect()
}

/// The only line of complaint.
fn refused(dir: &Dir, arguments: &[&str]) -> String {
    let output = dir.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((output.status.code(), complaints.len()), (Some(1), 1), "{arguments:?}: {said}");
    complaints[0].to_owned()
}

#[test]
fn two_workers_one_worker_and_killed_workers_come_to_the_same() {
    let dir = dir();
    let sweep =
        |workers: &str, runs: &str| dir.reft(&["sweep", "run", "glue.yaml", "--workers", workers, "--runs", runs]);
    let done = |workers: &str, runs: &str| {
        let output = sweep(workers, runs).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        outcome(&dir.path().join(runs))
    };
    let expected = done("2", "two");
    let mut ended: Vec<Vec<String>> = states(&dir.path().join("two")).values().map(endings).collect();
    ended.sort();
    assert_eq!(ended.len(), 8, "six trials and two final runs");
    assert_eq!(ended.iter().filter(|endings| **endings == ["rung", "complete"]).count(), 2, "{ended:?}");
    assert!(done("1", "one") == expected, "one worker: another outcome");

    let start = || sweep("2", "killed").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let killed = dir.path().join("killed");
    killed_time_and_again(&start, &killed, 6);
    assert!(done("2", "killed") == expected, "killed workers: another outcome");
    let lost = |state: &Value| state["attempts"].to_string().contains("lost");
    assert!(states(&killed).values().any(lost), "no worker was killed within a trial");
}

#[test]
fn a_promoted_trial_equals_an_uninterrupted_run() {
    let dir = dir();
    // Four epochs: the rung is within the second. Three: it ends the first.
    for (epochs, update) in [(4, 4), (3, 3)] {
        let (runs, whole) = (format!("runs-{epochs}"), format!("whole-{epochs}"));
        let set = format!("run.train.epochs={epochs}");
        said(&dir, &["sweep", "run", "glue.yaml", "--set", &set, "--runs", &runs]);
        let root = dir.path().join(&runs);
        let (states, manifest) = (states(&root), read(&folder(&root).join("manifest.json")));
        let trials = manifest["trials"].as_array().expect("trials");
        let went_on = |trial: &&Value| endings(&states[trial["run"].as_str().expect("a name")]) == ["rung", "complete"];
        let went_on: Vec<&Value> = trials.iter().filter(went_on).collect();
        assert_eq!(went_on.len(), 2);
        for trial in went_on {
            let run = trial["run"].as_str().expect("a name");
            let setting = |key: &str| format!("{key}={}", trial["point"][key]);
            let (lr, rank, epochs) =
                (setting("train.lr"), setting("adapt.reft.rank"), format!("train.epochs={epochs}"));
            let mut arguments = vec!["train", "glue-run.yaml", "--runs", &whole];
            arguments.extend([&lr, &rank, &epochs].iter().flat_map(|set| ["--set", set.as_str()]));
            said(&dir, &arguments);
            for file in ["metrics.jsonl", "epochs.jsonl", "adapter/adapter_model.safetensors", "head.safetensors"] {
                let of = |root: &str| std::fs::read(dir.path().join(root).join(run).join(file)).expect(file);
                assert!(of(&whole) == of(&runs), "{file} differs");
            }
            let of = |root: &str| read(&dir.path().join(root).join(run).join("record.json"));
            for key in ["scores", "best"] {
                assert_eq!(of(&whole)[key], of(&runs)[key]);
            }
            let rung = &states[run]["rungs"][0];
            assert_eq!((&rung["update"], &rung["total"]), (&json!(update), &json!(3 * update)));
        }
        // The best so far: of the only epoch that is over, and of where the rung is if that is elsewhere.
        let mut better = 0;
        for trial in trials {
            let run = trial["run"].as_str().expect("a name");
            let here = states[run]["rungs"][0]["scores"]["stsb"]["value"].as_f64().expect("a number");
            let first = lines(&root.join(run).join("epochs.jsonl"))[0]["value"].as_f64().expect("a number");
            assert!(here >= first, "{run}: {here} at the rung, {first} after the first epoch");
            better += usize::from(here > first);
        }
        assert_eq!(better > 0, update > 3, "{better} trials are better within the second epoch");
    }
}

#[test]
fn the_held_rows_are_read_once_by_each_run_of_the_winner_and_by_no_other_run() {
    let dir = dir();
    let status = said(&dir, &["sweep", "run", "glue.yaml", "--workers", "2"]);
    assert!(status.contains("6 trials: 2 complete, 4 pruned") && status.contains("2 of 2 test runs"), "{status}");
    let runs = dir.path().join("runs");
    let manifest = read(&folder(&runs).join("manifest.json"));
    let chosen_by = manifest["chosen"]["chosen_by"].as_str().expect("text");
    assert!(chosen_by.contains("of 6 with seed 42: Pearson correlation"), "{chosen_by}");
    assert!(chosen_by.ends_with("other seeds report some of the rows that it was chosen by"), "{chosen_by}");
    let names = |key: &Value| -> Vec<String> {
        key.as_array().expect("runs").iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let chosen = names(&manifest["chosen"]["runs"]);
    let mut read_by = Vec::new();
    for line in lines(&runs.join("test-reads.jsonl")) {
        assert_eq!((&line["tasks"], &line["chosen_by"]), (&json!(["stsb"]), &json!(chosen_by)));
        read_by.push(line["run"].as_str().expect("a name").to_owned());
    }
    read_by.sort();
    let mut expected = chosen.clone();
    expected.sort();
    assert_eq!((read_by.len(), read_by), (2, expected));
    let questions = |run: &String| -> Vec<Value> {
        let answers = lines(&runs.join(run).join("predictions-stsb.jsonl"));
        answers.iter().map(|line| json!([line["instruction"], line["input"]])).collect()
    };
    // Trials have the seed of the first of the winner's runs, and so its parts of the validation rows.
    let held = questions(&chosen[0]);
    for run in states(&runs).keys() {
        let complete = runs.join(run).join("record.json").exists();
        let answered = questions(run);
        assert_eq!(answered.len(), if complete { 20 } else { 0 }, "{run}");
        let closed = chosen.contains(run) || !answered.iter().any(|question| held.contains(question));
        assert!(closed, "{run} answered held rows");
    }
    for (run, seed) in chosen.iter().zip([42, 43]) {
        let plan = &read(&runs.join(run).join("record.json"))["plan"];
        assert_eq!(plan["seed"], seed);
        assert_eq!(plan["data"]["eval_split"]["test"]["chosen_by"], chosen_by);
    }
    assert_eq!(said(&dir, &["sweep", "run", "glue.yaml"]), status, "a repeated command does nothing");
    assert_eq!(lines(&runs.join("test-reads.jsonl")).len(), 2);
    let best = said(&dir, &["sweep", "best", "glue.yaml"]);
    assert!(best.contains(": Pearson correlation ") && best.contains("n = 2 of 2 seeds"), "{best}");
}

#[test]
fn rows_on_both_sides_are_reported_of_the_part_that_a_run_looks_at() {
    let dir = dir();
    let folder = dir.path().join("data/glue_data/STS-B");
    std::fs::create_dir_all(&folder).expect("writable");
    let header = "index\tsentence1\tsentence2\tscore\n";
    let row = |index: usize, end: &str| format!("7\tRow {index} runs.\tRow {index} walks{end}\t{}\n", index % 5);
    let rows = |numbers: std::ops::Range<usize>, end: &str| numbers.map(|index| row(index, end)).collect::<String>();
    std::fs::write(folder.join("train.tsv"), format!("{header}{}", rows(0..24, "."))).expect("writable");
    // Every validation row is a training row, none of them letter by letter.
    std::fs::write(folder.join("dev.tsv"), format!("{header}{}", rows(0..10, " !"))).expect("writable");
    let said = |arguments: &[&str]| {
        let output = dir.reft(arguments).env("REFT_DATA", dir.path().join("data")).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        text
    };
    let leak = |part: &str| format!("stsb: 5 of 5 {part} questions are also trained on (0 letter by letter)");
    let real = ["--set", "data.source=real"];
    let watched = said(&[&["train", "glue-run.yaml"][..], &real].concat());
    assert!(watched.contains(&leak("watched")) && !watched.contains("held questions"), "{watched}");
    let test = ["--set", "data.eval_split={test: {chosen_by: a test}}"];
    let both = said(&[&["train", "glue-run.yaml"][..], &real, &test].concat());
    assert!(both.contains(&leak("watched")) && both.contains(&leak("held")), "{both}");
    let sweep = said(&["sweep", "run", "glue.yaml", "--set", "run.data.source=real", "--set", "run.train.epochs=1"]);
    assert!(sweep.contains(&leak("watched")) && !sweep.contains("held questions"), "{sweep}");
}

#[test]
fn the_head_alone_can_be_tuned_too() {
    let dir = dir();
    let sweep = GLUE.replace("  adapt.reft.rank: {choices: [1, 2]}\n", "").replace("base: glue-run.yaml\n", "");
    let run = RUN.lines().filter(|line| !line.starts_with("adapt")).map(|line| format!("  {line}\n"));
    dir.write("head.yaml", &format!("{sweep}run:\n{}", run.collect::<String>()));
    let status = said(&dir, &["sweep", "run", "head.yaml"]);
    assert!(status.contains("3 trials: 1 complete, 2 pruned") && status.contains("2 of 2 test runs"), "{status}");
}

#[test]
fn sweeps_that_would_read_the_held_rows_or_measure_otherwise_are_refused() {
    let dir = dir();
    let glue = |setting: &str| refused(&dir, &["sweep", "run", "glue.yaml", "--set", setting]);
    let cases = [
        ("run.data.eval_split={test: {chosen_by: me}}", "data.eval_split: a sweep chooses by dev rows only"),
        ("run.data.eval=[cola]", "name the same one in data.train and data.eval"),
        ("final.run.data={train: [arc_e], eval: [arc_e]}", "final.run: a metric of GLUE is not how arc_e is scored"),
    ];
    for (setting, expected) in cases {
        let error = glue(setting);
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
    let cola = ["--set", "run.data={train: [cola], eval: [cola]}", "--dry-run"];
    assert!(said(&dir, &[&["sweep", "run", "glue.yaml"][..], &cola].concat()).contains("6 trials named"));
    let accuracy = [&["sweep", "run", "glue.yaml", "--set", "metric=accuracy"][..], &cola].concat();
    let error = refused(&dir, &accuracy);
    assert!(error.contains("metric: accuracy is not how cola is scored"), "{error}");
    dir.write(
        "source.yaml",
        &GLUE.replace("train.lr: {choices: [1e-3, 5e-3, 2e-2]}", "data.source: {choices: [real]}"),
    );
    let error = refused(&dir, &["sweep", "run", "source.yaml"]);
    assert!(error.contains("space.data.source: what is scored must be the same"), "{error}");
    dir.write("words.yaml", &format!("{SWEEP}metric: glue\n"));
    let error = refused(&dir, &["sweep", "run", "words.yaml"]);
    assert!(error.contains("metric: a metric of GLUE is not how arc_e is scored"), "{error}");
    let made = folder(&dir.path().join("runs"));
    let error = refused(&dir, &["sweep", "status", &made.display().to_string(), "--set", "trials=3"]);
    assert!(error.contains("--set trials=3: the sweep in") && error.contains("is frozen"), "{error}");
}
