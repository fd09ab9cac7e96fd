//! Sweeps on a tiny model: nothing is done twice, nothing is lost, whichever process is killed.

#![cfg(feature = "program")]

mod kills;
mod support;
mod sweeps;

use std::process::{Child, Stdio};

use kills::killed_time_and_again;
use serde_json::{Value, json};
use sweeps::{SWEEP, dir, endings, folder, outcome, read, said, states};

#[test]
fn a_sweep_is_done_once_by_two_drivers_and_ends_in_test_runs_of_the_winner() {
    let dir = dir();
    let drive =
        || dir.reft(&["sweep", "run", "tiny.yaml", "--workers", "2"]).stderr(Stdio::null()).spawn().expect("it starts");
    let drivers: Vec<Child> = (0..2).map(|_| drive()).collect();
    for mut driver in drivers {
        assert!(driver.wait().expect("a driver").success());
    }
    let runs = dir.path().join("runs");
    let states = states(&runs);
    assert_eq!(states.len(), 8, "six trials and two test runs");
    let mut ended: Vec<Vec<String>> = states.values().map(endings).collect();
    ended.sort();
    let two_went_on = [
        vec!["complete"; 1],
        vec!["complete"; 1],
        vec!["rung"],
        vec!["rung"],
        vec!["rung"],
        vec!["rung"],
        vec!["rung", "complete"],
        vec!["rung", "complete"],
    ];
    assert_eq!(ended, two_went_on.map(|endings| endings.into_iter().map(str::to_owned).collect::<Vec<_>>()));

    let manifest = read(&folder(&runs).join("manifest.json"));
    let chosen_by = manifest["chosen"]["chosen_by"].as_str().expect("text");
    assert!(chosen_by.contains("of 6 with seed 42: accuracy") && chosen_by.contains("on dev rows, run"), "{chosen_by}");
    for (run, seed) in manifest["chosen"]["runs"].as_array().expect("runs").iter().zip([1, 2]) {
        let plan = &read(&runs.join(run.as_str().expect("a name")).join("record.json"))["plan"];
        assert_eq!(
            (&plan["seed"], &plan["data"]["eval_split"]["test"]["chosen_by"]),
            (&json!(seed), &json!(chosen_by))
        );
    }

    let status = said(&dir, &["sweep", "status", "tiny.yaml"]);
    assert!(status.contains("6 trials: 2 complete, 4 pruned") && status.contains("2 of 2 test runs"), "{status}");
    assert_eq!(said(&dir, &["sweep", "run", "tiny.yaml"]), status, "a repeated command does nothing");
    assert_eq!(sweeps::states(&runs), states);
    let best = said(&dir, &["sweep", "best", "tiny.yaml"]);
    assert!(best.contains("--set train.lr=") && best.contains("test: ") && best.contains("n = 2 of 2 seeds"), "{best}");
}

#[test]
fn a_sweep_is_gone_on_with_by_other_code_and_not_by_another_results_version() {
    let dir = dir();
    let status = said(&dir, &["sweep", "run", "tiny.yaml"]);
    let folder = folder(&dir.path().join("runs"));
    let path = folder.join("manifest.json");
    let mut manifest = read(&path);
    let mut set = |key: &str, value: Value| {
        manifest[key] = value;
        std::fs::write(&path, manifest.to_string()).expect("writable");
    };
    let folder = folder.to_str().expect("text");
    set("code", json!("0123456789abcdef"));
    said(&dir, &["sweep", "work", folder]);
    set("results_version", json!(99));
    // The first line names the folder, as it was named.
    let trials = |status: &str| status.split_once('\n').expect("several lines").1.to_owned();
    assert_eq!(trials(&said(&dir, &["sweep", "status", folder])), trials(&status));
    let output = dir.run(&["sweep", "work", folder]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("its runs are of results version 99"), "{error}");
}

#[test]
fn a_promoted_trial_equals_an_uninterrupted_run() {
    let dir = dir();
    said(&dir, &["sweep", "run", "tiny.yaml"]);
    let runs = dir.path().join("runs");
    let states = states(&runs);
    let manifest = read(&folder(&runs).join("manifest.json"));
    let is_two = |run: &str| endings(&states[run]) == ["rung", "complete"];
    let trials = manifest["trials"].as_array().expect("trials");
    let trial = trials.iter().find(|trial| is_two(trial["run"].as_str().expect("a name"))).expect("one that went on");
    let run = trial["run"].as_str().expect("a name");
    let rung = &states[run]["rungs"][0];
    assert_eq!((&rung["update"], &rung["total"]), (&json!(8), &json!(24)), "a third of two epochs of 12 updates");

    let set = |key: &str| format!("{key}={}", trial["point"][key]);
    let (lr, rank) = (set("train.lr"), set("adapt.reft.rank"));
    let arguments = ["train", "run.yaml", "--set", "train.epochs=2", "--set", &lr, "--set", &rank, "--runs", "whole"];
    said(&dir, &arguments);
    for file in ["metrics.jsonl", "adapter/adapter_model.safetensors", "predictions-arc_e.jsonl"] {
        let of = |root: &str| std::fs::read(dir.path().join(root).join(run).join(file)).expect(file);
        assert!(of("whole") == of("runs"), "{file} differs");
    }
}

