//! Every method from a run file to a score: trained, kept, read back, scored again; on a decoder and on an encoder.

#[path = "support/encoder.rs"]
mod encoder;
mod encoders;
mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::Dir;

/// A few updates of a method.
fn run_file(adapt: &str) -> String {
    format!(
        "model: model\ndtype: f32\nadapt: {adapt}\ndata: {{train: [arc_e], eval: [arc_e], train_rows: 12, eval_rows: 4}}\n\
         train: {{epochs: 2, batch_size: 4, lr: 5e-3, weight_decay: 0.01, checkpoint_every: 2}}\neval: {{max_new_tokens: 4}}\n"
    )
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("there")).expect("valid")
}

fn succeed(dir: &Dir, arguments: &[&str]) -> String {
    let output = dir.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Trains; the run's folder.
fn train(dir: &Dir, adapt: &str) -> PathBuf {
    dir.write("run.yaml", &run_file(adapt));
    let said = succeed(dir, &["train", "run.yaml"]);
    dir.path().join(said.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder"))
}

const LORA: &str = "{lora: {rank: 2, alpha: 4, components: [q, v], dropout: 0.1}}";

#[test]
fn every_method_trains_a_decoder_and_scores_again_what_training_recorded() {
    let dir = Dir::new();
    let staged = format!(
        "{{staged: [{{adapt: {LORA}}}, {{adapt: {{reft: {{intervention: loreft, rank: 2, positions: f2+l2}}}}, lr: 1e-3}}]}}"
    );
    let methods = [
        LORA,
        "{lora: {rank: 2, alpha: 4, components: [k, o, gate, up, down], layers: [0, -1], positions: f2+l2, rslora: true}}",
        "{dora: {rank: 2, alpha: 4, components: [q, down]}}",
        "{vera: {rank: 4, projection_key: 7}}",
        "{series_adapter: {bottleneck: 3}}",
        "{parallel_adapter: {bottleneck: 3, activation: relu}}",
        "{adapter: {bottleneck: 3}}",
        "{adapter_ffn: {bottleneck: 3}}",
        "{ia3: {}}",
        "{prefix: {tokens: 3}}",
        "{prefix: {tokens: 3, reparametrisation: 5}}",
        "{full: {}}",
        &staged,
    ];
    for adapt in methods {
        let run = train(&dir, adapt);
        let losses: Vec<f64> = std::fs::read_to_string(run.join("metrics.jsonl"))
            .expect("a trace")
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("valid")["loss"].as_f64().expect("a loss"))
            .collect();
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        assert!(mean(&losses[losses.len() - 2..]) < mean(&losses[..2]), "{adapt}: {losses:?}");
        let adapter = run.join("adapter").display().to_string();
        let out = format!("said-{}", run.file_name().expect("a name").to_string_lossy());
        succeed(&dir, &["eval", "run.yaml", "--adapter", &adapter, "--out", &out]);
        assert_eq!(
            json(&dir.path().join(out).join("scores.json"))["scores"],
            json(&run.join("record.json"))["scores"],
            "{adapt}"
        );
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_remedy() {
    let dir = Dir::new();
    let cases = [
        ("{lora: {rank: 0, alpha: 4}}", "rank 0 is impossible: choose 1 or more"),
        ("{lora: {rank: 2, alpha: 4, components: [block_output]}}", "block_output is none: choose query, key"),
        ("{lora: {rank: 2, alpha: 4, components: []}}", "components is empty"),
        ("{lora: {rank: 2, alpha: 4, components: [q, query]}}", "component query is listed twice"),
        ("{lora: {rank: 2, alpha: 4, layers: [9]}}", "layer 9 does not exist"),
        ("{lora: {rank: 2, alpha: 4, dropout: 1.5}}", "1.5 is not a probability"),
        ("{bitfit: {}}", "a model without biases has nothing for bitfit"),
        ("{prefix: {tokens: 0}}", "tokens 0 is impossible"),
        ("{joint: []}", "the list is empty"),
        ("{joint: [{adapt: {full: {}}}, {adapt: {dora: {rank: 1, alpha: 1}}}]}", "choose one of the two"),
        ("{joint: [{adapt: {staged: []}}]}", "staged cannot be a member"),
        ("{joint: [{adapt: {ia3: {}}, lr: -1}]}", "lr -1 is impossible"),
    ];
    for (adapt, part) in cases {
        dir.write("run.yaml", &run_file(adapt));
        let output = dir.run(&["train", "run.yaml"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(part) && !said.contains("panicked"), "{adapt}: {said}");
    }
}

#[test]
fn methods_train_an_encoder_and_score_again_what_training_recorded() {
    let dir = encoder::dir();
    let methods = [
        "adapt={lora: {rank: 2, alpha: 4, bias: all}}",
        "adapt={dora: {rank: 2, alpha: 4, components: [query, up, down]}}",
        "adapt={vera: {rank: 4}}",
        "adapt={adapter: {bottleneck: 3}}",
        "adapt={adapter_ffn: {bottleneck: 3}}",
        "adapt={prefix: {tokens: 3}}",
        "adapt={staged: [{adapt: {lora: {rank: 2, alpha: 4}}}, {adapt: {reft: {intervention: direft, rank: 1, positions: f2}}}]}",
    ];
    for adapt in methods {
        let (run, record) = encoder::train(&dir, &[adapt]);
        let adapter = run.join("adapter").display().to_string();
        succeed(&dir, &["eval", "run.yaml", "--adapter", &adapter, "--out", "said", "--overwrite"]);
        assert_eq!(json(&dir.path().join("said/scores.json"))["scores"], record["scores"], "{adapt}");
    }
}

#[test]
fn a_trained_adapter_is_exported_imported_again_and_merged() {
    let dir = Dir::new();
    let run = train(&dir, LORA);
    let adapter = run.join("adapter").display().to_string();
    let model = dir.path().join("model").display().to_string();
    succeed(&dir, &["export", &adapter, "--to", "peft", "--out", "peft"]);
    succeed(&dir, &["import", "peft", "--model", &model, "--out", "again"]);
    for (key, value, part) in [
        ("layers_to_transform", serde_json::json!([7]), "`layers_to_transform` is [7]"),
        ("target_modules", serde_json::json!(["up_proj"]), "`target_modules` is [\"up_proj\"]"),
        ("r", 9.into(), "`r` is 9"),
    ] {
        let path = dir.path().join("peft/adapter_config.json");
        let whole = std::fs::read_to_string(&path).expect("a configuration");
        let mut config: serde_json::Value = serde_json::from_str(&whole).expect("JSON");
        config[key] = value;
        std::fs::write(&path, config.to_string()).expect("writable");
        let refused = dir.run(&["import", "peft", "--model", &model, "--out", "other"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(part), "{said}");
        std::fs::write(&path, whole).expect("writable");
    }
    succeed(&dir, &["merge", &adapter, "--out", "merged"]);
    let scores = |arguments: &[&str], out: &str| {
        succeed(&dir, &[&["eval", "run.yaml", "--out", out], arguments].concat());
        std::fs::read_to_string(dir.path().join(out).join("predictions-arc_e.jsonl")).expect("predictions")
    };
    let expected = scores(&["--adapter", &adapter], "ours");
    assert_eq!(scores(&["--adapter", "again/adapter"], "imported"), expected);
    assert_eq!(scores(&["--model", "merged"], "merged-said"), expected);
    let refused = dir.run(&["merge", &adapter, "--out", "merged"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("merged: is there already"));
    let loreft = train(&dir, "{reft: {intervention: loreft, rank: 2, positions: f2+l2}}").join("adapter");
    let refused = dir.run(&["merge", &loreft.display().to_string(), "--out", "other"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("edits of block_output cannot be merged: it is the output of no linear map"), "{said}");
    assert!(!dir.path().join("other").exists());
    let refused = dir.run(&["export", &loreft.display().to_string(), "--to", "peft", "--out", "other"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("reft is not exported to peft"));
    succeed(&dir, &["export", &loreft.display().to_string(), "--to", "pyreft", "--out", "pyreft"]);
    succeed(&dir, &["import", "pyreft", "--model", &model, "--positions", "f2+l2", "--out", "loreft"]);
    // What the adapter was trained for goes with it.
    let task = |folder: &Path| json(&folder.join("task.json"));
    let (before, after) = (task(&loreft), task(&dir.path().join("loreft/adapter")));
    assert_eq!((&before["tasks"], &before["template"]), (&after["tasks"], &after["template"]));
    std::fs::remove_file(dir.path().join("pyreft/task.json")).expect("there");
    let bare = dir.run(&["import", "pyreft", "--model", &model, "--positions", "f2+l2", "--out", "bare"]);
    let said = String::from_utf8_lossy(&bare.stderr).into_owned();
    assert!(said.contains("pyreft: nothing there says what stood around prompts"), "{said}");
}

#[test]
fn a_trained_classifier_travels_with_its_head() {
    let dir = encoder::dir();
    encoders::add(&dir, "roberta", "robust");
    let (run, record) = encoder::train(&dir, &["model=robust", "adapt={lora: {rank: 2, alpha: 4}}"]);
    let adapter = run.join("adapter").display().to_string();
    succeed(&dir, &["export", &adapter, "--to", "peft", "--out", "peft"]);
    succeed(&dir, &["import", "peft", "--model", "robust", "--out", "known"]);
    succeed(&dir, &["eval", "run.yaml", "--adapter", "known/adapter", "--out", "said-known"]);
    assert_eq!(json(&dir.path().join("said-known/scores.json"))["scores"], record["scores"]);
    std::fs::remove_file(dir.path().join("peft/task.json")).expect("there");
    let refused = dir.run(&["import", "peft", "--model", "robust", "--out", "again"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("it holds a classification head: give --task"), "{said}");
    succeed(&dir, &["import", "peft", "--model", "robust", "--task", "mrpc", "--out", "again"]);
    succeed(&dir, &["eval", "run.yaml", "--adapter", "again/adapter", "--out", "said"]);
    assert_eq!(json(&dir.path().join("said/scores.json"))["scores"], record["scores"]);
    succeed(&dir, &["merge", &adapter, "--out", "merged"]);
    let config = json(&dir.path().join("merged/config.json"));
    assert_eq!(config["architectures"], serde_json::json!(["RobertaForSequenceClassification"]));
    assert_eq!(config["id2label"].as_object().map(serde_json::Map::len), Some(2), "{config}");
    let merged = reft_models::weights::read_tensors(&dir.path().join("merged/model.safetensors")).expect("a model");
    let head = reft_models::weights::read_tensors(&run.join("head.safetensors")).expect("a head");
    for (name, tensor) in head {
        let name = format!("classifier.{}", name.trim_start_matches("classifier."));
        assert_eq!(merged[&name], tensor, "{name}");
    }
}
