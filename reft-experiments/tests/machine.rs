//! The program on machines that it is made to believe in: types of weights, threads.

#![cfg(feature = "program")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Dir, RUN};

/// A run that leaves the type of its weights to the machine.
fn undecided() -> String {
    RUN.replace("dtype: f32", "dtype: auto")
}

/// Trains for a few updates with these variables, and gives the run's record and what was said.
fn train(dir: &Dir, variables: &[(&str, &str)], set: &[&str]) -> (Value, String) {
    let mut command = dir.reft(&["train", "run.yaml", "--set", "train.epochs=1", "--set", "data.train_rows=8"]);
    for setting in set {
        command.args(["--set", setting]);
    }
    let output = command.envs(variables.iter().copied()).output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).expect("text");
    let run = stdout.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder");
    (read(&dir.path().join(run).join("record.json")), stderr)
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("there")).expect("JSON")
}

/// Keeps oneDNN from instructions for bf16 on every x86 processor.
#[cfg(target_arch = "x86_64")]
const LESSER: [(&str, &str); 2] = [("ONEDNN_MAX_CPU_ISA", "AVX2"), ("ATEN_CPU_CAPABILITY", "avx2")];

#[test]
#[cfg(target_arch = "x86_64")]
fn auto_avoids_bf16_where_it_is_slow_and_a_type_by_hand_is_kept() {
    let dir = Dir::new();
    dir.write("run.yaml", &undecided());
    let (auto, said) = train(&dir, &LESSER, &[]);
    assert_eq!(auto["plan"]["dtype"], "f32");
    let noted = auto["environment"]["dtype"].as_str().expect("text");
    assert!(noted.starts_with("f32 (auto: "), "{noted}");
    assert!(said.lines().any(|line| line == format!("dtype {noted}")), "{said}");
    assert!(!auto["environment"]["processor"].as_str().expect("text").is_empty());
    let saved =
        std::fs::read_to_string(dir.path().join("runs").join(auto["id"].as_str().expect("a name")).join("config.yaml"));
    let saved = saved.expect("there");
    assert!(saved.contains(noted) && saved.contains("\ndtype: f32"), "{saved}");

    let (by_hand, _) = train(&dir, &LESSER, &["dtype=bf16"]);
    assert_eq!(by_hand["plan"]["dtype"], "bf16");
    assert_ne!(by_hand["id"], auto["id"]);
    let noted = by_hand["environment"]["dtype"].as_str().expect("text");
    assert!(noted.starts_with("bf16 (by hand; auto takes f32 here: "), "{noted}");
    // The same run, whether its type was named or chosen.
    assert_eq!(train(&dir, &LESSER, &["dtype=f32"]).0, auto);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_sweep_goes_on_in_the_type_it_was_begun_in() {
    let dir = Dir::new();
    let run = undecided().replace('\n', "\n  ");
    let sweep = format!("title: T\nrun:{run}\nspace:\n  train.lr: {{choices: [1e-3, 2e-3]}}\nmethod: grid\n");
    dir.write("s.yaml", &sweep);
    let begin = |set: &[&str]| {
        let mut command = dir.reft(&[&["sweep", "run", "s.yaml", "--dry-run"], set].concat());
        let output = command.envs(LESSER).output().expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let manifests = || -> Vec<PathBuf> {
        let folders = std::fs::read_dir(dir.path().join("runs/sweeps")).expect("sweeps");
        folders.map(|folder| folder.expect("readable").path().join("manifest.json")).collect()
    };
    // As a machine with fast bf16 begins it.
    begin(&["--set", "run.dtype=bf16"]);
    let [path] = &manifests()[..] else { panic!("one sweep") };
    let mut manifest = read(path);
    assert_eq!((&manifest["sweep"]["run"]["dtype"], &manifest["auto_dtype"]), (&"bf16".into(), &false.into()));
    manifest["auto_dtype"] = true.into();
    std::fs::write(path, manifest.to_string()).expect("writable");

    let said = begin(&[]);
    assert!(said.contains("begun in bf16, by `dtype: auto` of another machine, and goes on in it"), "{said}");
    assert_eq!(manifests().len(), 1);
    begin(&["--set", "run.dtype=f32"]);
    assert_eq!(manifests().len(), 2);
    // A sweep that was begun here is there now.
    assert!(!begin(&[]).contains("another machine"));
}

#[test]
fn a_word_that_is_no_type_is_refused_with_those_that_are() {
    let dir = Dir::new();
    dir.write("run.yaml", &undecided());
    for arguments in [
        &["train", "run.yaml", "--set", "dtype=bf61"][..],
        &["generate", "hello", "--model", "model", "--dtype", "bf61"],
        &["eval", "run.yaml", "--dtype", "bf61"],
    ] {
        let output = dir.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("write auto, f32, bf16 or f16"), "{arguments:?}: {said}");
        assert!(said.contains("bf61") && !said.contains("variant"), "{arguments:?}: {said}");
    }
}

#[test]
fn threads_are_those_asked_for_or_slurm_s() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let threads = |seed: &str, asked: Option<&str>, variables: &[(&str, &str)]| {
        let mut command = dir.reft(&["train", "run.yaml", "--set", "train.epochs=1", "--set", seed]);
        command.env_remove("OMP_NUM_THREADS").env_remove("MKL_NUM_THREADS").env_remove("REFT_CHOSE");
        command.envs(asked.map(|threads| ("OMP_NUM_THREADS", threads))).envs(variables.iter().copied());
        let output = command.output().expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let stdout = String::from_utf8(output.stdout).expect("text");
        let run = stdout.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder");
        read(&dir.path().join(run).join("record.json"))["environment"]["threads"].clone()
    };
    let slurm = [("SLURM_CPUS_PER_TASK", "1")];
    assert_eq!(threads("seed=1", None, &slurm), 1);
    // libtorch has no more threads than the machine has cores, whatever was asked for.
    let asked = threads("seed=2", Some("2"), &[]);
    assert_eq!(threads("seed=3", Some("2"), &slurm), asked);
    // A process that was started anew is not started again, whatever it finds.
    assert_eq!(threads("seed=4", Some("2"), &[("REFT_CHOSE", "OMP_NUM_THREADS"), slurm[0]]), asked);
}

#[test]
fn a_model_that_cannot_be_trained_here_is_refused_before_its_weights_are_read() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let train = |limit: &str| {
        let mut command = dir.reft(&["train", "run.yaml"]);
        let output = command.env("SLURM_JOB_ID", "7").env("SLURM_MEM_PER_NODE", limit).output();
        output.expect("the program starts")
    };
    let refused = train("390");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let last = said.lines().last().unwrap_or_default();
    assert!(!refused.status.success() && last.starts_with("error: "), "{said}");
    for part in ["its weights need ", "MiB in f32", "this Slurm job's --mem", "smaller model"] {
        assert!(last.contains(part), "{part}: {said}");
    }
    // Loading would have said what the run takes in all, or which type it chose.
    assert!(!said.contains("memory: about") && !dir.path().join("runs").exists(), "{said}");
    for (limit, loaded) in [("8192", true), ("390", false)] {
        // A complete run is found without its model.
        let output = train(limit);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains("memory: about") == loaded, "{limit}: {said}");
    }
}
