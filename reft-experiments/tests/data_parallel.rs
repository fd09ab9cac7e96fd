//! Training in two processes: the run of one process up to rounding, whichever kind of model, and what becomes of it when one
//! process ends.

#![cfg(feature = "program")]

mod encoders;
mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Dir, RUN};

/// Without dropout, whose masks every process draws for itself.
fn without_dropout() -> String {
    let run = RUN.replace(", dropout: {p: 0.1}", "").replace("epochs: 4", "epochs: 2");
    assert_ne!(run, RUN);
    run
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn folder(dir: &Dir, output: &Output) -> PathBuf {
    let said = text(&output.stdout);
    let run = said.lines().find_map(|line| line.strip_prefix("run "));
    dir.path().join(run.unwrap_or_else(|| panic!("{said}{}", text(&output.stderr))))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("there")).expect("JSON")
}

/// Loss and gradient norm of every update.
fn trace(run: &Path) -> Vec<[f64; 2]> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let update = |line: &str| {
        let update: Value = serde_json::from_str(line).expect("JSON");
        ["loss", "norm"].map(|key| update[key].as_f64().expect("a number"))
    };
    text.lines().map(update).collect()
}

#[track_caller]
fn assert_close(one: &[[f64; 2]], other: &[[f64; 2]]) {
    assert_eq!(one.len(), other.len());
    for (step, (one, other)) in one.iter().zip(other).enumerate() {
        for (one, other) in one.iter().zip(other) {
            assert!((one - other).abs() < 1e-4 * (1.0 + one.abs()), "step {step}: {one} and {other}");
        }
    }
}

#[test]
fn two_processes_train_what_one_does() {
    let dir = Dir::new();
    encoders::add(&dir, "roberta", "encoder");
    dir.write("decoder.yaml", &without_dropout());
    dir.write(
        "encoder.yaml",
        "model: encoder\ndtype: f32\nadapt: {reft: {intervention: direft, rank: 2, positions: f3+l1}}\ndata: {train: [mrpc], \
         eval: [mrpc], train_rows: 24, eval_rows: 16, max_length: 40}\ntrain: {epochs: 2, batch_size: 5, lr: 5e-3, \
         model_dropout: false}\n",
    );
    for config in ["decoder.yaml", "encoder.yaml"] {
        let runs = ["1", "2"].map(|count| folder(&dir, &dir.run(&["train", config, "--nproc", count])));
        let [one, two] = &runs;
        assert_close(&trace(one), &trace(two));
        let environment = |run: &Path| json(&run.join("record.json"))["environment"]["processes"].clone();
        assert_eq!((environment(one), environment(two)), (Value::Null, 2.into()), "{config}");
        assert!(!json(&two.join("record.json"))["scores"].as_object().expect("scores").is_empty());
        // It was done before: the record is found, and the second process ends too.
        let again = dir.run(&["train", config, "--nproc", "2"]);
        assert_eq!(folder(&dir, &again), *two);
    }
}

/// A rank with torchrun's variables.
fn rank(dir: &Dir, arguments: &[&str], rank: usize, port: u16) -> Child {
    let mut command = dir.reft(arguments);
    command.env("RANK", rank.to_string()).env("WORLD_SIZE", "2").env("MASTER_ADDR", "127.0.0.1");
    command.env("MASTER_PORT", port.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

fn ranks(dir: &Dir, arguments: [&[&str]; 2]) -> [Child; 2] {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    let port = listener.expect("a free port").port();
    [rank(dir, arguments[0], 0, port), rank(dir, arguments[1], 1, port)]
}

/// Waits for a file in the only run's folder.
fn wait_for(dir: &Dir, name: &str) {
    let until = Instant::now() + Duration::from_mins(5);
    let found = || {
        let runs = std::fs::read_dir(dir.path().join("runs")).ok()?;
        runs.filter_map(Result::ok).map(|run| run.path().join(name)).find(|file| file.exists())
    };
    while found().is_none() {
        assert!(Instant::now() < until, "no {name}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_process_that_is_killed_ends_all_and_the_run_goes_on() {
    let dir = Dir::new();
    // Enough updates that the run is not over before the second process is killed.
    dir.write("run.yaml", &without_dropout().replace("epochs: 2", "epochs: 40"));
    let arguments = ["train", "run.yaml"];
    let [lead, mut second] = ranks(&dir, [&arguments; 2]);
    wait_for(&dir, "checkpoint.safetensors");
    second.kill().expect("it runs");
    second.wait().expect("it ends");
    let output = lead.wait_with_output().expect("it ends");
    let said = text(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    assert!(!output.status.success() && last.starts_with("error: "), "{said}");
    assert!(last.contains("rank 0 of 2") && last.contains("another process has ended"), "{said}");
    let resumed = folder(&dir, &dir.run(&["train", "run.yaml", "--nproc", "2", "--resume"]));
    assert!(resumed.join("record.json").exists(), "it is complete");
    let whole = dir.run(&["train", "run.yaml", "--nproc", "2", "--runs", "others"]);
    assert_eq!(trace(&resumed), trace(&folder(&dir, &whole)), "as if nothing had happened");
}

#[test]
fn what_cannot_be_done_together_is_one_line() {
    let dir = Dir::new();
    dir.write("run.yaml", &without_dropout());
    // Another configuration in the second process.
    let other = ["train", "run.yaml", "--set", "train.lr=1e-3"];
    let [lead, second] = ranks(&dir, [&["train", "run.yaml"], &other]);
    let said = text(&second.wait_with_output().expect("it ends").stderr);
    assert!(
        said.lines().count() == 1 && said.contains("rank 1 would do run") && said.contains("same configuration"),
        "{said}"
    );
    let said = text(&lead.wait_with_output().expect("it ends").stderr);
    assert!(said.lines().last().is_some_and(|line| line.contains("another process has ended")), "{said}");
    // A launcher that started another number of processes.
    let mut command = dir.reft(&["train", "run.yaml", "--nproc", "3"]);
    let output =
        command.env("RANK", "0").env("WORLD_SIZE", "2").env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", "1");
    let said = text(&output.output().expect("it starts").stderr);
    assert!(said.contains("--nproc 3") && said.contains("2 processes"), "{said}");
    // Only training is shared.
    let mut command = dir.reft(&["sweep", "run", "run.yaml"]);
    let output = command.env("RANK", "0").env("WORLD_SIZE", "2");
    let said = text(&output.output().expect("it starts").stderr);
    assert!(said.contains("WORLD_SIZE=2") && said.contains("reft train"), "{said}");
}
