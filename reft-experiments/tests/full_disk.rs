//! A full disk is said in one line, nothing else is lost, and when there is room again a repetition goes on. The runs lie on
//! a file system of a few KiB in memory, which only root can mount; elsewhere that is said, and files have a largest size.

#![cfg(feature = "program")]

mod support;
mod sweeps;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::{Dir, RUN};
use sweeps::{SWEEP, dir, endings, outcome, progress, read, said, states};

/// A file system of a few KiB, until it is dropped.
struct Small(PathBuf);

impl Small {
    /// None, which is said, where nothing may be mounted.
    fn mount(path: PathBuf, kib: usize) -> Option<Self> {
        std::fs::create_dir_all(&path).expect("writable");
        let small = Self(path);
        if small.call("mount", &["-t", "tmpfs", "-o", &format!("size={kib}k,nr_inodes=10000"), "tmpfs"]) {
            return Some(small);
        }
        eprintln!("skipped: no file system can be mounted here, which takes root's rights");
        None
    }

    fn grow(&self) {
        assert!(self.call("mount", &["-o", "remount,size=64m"]), "it does not grow");
    }

    fn call(&self, command: &str, arguments: &[&str]) -> bool {
        Command::new(command).args(arguments).arg(&self.0).output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.call("umount", &[]);
    }
}

/// The line in which a command says that the disk is full.
fn complaint(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((output.status.code(), lines.len()), (Some(1), 1), "one line, not: {said}");
    assert!(!said.contains("internal error"), "{said}");
    for part in ["runs", "No space left on device", "free some space there and repeat the command"] {
        assert!(lines[0].contains(part), "`{part}` is not in: {}", lines[0]);
    }
    lines[0].to_owned()
}

/// What the files below a folder take, in pages of 4 KiB each.
fn kib(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable"));
    let of = |entry: std::fs::DirEntry| match entry.metadata().expect("there") {
        folder if folder.is_dir() => kib(&entry.path()),
        file => 4 * (file.len() as usize).div_ceil(4096),
    };
    entries.map(of).sum()
}

/// The only run below a folder, without what depends on the clock.
fn run(root: &Path) -> Value {
    let runs = std::fs::read_dir(root).expect("runs").map(|run| run.expect("readable").path());
    let runs: Vec<PathBuf> = runs.filter(|run| run.join("record.json").exists()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let file = |name: &str| std::fs::read(runs[0].join(name)).expect(name);
    let files = ["metrics.jsonl", "adapter/adapter_model.safetensors", "predictions-arc_e.jsonl"].map(file);
    serde_json::json!({"scores": read(&runs[0].join("record.json"))["scores"], "files": files})
}

#[test]
fn a_run_says_which_file_had_no_room_and_goes_on() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let train = |runs: &str| {
        let short = ["--set", "train.epochs=1", "--set", "train.checkpoint_every=100"];
        dir.run(&[&["train", "run.yaml", "--resume", "--runs", runs], &short[..]].concat())
    };
    assert!(train("whole").status.success());
    let expected = run(&dir.path().join("whole"));
    let mut complaints = BTreeSet::new();
    for kib in (0..).map(|pages| 4 + 4 * pages) {
        let runs = format!("runs-{kib}");
        let Some(small) = Small::mount(dir.path().join(&runs), kib) else { return };
        let output = train(&runs);
        if output.status.success() {
            break;
        }
        let said = complaint(&output);
        let files = [
            "claim",
            "state.json",
            "config.yaml",
            "metrics.jsonl",
            "tfevents",
            "checkpoint",
            "adapter",
            "predictions",
            "record.json",
        ];
        let file = files.into_iter().find(|file| said.contains(file));
        complaints.insert(file.unwrap_or_else(|| panic!("no file is named: {said}")));
        small.grow();
        let output = train(&runs);
        assert!(output.status.success(), "{kib} KiB: {}", String::from_utf8_lossy(&output.stderr));
        assert!(run(&small.0) == expected, "{kib} KiB: another outcome");
    }
    let seen = |file: &str| complaints.contains(file);
    assert!(seen("checkpoint") && seen("adapter") && seen("record.json") && complaints.len() > 4, "{complaints:?}");
}

