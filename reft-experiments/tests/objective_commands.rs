//! Objectives chosen in a configuration, by the program.

#![cfg(feature = "program")]

mod support;

use std::process::Output;

use serde_json::Value;
use support::Dir;

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Rows with a preferred and a rejected answer.
fn preferences() -> Dir {
    let dir = Dir::new();
    let row = |n: usize| format!("{{\"q\": \"what is {n}\", \"good\": \"{n} it is\", \"bad\": \"no idea\"}}\n");
    dir.write("pairs.jsonl", &(0..16).map(row).collect::<String>());
    dir.write(
        "run.yaml",
        "model: model\ndtype: f32\nadapt: {reft: {intervention: loreft, rank: 2, positions: l2}}\ndata:\n  train: &pairs\n  \
         - {file: pairs.jsonl, prompt: \"{{ q }}\\n\", choices: [\"{{ good }}\", \"{{ bad }}\"], answer: \"{{ good }}\", split: \
         {dev: 4, test: 0}}\n  eval: *pairs\ntrain: {objective: {dpo: {beta: 0.5}}, epochs: 3, batch_size: 4, lr: 5e-3}\n",
    );
    dir
}

/// The losses of a run's updates.
fn losses(dir: &Dir, stdout: &str) -> Vec<f64> {
    let folder = stdout.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder");
    let text = std::fs::read_to_string(dir.path().join(folder).join("metrics.jsonl")).expect("metrics");
    let loss = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["loss"].as_f64().expect("a number");
    text.lines().map(loss).collect()
}

#[test]
fn preferences_are_learned_from_a_users_rows() {
    let dir = preferences();
    let (out, wrong) = said(&dir.run(&["train", "run.yaml"]));
    assert!(out.contains("run "), "{wrong}");
    let losses = losses(&dir, &out);
    assert!((losses[0] - std::f64::consts::LN_2).abs() < 0.2, "{losses:?}");
    assert!(losses.last().expect("updates") < &0.6, "{losses:?}");
    let kept = dir.path().join(out.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder"));
    let record = std::fs::read_to_string(kept.join("record.json")).expect("a record");
    assert!(record.contains("\"dpo\""), "{record}");
    // LoRA begins as the base model: no choice is preferred then.
    let lora = "adapt={lora: {rank: 2, alpha: 4}}";
    let (out, wrong) = said(&dir.run(&["train", "run.yaml", "--set", lora, "--set", "train.epochs=1"]));
    assert!(out.contains("run "), "{wrong}");
    assert!((self::losses(&dir, &out)[0] - std::f64::consts::LN_2).abs() < 1e-6);
    // Without the activation cache, in small passes, with gradient checkpointing: the same losses up to rounding.
    let settings = [
        "--set",
        "train.frozen_cache=false",
        "--set",
        "train.micro_batch_tokens=40",
        "--set",
        "train.recompute_blocks=1",
    ];
    let (out, wrong) = said(&dir.run(&[&["train", "run.yaml"][..], &settings].concat()));
    assert!(out.contains("run "), "{wrong}");
    for (one, other) in losses.iter().zip(self::losses(&dir, &out)) {
        assert!((one - other).abs() < 1e-3, "{one} and {other}");
    }
}

#[test]
fn a_context_is_distilled() {
    let dir = preferences();
    let set = "train.objective={context_distillation: {context: \"no idea no idea \"}}";
    let validated = ["--set", "train.validation={every: 4}", "--set", "train.lr=1e-2"];
    let (out, wrong) = said(&dir.run(&[&["train", "run.yaml", "--set", set][..], &validated].concat()));
    assert!(out.contains("run ") && wrong.contains("dev loss"), "{wrong}");
    let losses = losses(&dir, &out);
    assert!(losses[0] > 0.0 && losses[losses.len() - 1] < 0.9 * losses[0], "{losses:?}");
}

#[test]
fn the_default_written_out_is_the_same_run() {
    let dir = preferences();
    let run = |set: &str| {
        let (out, wrong) = said(&dir.run(&["train", "run.yaml", "--set", "train.epochs=1", "--set", set]));
        out.lines().find_map(|line| line.strip_prefix("run ").map(str::to_owned)).unwrap_or_else(|| panic!("{wrong}"))
    };
    let (word, section) = (run("train.objective=cross_entropy"), run("train.objective={cross_entropy: {}}"));
    assert_eq!(word, section);
    let text = std::fs::read_to_string(dir.path().join(&word).join("config.yaml")).expect("a configuration");
    assert!(!text.contains("objective"), "{text}");
    assert_ne!(word, run("train.objective=dpo"));
}

#[test]
fn mistakes_are_one_line_with_a_remedy() {
    let dir = preferences();
    dir.write("plain.jsonl", &"{\"q\": \"what\", \"a\": \"that\"}\n".repeat(8));
    let plain = "data.train=[{file: plain.jsonl, prompt: q, completion: a}]";
    for (set, parts) in [
        ("train.objective=dop", &["train.objective", "`dop`", "did you mean `dpo`"][..]),
        ("train.objective.dpo.bta=1", &["train.objective.dpo.bta", "did you mean `beta`"]),
        ("train.objective.dpo.beta=0", &["train.objective.dpo", "beta 0", "above 0"]),
        ("train.objective={context_distillation: {context: \"\"}}", &["context is empty"]),
        (plain, &["train.objective: dpo: plain.jsonl row 1", "no choices"]),
    ] {
        let (_, wrong) = said(&dir.run(&["train", "run.yaml", "--set", set]));
        let last = wrong.lines().last().unwrap_or_default();
        assert!(parts.iter().all(|part| last.contains(part)), "{set}: {wrong}");
    }
}

#[test]
fn objectives_are_listed_and_in_the_schema() {
    let dir = Dir::new();
    let (list, _) = said(&dir.run(&["list", "objectives"]));
    let (keys, _) = said(&dir.run(&["list", "keys"]));
    let (schema, _) = said(&dir.run(&["schema"]));
    for key in ["cross_entropy", "dpo", "context_distillation"] {
        assert!(list.lines().any(|line| line.starts_with(key)), "{key}: {list}");
        assert!(keys.contains(&format!("train.objective.{key}")), "{key}: {keys}");
        assert!(schema.contains(&format!("\"{key}\"")), "{key}");
    }
    assert!(keys.contains("train.objective.dpo.beta"), "{keys}");
}
