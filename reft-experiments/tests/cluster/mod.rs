//! A Slurm of one node, which `make test-slurm` starts.

mod faults;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::Dir;
use crate::sweeps::said;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The cluster, for one test at a time; none, which is said, where there is no Slurm.
pub fn alone() -> Option<MutexGuard<'static, ()>> {
    if std::env::var_os("SLURM_CONF").is_none() {
        eprintln!("skipped: SLURM_CONF is not set; `make test-slurm` starts a Slurm and runs this");
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What a command of Slurm says.
pub fn slurm(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output().unwrap_or_else(|error| panic!("{command}: {error}"));
    String::from_utf8(output.stdout).expect("text")
}

/// Tasks in these states, by their numbers.
pub fn queue(states: &str) -> Vec<String> {
    let text = slurm("squeue", &["-h", "-r", "-t", states, "-o", "%A"]);
    text.lines().map(str::to_owned).collect()
}

/// States that a task does not leave.
const ENDED: [&str; 9] =
    ["BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"];

/// Whether no task is left. A controller that does not answer in time says nothing about its tasks.
pub fn idle() -> bool {
    let output = Command::new("squeue").args(["-h", "-r", "-t", "all", "-o", "%T"]).output().expect("squeue is there");
    let states = String::from_utf8(output.stdout).expect("text");
    output.status.success() && states.lines().all(|state| ENDED.contains(&state))
}

pub fn wait(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_mins(15), "{what}: {}", slurm("squeue", &["-a"]));
        thread::sleep(Duration::from_millis(100));
    }
}

/// Submits what is left of the sweep whose runs are in `arrays`.
pub fn submit(dir: &Dir) -> String {
    said(dir, &SUBMIT)
}

/// The command that does.
pub const SUBMIT: [&str; 6] = ["sweep", "submit", "tiny.yaml", "cluster.yaml", "--runs", "arrays"];

/// A task's process at work on runs below `folder`.
pub fn workers(folder: &Path) -> Vec<u32> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned()).display().to_string();
    let numbers = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let at_work = |pid: &u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<String> = command.split(|&byte| byte == 0).map(|w| String::from_utf8_lossy(w).into()).collect();
        words.iter().any(|word| word == "work") && words.iter().any(|word| word.starts_with(&folder))
    };
    numbers.filter(at_work).collect()
}

/// Ends a process without a word.
pub fn kill(pid: u32) {
    Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status().expect("kill is there");
}

/// Kills the node's daemon, and starts it again after a while.
pub fn kill_daemon(pause: Duration) {
    let configuration = PathBuf::from(std::env::var_os("SLURM_CONF").expect("a cluster"));
    let number = std::fs::read_to_string(configuration.with_file_name("slurmd.pid")).expect("slurmd runs");
    kill(number.trim().parse().expect("a process"));
    thread::sleep(pause);
    assert!(Command::new("slurmd").status().expect("slurmd is there").success(), "slurmd did not start again");
}