#[test]
fn a_sweep_says_that_the_disk_is_full_and_goes_on() {
    let dir = dir();
    let sweep = |runs: &str| dir.run(&["sweep", "run", "tiny.yaml", "--workers", "2", "--runs", runs]);
    assert!(sweep("whole").status.success());
    let expected = outcome(&dir.path().join("whole"));
    let complete = |runs: &Path| -> Vec<(PathBuf, Vec<u8>)> {
        let runs = std::fs::read_dir(runs).expect("runs").map(|run| run.expect("readable").path().join("record.json"));
        runs.filter_map(|path| Some((path.clone(), std::fs::read(path).ok()?))).collect()
    };
    let mut kept = Vec::new();
    // No room for the plan of the sweep, for any trial, for all trials, for the test runs.
    let whole = kib(&dir.path().join("whole"));
    for kib in [4, 40, whole / 2, whole - 24] {
        let Some(small) = Small::mount(dir.path().join(format!("runs-{kib}")), kib) else { return };
        let runs = small.0.display().to_string();
        complaint(&sweep(&runs));
        let (records, updates) = (complete(&small.0), progress(&small.0));
        kept.push((kib, updates, records.len()));
        small.grow();
        let output = sweep(&runs);
        assert!(output.status.success(), "{kib} KiB: {}", String::from_utf8_lossy(&output.stderr));
        assert!(records.iter().all(|(path, bytes)| std::fs::read(path).is_ok_and(|now| now == *bytes)), "{kib} KiB");
        assert!(outcome(&small.0) == expected, "{kib} KiB: another outcome");
    }
    assert!(kept.first().is_some_and(|&(_, updates, _)| updates == 0), "{kept:?}");
    assert!(kept.last().is_some_and(|&(_, updates, records)| updates > 0 && records > 0), "{kept:?}");
}

#[test]
fn a_trial_whose_files_are_too_large_fails_with_its_reason_and_costs_no_other() {
    let dir = dir();
    let plain = SWEEP.replace("halving: {eta: 3, rungs: 2}\nfinal: {seeds: [1, 2]}\n", "").replace("[1, 2]", "[1, 12]");
    dir.write("tiny.yaml", &plain.replace("epochs: 2", "epochs: 1"));
    said(&dir, &["sweep", "run", "tiny.yaml", "--runs", "whole"]);
    let mut command = Command::new("bash");
    // Without its signal, a file that grows too large is an error like any other.
    command.args(["-c", "trap '' XFSZ; ulimit -f 32; exec \"$0\" \"$@\""]).arg(env!("CARGO_BIN_EXE_reft"));
    command.args(["sweep", "run", "tiny.yaml"]).current_dir(dir.path());
    command.env("HF_HUB_OFFLINE", "1").env("REFT_CACHE", dir.path().join("cache")).env_remove("REFT_DATA");
    // As many threads as the run that it is compared with.
    command.env("OMP_NUM_THREADS", "1");
    let output = command.output().expect("bash is there");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("6 trials: 3 complete, 3 failed"), "{shown}");
    let reasons: Vec<&str> = shown.lines().filter(|line| line.contains("failed: ")).collect();
    assert_eq!(reasons.len(), 3, "{shown}");
    for reason in reasons {
        let parts = ["checkpoint.safetensors: File too large: check the path", "rank=12"];
        assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");
    }
    said(&dir, &["sweep", "run", "tiny.yaml", "--retry"]);
    let (runs, whole) = (dir.path().join("runs"), dir.path().join("whole"));
    assert!(states(&runs).values().all(|state| endings(state).last().is_some_and(|ending| ending == "complete")));
    assert!(outcome(&runs) == outcome(&whole), "another outcome");
}
