//! What befalls sweeps on Slurm: whichever process is killed, whatever is drained or cancelled, the sweep ends as the undisturbed one.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::{SUBMIT, alone, idle, kill, kill_daemon, queue, slurm, submit, wait, workers};
use crate::support::Dir;
use crate::sweeps::{SWEEP, dir, endings, folder, outcome, progress, read, said, states};
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// A sweep that takes a while, already done by local workers below `local`.
fn undisturbed() -> Dir {
    let dir = dir();
    dir.write("tiny.yaml", &SWEEP.replace("epochs: 2", "epochs: 20"));
    dir.write("cluster.yaml", "partition: debug\nthrottle: 2\n");
    said(&dir, &["sweep", "run", "tiny.yaml", "--runs", "local", "--workers", "2"]);
    dir
}

/// Submits until nothing is left.
fn finish(dir: &Dir) {
    for _ in 0..4 {
        wait("the arrays do not end", idle);
        submit(dir);
    }
    wait("the arrays do not end", idle);
    assert!(submit(dir).starts_with("6 trials: 2 complete, 4 pruned"), "something is left to submit");
}

/// The table of a sweep without what depends on the clock and the place.
fn table(dir: &Dir, runs: &str) -> String {
    let shown = said(dir, &["sweep", "status", "tiny.yaml", "--runs", runs]);
    let row = |line: &str| {
        let (first, score, rest) = line.split_once(' ').map_or((line, "", ""), |(first, rest)| {
            let (score, rest) = rest.trim_start().split_once(' ').unwrap_or((rest, ""));
            (first, score, rest.trim_start())
        });
        let without_seconds = rest.split_once(' ').map_or("", |(_, rest)| rest);
        format!("{first} {score} {}\n", without_seconds.trim_start())
    };
    let lines: Vec<&str> = shown.lines().collect();
    // The first line names the folder, the last counts.
    let rows: String = lines[1..lines.len() - 1].iter().copied().map(row).collect();
    format!("{rows}{}\n{}", lines[lines.len() - 1], said(dir, &["sweep", "best", "tiny.yaml", "--runs", runs]))
}

/// Every run was done once, and decisions, tables, scores and weights are those of the undisturbed sweep.
fn check(dir: &Dir) {
    let path = |runs: &str| dir.path().join(runs);
    let runs = path("arrays");
    for (run, state) in states(&runs) {
        let expected: &[&[&str]] = &[&["rung"], &["complete"], &["rung", "complete"]];
        let endings: Vec<String> = endings(&state).into_iter().filter(|ending| ending != "timed_out").collect();
        assert!(expected.iter().any(|expected| endings == *expected), "{run}: {endings:?}");
    }
    let manifest = |runs: &str| std::fs::read(folder(&path(runs)).join("manifest.json")).expect("a manifest");
    assert!(manifest("arrays") == manifest("local"), "other trials or another winner");
    assert_eq!(table(dir, "arrays"), table(dir, "local"));
    assert!(outcome(&runs) == outcome(&path("local")), "another outcome");
    let reads = std::fs::read_to_string(runs.join("test-reads.jsonl")).expect("notes");
    let run = |line: &str| serde_json::from_str::<Value>(line).expect("a line")["run"].clone();
    let read_once: Vec<Value> = reads.lines().map(run).collect();
    let chosen = &read(&folder(&runs).join("manifest.json"))["chosen"]["runs"];
    let names = |runs: &[Value]| runs.iter().map(Value::to_string).collect::<BTreeSet<_>>();
    assert_eq!(read_once.len(), 2, "test rows were read twice: {reads}");
    assert_eq!(names(&read_once), names(chosen.as_array().expect("the winner's runs")));
}

