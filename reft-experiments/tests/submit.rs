//! Submitting to a cluster that refuses, prints banners or limits its arrays: its programs are shell scripts here.

#![cfg(feature = "program")]

mod support;
#[allow(dead_code)] // of the tiny sweep only its folder is needed
mod sweeps;

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use support::Dir;

const CLUSTER: &str = "partition: cpu\ntime: 01:00:00\nthrottle: 2\n";

/// A folder with a sweep of six trials and a program `sbatch` that runs this script, with what it was given in `log`.
fn site(sbatch: &str) -> Dir {
    let dir = sweeps::dir();
    dir.write("cluster.yaml", CLUSTER);
    std::fs::create_dir(dir.path().join("bin")).expect("writable");
    program(&dir, "sbatch", &format!("echo \"$* ${{SLURM_MEM_PER_CPU-}}\" >> log\n{sbatch}"));
    dir
}

fn program(dir: &Dir, name: &str, script: &str) {
    let path = dir.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("writable");
}

fn submit(dir: &Dir) -> Output {
    let path = format!("{}:{}", dir.path().join("bin").display(), std::env::var("PATH").expect("a path"));
    let mut command = dir.reft(&["sweep", "submit", "tiny.yaml", "cluster.yaml"]);
    command.env("PATH", path).env("SLURM_MEM_PER_CPU", "4096").env("SLURM_JOB_ID", "7").output().expect("it starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

const COUNT: &str = "echo x >> count; echo $((4000 + $(wc -l < count)))";

#[test]
fn numbers_are_read_below_banners_and_an_interactive_job_is_not_passed_on() {
    let dir = site(&format!("echo 'Welcome: project quota 80 % used'\necho 'a hint' >&2\n{COUNT}"));
    let output = submit(&dir);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let jobs: Vec<&str> = said.lines().filter(|line| line.starts_with("job ")).collect();
    assert_eq!(jobs, ["job 4001: rung-0, 6 tasks", "job 4002: rung-1, 2 tasks", "job 4003: test, 2 tasks"]);
    let log = std::fs::read_to_string(dir.path().join("log")).expect("written");
    assert!(log.contains("--dependency=afterany:4001 ") && log.contains("--dependency=afterany:4002 "), "{log}");
    assert!(!log.contains("4096"), "{log}");
}

#[test]
fn accepted_jobs_are_named_before_the_whole_reason_of_a_refusal() {
    let refuse = "case \"$*\" in *slurm-test.sh)\necho 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2\n\
                  echo 'sbatch: error: Batch job submission failed: Job violates accounting/QOS policy' >&2\nexit 1;; esac";
    let output = submit(&site(&format!("{refuse}\n{COUNT}")));
    let (said, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(said.contains("job 4001: rung-0, 6 tasks") && said.contains("job 4002: rung-1"), "{said}");
    let expected = "refused by sbatch: QOSMaxSubmitJobPerUserLimit; Batch job submission failed: Job violates";
    assert!(error.lines().any(|line| line.starts_with("error: ") && line.contains(expected)), "{error}");
}

#[test]
fn an_array_beyond_the_site_s_limit_is_split_or_leads_to_pieces_per_task() {
    let limit = "if grep -q 'array=0-5' \"$2\"; then\necho 'sbatch: error: A hint' >&2\n\
                 echo 'sbatch: error: Batch job submission failed: Invalid job array specification' >&2\nexit 1; fi";
    let dir = site(&format!("{limit}\n{COUNT}"));
    let error = submit(&dir);
    let said = text(&error.stderr);
    assert!(
        said.contains("A hint; Batch job submission failed: Invalid job array specification: an array of 6 tasks"),
        "{said}"
    );
    assert!(said.contains("raise pieces_per_task (1 now)"), "{said}");
    program(&dir, "scontrol", "echo 'MaxArraySize            = 4'");
    let output = submit(&dir);
    let jobs: Vec<&str> = text(&output.stdout).lines().filter(|line| line.starts_with("job ")).collect();
    let names: Vec<&str> = jobs.iter().filter_map(|job| job.split_once(": ")).map(|(_, name)| name).collect();
    assert_eq!(names, ["rung-0-part-1, 4 tasks", "rung-0-part-2, 2 tasks", "rung-1, 2 tasks", "test, 2 tasks"]);
}

#[test]
fn output_of_sbatch_without_a_job_number_is_an_error() {
    let dir = site("echo 'the queue is closed'");
    let shown = dir.run(&["sweep", "submit", "tiny.yaml", "cluster.yaml", "--dry-run"]);
    assert_eq!(text(&shown.stdout).matches("#SBATCH --time=01:00:00").count(), 3, "{}", text(&shown.stderr));
    assert!(!dir.path().join("log").exists(), "nothing is submitted");
    let output = submit(&dir);
    let said = text(&output.stderr);
    assert!(
        said.contains("sbatch gave no job number, but said: the queue is closed: look for the job with squeue"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
}
