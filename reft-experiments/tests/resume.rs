//! A run that is killed and resumed ends as if it had not been.

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;
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
