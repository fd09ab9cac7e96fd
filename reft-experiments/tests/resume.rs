//! A run that is killed and resumed ends as if it had not been.

#![cfg(feature = "program")]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::{Dir, RUN};

/// The only run below a folder.
fn only_run(root: &Path) -> Option<PathBuf> {
    std::fs::read_dir(root)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.join("config.yaml").exists())
}

fn lines(run: &Path) -> usize {
    std::fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.lines().count())
}

fn outcome(run: &Path) -> (String, Vec<u8>) {
    let trace = std::fs::read_to_string(run.join("metrics.jsonl")).expect("a trace");
    (trace, std::fs::read(run.join("adapter/adapter_model.safetensors")).expect("an adapter"))
}

#[test]
fn killed_at_several_moments_a_run_resumes_to_the_same_end() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let whole = dir.run(&["train", "run.yaml", "--runs", "whole"]);
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    let expected = outcome(&only_run(&dir.path().join("whole")).expect("a run"));
    assert_eq!(expected.0.lines().count(), 48, "4 epochs of 12 updates");

    let root = dir.path().join("killed");
    let arguments = ["train", "run.yaml", "--runs", "killed", "--resume"];
    for after in [3, 12, 23, 31] {
        let mut child = dir.reft(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let began = Instant::now();
        while only_run(&root).is_none_or(|run| lines(&run) < after) {
            assert!(began.elapsed() < Duration::from_mins(2), "no progress");
            if child.try_wait().expect("a child").is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
    let resumed = dir.run(&arguments);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert!(outcome(&only_run(&root).expect("a run")) == expected, "another trace or adapter");
}

#[test]
fn a_run_that_is_done_is_not_repeated() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let train = || dir.run(&["train", "run.yaml", "--set", "train.epochs=1"]);
    let (first, second) = (train(), train());
    assert_eq!(first.stdout, second.stdout);
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said(&first).contains("step") && !said(&second).contains("step"));
}

/// Starts a run and waits until it has done some updates.
fn started(dir: &Dir, arguments: &[&str], root: &Path, updates: usize) -> Child {
    let child = dir.reft(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let began = Instant::now();
    while only_run(root).is_none_or(|run| lines(&run) < updates) {
        assert!(began.elapsed() < Duration::from_mins(2), "no progress");
        thread::sleep(Duration::from_millis(1));
    }
    child
}

/// Starts the same run once more; what it says on standard error, line by line.
fn second(dir: &Dir, arguments: &[&str]) -> (Child, BufReader<ChildStderr>) {
    let mut child = dir.reft(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let said = BufReader::new(child.stderr.take().expect("a pipe"));
    (child, said)
}

#[test]
fn the_same_run_is_done_by_one_process_at_a_time() {
    let dir = Dir::new();
    // Long enough that the first is at work when the second comes.
    dir.write("run.yaml", &RUN.replace("epochs: 4", "epochs: 20"));
    assert!(dir.run(&["train", "run.yaml", "--runs", "alone"]).status.success());
    let alone = outcome(&only_run(&dir.path().join("alone")).expect("a run"));
    // The first ends, or is killed: the second finds its record, or goes on from its checkpoint.
    for (name, killed) in [("ends", false), ("dies", true)] {
        let (root, arguments) = (dir.path().join(name), ["train", "run.yaml", "--runs", name]);
        let mut first = started(&dir, &arguments, &root, 7);
        let (mut waiting, mut said) = second(&dir, &arguments);
        let mut line = String::new();
        // What is said of the type of the weights comes first.
        while !line.contains("waiting for it") {
            line.clear();
            assert!(said.read_line(&mut line).expect("readable") > 0, "the second does not wait");
        }
        let owner = format!("process {} on ", first.id());
        assert!(line.contains(&owner) && line.trim_end().ends_with("waiting for it"), "{line}");
        assert!(waiting.try_wait().expect("a child").is_none());
        if killed {
            first.kill().expect("killed");
        }
        assert_eq!(first.wait().expect("reaped").success(), !killed);
        let mut rest = String::new();
        said.read_to_string(&mut rest).expect("readable");
        assert!(waiting.wait().expect("reaped").success(), "{rest}");
        assert_eq!(rest.contains("step"), killed, "what is done is not repeated: {rest}");
        assert!(outcome(&only_run(&root).expect("a run")) == alone, "another trace or adapter");
    }
}

#[test]
fn a_resume_without_a_checkpoint_names_the_run_that_may_have_been_meant() {
    let dir = Dir::new();
    dir.write("run.yaml", &RUN.replace("train_rows: 48", "train_rows: 8"));
    let resume = |settings: &[&str], threads: &str| {
        let set = settings.iter().flat_map(|setting| ["--set", *setting]);
        let arguments: Vec<&str> = ["train", "run.yaml", "--resume"].into_iter().chain(set).collect();
        let output = dir.reft(&arguments).env("OMP_NUM_THREADS", threads).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.lines().filter(|line| line.contains("no checkpoint of this run")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(resume(&[], "1"), ["no checkpoint of this run, nor of another in runs: starting anew"]);
    assert_eq!(resume(&[], "1"), [""; 0], "it is complete");
    let first = only_run(&dir.path().join("runs")).expect("a run");
    let first = Path::new("runs").join(first.file_name().expect("a name")).display().to_string();
    let said = resume(&["train.epochs=5"], "1");
    let expected = format!("{first}, which is complete, differs in train.epochs 4 there, 5 here: starting anew");
    assert!(said.len() == 1 && said[0].ends_with(&expected), "{said:?}");
    let said = resume(&["train.epochs=5", "train.lr=1e-3", "seed=7"], "1");
    assert!(said.len() == 1 && said[0].contains("differs in seed 42 there, 7 here; train.lr 0.005 there"), "{said:?}");
    let said = resume(&[], "2");
    assert!(said.len() == 1 && said[0].contains("threads 1 there, 2 here"), "{said:?}");
    assert!(said[0].contains("OMP_NUM_THREADS=1"), "{said:?}");
}