/// Waits until the tasks have made so many updates more; submits again whenever all of them have ended.
fn wait_for_updates(dir: &Dir, runs: &Path, updates: usize) {
    let (began, from) = (Instant::now(), progress(runs));
    while progress(runs) < from + updates || workers(runs).is_empty() {
        assert!(began.elapsed() < Duration::from_mins(2), "no progress: {}", slurm("squeue", &["-a"]));
        if idle() {
            assert!(submit(dir).starts_with("job "), "the sweep ended before all rounds: make it longer");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Victim {
    Driver,
    Worker,
    Daemon,
}

#[test]
fn drivers_workers_and_daemons_killed_twenty_times_lose_nothing_and_change_nothing() {
    let Some(_alone) = alone() else { return };
    let seed = std::env::var("REFT_TEST_SEED").map_or(20, |seed| seed.parse().expect("REFT_TEST_SEED: a number"));
    eprintln!("moments drawn with REFT_TEST_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut victims = [vec![Victim::Driver; 6], vec![Victim::Worker; 8], vec![Victim::Daemon; 6]].concat();
    victims.shuffle(&mut rng);
    let dir = undisturbed();
    let runs = dir.path().join("arrays");
    for (round, victim) in victims.into_iter().enumerate() {
        eprintln!("round {round}: {victim:?}, {} updates done", progress(&runs));
        if victim == Victim::Driver {
            let mut driver = dir.reft(&SUBMIT).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
            thread::sleep(Duration::from_millis(rng.random_range(0..900)));
            kill(driver.id());
            driver.wait().expect("reaped");
            continue;
        }
        wait_for_updates(&dir, &runs, rng.random_range(0..40));
        match victim {
            Victim::Daemon => kill_daemon(Duration::from_millis(rng.random_range(0..800))),
            Victim::Driver | Victim::Worker => workers(&runs).choose(&mut rng).into_iter().for_each(|&pid| kill(pid)),
        }
    }
    finish(&dir);
    let lost = |state: &Value| {
        let attempts = state["attempts"].as_array().expect("attempts").iter();
        attempts.filter(|attempt| attempt["ended"][0] == "lost").count()
    };
    let killed: usize = states(&runs).values().map(lost).sum();
    assert!(killed >= 4, "only {killed} were killed at work");
    check(&dir);
}

#[test]
fn a_drained_node_and_cancelled_arrays_only_cost_time() {
    let Some(_alone) = alone() else { return };
    let dir = undisturbed();
    let runs = dir.path().join("arrays");
    submit(&dir);
    wait_for_updates(&dir, &runs, 10);
    slurm("scontrol", &["update", "nodename=localhost", "state=drain", "reason=test"]);
    wait("a drained node does not end its tasks", || queue("running,completing").is_empty());
    let (waiting, done) = (queue("pending").len(), progress(&runs));
    assert!(waiting > 0, "nothing was left when the node was drained");
    thread::sleep(Duration::from_secs(2));
    assert_eq!((queue("pending").len(), progress(&runs)), (waiting, done), "a drained node begins no task");
    slurm("scontrol", &["update", "nodename=localhost", "state=resume"]);
    wait_for_updates(&dir, &runs, 10);
    let open = at_work(&runs);
    let arrays: BTreeSet<String> =
        slurm("squeue", &["-h", "-o", "%F"]).lines().map(|job| job.trim().to_owned()).collect();
    for job in &arrays {
        slurm("scancel", &[job]);
    }
    wait("cancelled arrays do not end", idle);
    assert!(open > 0 && !arrays.is_empty(), "no running task was cancelled");
    finish(&dir);
    check(&dir);
}

/// Runs that a worker works on.
fn at_work(runs: &Path) -> usize {
    let last =
        |state: &Value| state["attempts"].as_array().and_then(|all| all.last()).map(|last| last["ended"].is_null());
    let entries = std::fs::read_dir(runs).expect("runs").filter_map(Result::ok);
    let states = entries.filter_map(|run| std::fs::read_to_string(run.path().join("state.json")).ok());
    states.filter_map(|text| serde_json::from_str(&text).ok()).filter(|state| last(state) == Some(true)).count()
}
