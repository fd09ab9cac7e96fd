//! Sweeps on a real Slurm of one node, which `make test-slurm` starts. Without one there is nothing to test, and that is said.

#![cfg(feature = "program")]

mod cluster;
mod support;
mod sweeps;

use std::path::Path;

use cluster::{idle, queue, slurm, submit, wait};
use serde_json::Value;
use support::Dir;
use sweeps::{SWEEP, dir, endings, folder, outcome, read, said, states};

fn ended(runs: &Path) -> bool {
    let expected: &[&[&str]] = &[&["rung"], &["complete"], &["rung", "complete"]];
    let not_timed_out =
        |state: &Value| endings(state).into_iter().filter(|ending| ending != "timed_out").collect::<Vec<_>>();
    states(runs).values().all(|state| expected.iter().any(|expected| not_timed_out(state) == *expected))
}

#[test]
fn arrays_give_what_local_workers_give_through_time_outs_and_cancelled_tasks() {
    let Some(_alone) = cluster::alone() else { return };
    let dir = dir();
    // Long enough to be caught at work.
    dir.write("tiny.yaml", &SWEEP.replace("epochs: 2", "epochs: 20"));
    dir.write("cluster.yaml", "partition: debug\nthrottle: 2\n");
    said(&dir, &["sweep", "run", "tiny.yaml", "--runs", "local", "--workers", "2"]);
    let expected = outcome(&dir.path().join("local"));

    let jobs = submit(&dir);
    assert_eq!(jobs.lines().filter(|line| line.starts_with("job ")).count(), 3, "{jobs}");
    let runs = dir.path().join("arrays");
    wait("no task began", || queue("running").len() > 1);
    let at_work = |state: &Value| {
        state["attempts"].as_array().is_some_and(|attempts| attempts.last().is_some_and(|last| last["ended"].is_null()))
    };
    let states_now = || {
        std::fs::read_dir(&runs)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .filter_map(|run| {
                serde_json::from_str::<Value>(&std::fs::read_to_string(run.path().join("state.json")).ok()?).ok()
            })
            .collect::<Vec<_>>()
    };
    wait("no task is running", || states_now().into_iter().filter(|state| at_work(state)).count() > 1);
    let running = queue("running");
    // One is cancelled; another is told that its time is over, as Slurm tells it.
    slurm("scancel", &[&running[1]]);
    slurm("scancel", &["--signal=USR1", "--batch", &running[0]]);
    wait("the arrays do not end", idle);
    // A cancelled task leaves a piece undone: the same command again does what is left.
    for _ in 0..3 {
        submit(&dir);
        wait("the arrays do not end", idle);
    }
    assert!(ended(&runs), "{:?}", states(&runs).values().map(endings).collect::<Vec<_>>());
    assert!(
        states(&runs).values().any(|state| endings(state).contains(&"timed_out".to_owned())),
        "no task ran out of time"
    );
    let lost =
        |state: &Value| state["attempts"].as_array().is_some_and(|all| all.iter().any(|one| one["ended"][0] == "lost"));
    assert!(states(&runs).values().any(lost), "no running task was cancelled");
    assert!(outcome(&runs) == expected, "another outcome");
    assert!(submit(&dir).starts_with("6 trials: 2 complete, 4 pruned"), "nothing is left to submit");
}

#[test]
fn a_task_may_do_several_pieces_in_a_folder_of_any_name() {
    let Some(_alone) = cluster::alone() else { return };
    let dir = dir();
    dir.write("cluster.yaml", "partition: debug\nthrottle: 2\npieces_per_task: 4\n");
    said(&dir, &["sweep", "run", "tiny.yaml", "--runs", "local", "--workers", "2"]);
    let runs = "runs of $HOME, 'mine'";
    let said = said(&dir, &["sweep", "submit", "tiny.yaml", "cluster.yaml", "--runs", runs]);
    let tasks: Vec<&str> = said.lines().filter_map(|line| line.split_once(": ")).map(|(_, tasks)| tasks).collect();
    assert_eq!(tasks[..3], ["rung-0, 2 tasks", "rung-1, 2 tasks", "test, 2 tasks"]);
    wait("the arrays do not end", idle);
    let runs = dir.path().join(runs);
    assert!(ended(&runs), "{:?}", states(&runs).values().map(endings).collect::<Vec<_>>());
    assert!(outcome(&runs) == outcome(&dir.path().join("local")), "another outcome");
    let logs = std::fs::read_dir(folder(&runs)).expect("a folder").filter_map(Result::ok);
    let logs = logs.filter(|entry| entry.file_name().to_string_lossy().starts_with("slurm-rung-0-")).count();
    assert_eq!(logs, 2, "a log for each task");
}

/// Trials that depend on each other are worked on by tasks that stay, and that outlive Slurm's limit of time: a minute, told
/// by Slurm itself.
#[test]
fn a_search_goes_on_in_tasks_whose_time_is_over() {
    let Some(_alone) = cluster::alone() else { return };
    let dir = dir();
    let search = "method: {tpe: {startup: 2, batch: 2}}\ntrials: 4\n";
    let sweep = SWEEP.replace("method: grid\nhalving: {eta: 3, rungs: 2}\n", search);
    // Longer than the half minute that Slurm leaves a task at most, and not many times that.
    let epochs = format!("epochs: {}", epochs_in(&dir, 35.0));
    dir.write("tiny.yaml", &sweep.replace("epochs: 2", &epochs).replace("[1, 2]}\nmethod", "[1, 2, 3]}\nmethod"));
    dir.write("cluster.yaml", "partition: debug\nthrottle: 2\ntime: '1'\nwarning: 30\n");
    said(&dir, &["sweep", "run", "tiny.yaml", "--runs", "local", "--workers", "2"]);
    assert!(submit(&dir).starts_with("job "), "nothing was submitted");
    wait("the workers do not end", idle);
    let runs = dir.path().join("arrays");
    let ended: Vec<Vec<String>> = states(&runs).values().map(endings).collect();
    assert!(ended.iter().flatten().any(|ending| ending == "timed_out"), "no time was over: {ended:?}");
    assert!(ended.iter().all(|ended| ended.last().is_some_and(|ending| ending == "complete")), "{ended:?}");
    assert!(outcome(&runs) == outcome(&dir.path().join("local")), "another outcome");
    assert!(submit(&dir).starts_with("4 trials: 4 complete"), "nothing is left to submit");
}

/// How many epochs of the tiny run this machine does in so many seconds.
fn epochs_in(dir: &Dir, seconds: f64) -> u64 {
    let epochs: u32 = 20;
    said(dir, &["train", "run.yaml", "--set", &format!("train.epochs={epochs}"), "--runs", "probe"]);
    let runs = std::fs::read_dir(dir.path().join("probe")).expect("runs").filter_map(Result::ok);
    let record = runs.map(|run| run.path().join("record.json")).find(|path| path.exists()).expect("a record");
    let taken = read(&record)["cost"]["train_seconds"].as_f64().expect("seconds");
    (seconds / taken * f64::from(epochs)).ceil() as u64
}