#[test]
fn a_changed_sweep_runs_what_changed_and_a_broken_record_costs_one_trial() {
    let dir = dir();
    let plain =
        SWEEP.replace("halving: {eta: 3, rungs: 2}\nfinal: {seeds: [1, 2]}\n", "").replace("epochs: 2", "epochs: 1");
    dir.write("a.yaml", &plain);
    dir.write("b.yaml", &plain.replace("2e-2", "2e-2, 1e-4"));
    said(&dir, &["sweep", "run", "a.yaml"]);
    let runs = dir.path().join("runs");
    let before = states(&runs);
    assert_eq!(before.len(), 6);
    let damaged = before.keys().next().expect("a run");
    std::fs::write(runs.join(damaged).join("record.json"), "{").expect("writable");
    let status = said(&dir, &["sweep", "run", "b.yaml"]);
    assert!(status.contains("8 trials: 7 complete, 1 failed"), "{status}");
    assert!(status.contains("record.json: not a run's record"), "{status}");
    for (run, state) in &before {
        assert_eq!(&read(&runs.join(run).join("state.json")), state, "{run} was done before");
    }
    std::fs::remove_file(runs.join(damaged).join("record.json")).expect("removed");
    let status = said(&dir, &["sweep", "run", "b.yaml"]);
    assert!(status.contains("8 trials: 8 complete"), "{status}");
}

#[test]
fn a_trial_that_cannot_be_done_fails_with_its_reason_and_is_put_back_on_request() {
    let dir = dir();
    let layers = "  adapt.reft.layers: {choices: [[0], [7]]}\nmethod: grid";
    let sweep = SWEEP.replace("method: grid", layers).replace("[1e-3, 5e-3, 2e-2]", "[1e-3]");
    dir.write("tiny.yaml", &sweep.replace("halving: {eta: 3, rungs: 2}\n", ""));
    let status = said(&dir, &["sweep", "run", "tiny.yaml"]);
    assert!(status.contains("4 trials: 2 complete, 2 failed"), "{status}");
    assert!(status.contains("failed: layer 7 does not exist: the model has layers 0 to 3"), "{status}");
    let attempts = || {
        let all = states(&dir.path().join("runs")).into_values().map(|state| endings(&state));
        all.filter(|endings| endings.last().is_some_and(|ending| ending != "complete")).count()
    };
    assert_eq!(attempts(), 2);
    said(&dir, &["sweep", "run", "tiny.yaml", "--retry"]);
    let tried: Vec<usize> = states(&dir.path().join("runs")).values().map(|state| endings(state).len()).collect();
    assert_eq!(tried.iter().filter(|&&tried| tried == 2).count(), 2, "{tried:?}");
}

#[test]
fn the_best_trial_is_the_one_whose_record_says_so() {
    let dir = dir();
    let plain =
        SWEEP.replace("halving: {eta: 3, rungs: 2}\nfinal: {seeds: [1, 2]}\n", "").replace("epochs: 2", "epochs: 1");
    dir.write("high.yaml", &plain);
    dir.write("low.yaml", &format!("{plain}goal: lowest\n"));
    said(&dir, &["sweep", "run", "high.yaml"]);
    let runs = dir.path().join("runs");
    let manifest = read(&folder(&runs).join("manifest.json"));
    // The tiny model answers nothing rightly: the scores are put there.
    for (trial, correct) in manifest["trials"].as_array().expect("trials").iter().zip([2, 1, 4, 0, 4, 3]) {
        let path = runs.join(trial["run"].as_str().expect("a name")).join("record.json");
        let mut record = read(&path);
        record["scores"]["arc_e"]["correct"] = json!(correct);
        std::fs::write(&path, record.to_string()).expect("writable");
    }
    let best = said(&dir, &["sweep", "best", "high.yaml"]);
    assert!(
        best.starts_with("trial 2: accuracy 100.00 on dev rows") && best.contains("--set train.lr=0.005\n"),
        "{best}"
    );
    assert!(said(&dir, &["sweep", "best", "low.yaml"]).starts_with("trial 3: accuracy 0.00 on dev rows"));
}

#[test]
fn drivers_and_workers_killed_at_many_moments_lose_nothing_and_change_nothing() {
    let dir = dir();
    let sweep = |runs: &str| dir.reft(&["sweep", "run", "tiny.yaml", "--workers", "2", "--runs", runs]);
    assert!(sweep("whole").output().expect("it starts").status.success());
    let expected = outcome(&dir.path().join("whole"));

    let runs = dir.path().join("killed");
    let quiet = || sweep("killed").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    killed_time_and_again(&quiet, &runs, 10);
    let output = sweep("killed").output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lost = |attempt: &Value| attempt["ended"][0] == "lost";
    let died = |state: &Value| state["attempts"].as_array().is_some_and(|attempts| attempts.iter().any(lost));
    assert!(states(&runs).values().any(died), "no worker was killed within a trial");
    for (run, state) in states(&runs) {
        let expected: &[&[&str]] = &[&["rung"], &["complete"], &["rung", "complete"]];
        let endings = endings(&state);
        assert!(expected.iter().any(|expected| endings == *expected), "{run}: {endings:?}");
    }
    assert!(outcome(&runs) == expected, "another outcome");
}
