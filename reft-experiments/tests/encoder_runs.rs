//! Runs of an encoder by the real program: every method's record, and one-line answers to mistakes.

mod support;

use std::path::PathBuf;

use reft_core::testing::golden_dir;
use serde_json::Value;
use support::Dir;

const RUN: &str = "
model: encoder
dtype: f32
data: {train: [mrpc], eval: [mrpc], train_rows: 24, eval_rows: 20, max_length: 40}
train: {epochs: 2, batch_size: 8, lr: 5e-3}
";

/// A folder with the golden `bert` as `encoder/`, under the tokenizer of the other model there.
fn dir() -> Dir {
    let dir = Dir::new();
    let encoder = dir.path().join("encoder");
    std::fs::create_dir(&encoder).expect("writable");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden_dir().join("models/bert").join(file), encoder.join(file)).expect("copied");
    }
    std::fs::copy(dir.path().join("model/tokenizer.json"), encoder.join("tokenizer.json")).expect("copied");
    dir.write("run.yaml", RUN);
    dir
}

fn train(dir: &Dir, settings: &[&str]) -> (PathBuf, Value) {
    let overrides = settings.iter().flat_map(|setting| ["--set", *setting]);
    let arguments: Vec<&str> = ["train", "run.yaml"].into_iter().chain(overrides).collect();
    let output = dir.run(&arguments);
    assert!(output.status.success(), "{settings:?}: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let run = dir.path().join(said.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder"));
    let record = std::fs::read_to_string(run.join("record.json")).expect("a record");
    (run, serde_json::from_str(&record).expect("valid"))
}

#[test]
fn every_method_leaves_a_record_with_its_own_count_and_reads_the_held_rows_once() {
    let dir = dir();
    let test = "data.eval_split={test: {chosen_by: a test}}";
    let loreft = "adapt={reft: {intervention: loreft, rank: 1, positions: f3, tying: untied}}";
    let red = "adapt={reft: {intervention: red, rank: 1, positions: all, component: mlp_output}}";
    // Golden BERT: 4 layers of width 64 and inner width 128; biases of q, k, v, o and down, of up, of three kinds of norm.
    let biases = 4 * (5 * 64 + 128 + 2 * 64) + 64;
    let cases = [(Some(loreft), 4 * 129), (Some(red), 4 * 128), (Some("adapt={bitfit: {}}"), biases), (None, 0)];
    for (adapt, trained) in cases {
        let settings: Vec<&str> = [test].into_iter().chain(adapt).collect();
        let (run, record) = train(&dir, &settings);
        assert_eq!(record["parameters"]["trainable"], trained, "{adapt:?}");
        assert_eq!(record["parameters"]["head"], 64 * 64 + 64 + 2 * 64 + 2, "{adapt:?}");
        assert_eq!(
            (&record["scores"]["mrpc"]["metric"], &record["scores"]["mrpc"]["n"]),
            (&"accuracy".into(), &20.into())
        );
        let predictions = std::fs::read_to_string(run.join("predictions-mrpc.jsonl")).expect("there");
        let said = |line: &str| serde_json::from_str::<Value>(line).expect("valid");
        let right = predictions.lines().map(said).filter(|answer| answer["said"] == answer["expected"]).count();
        assert_eq!(predictions.lines().count(), 20);
        assert_eq!(record["scores"]["mrpc"]["value"], right as f64 / 20.0);
        assert_eq!(std::fs::read_to_string(run.join("epochs.jsonl")).expect("there").lines().count(), 2);
        assert_eq!(run.join("adapter").exists(), adapt.is_some());
        assert!(run.join("head.safetensors").exists() && !run.join("checkpoint.safetensors").exists());
    }
    let (run, record) = train(&dir, &["data.train=[stsb]", "data.eval=[stsb]"]);
    assert_eq!(record["scores"]["stsb"]["metric"], "pearson", "{record}");
    assert_eq!(record["scores"]["stsb"]["value"], record["best"]["value"], "a setting to be chosen sees watched rows");
    assert!(!run.join("predictions-stsb.jsonl").exists(), "the held rows stay closed");
}

#[test]
fn mistakes_are_answered_with_one_line() {
    let dir = dir();
    let check = |arguments: &[&str], parts: &[&str]| {
        let output = dir.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        let complaint: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!((output.status.code(), complaint.len()), (Some(1), 1), "{arguments:?}: {said}");
        for part in parts {
            assert!(complaint[0].contains(part), "{arguments:?}: `{part}` is not in: {}", complaint[0]);
        }
        assert!(!said.contains("panicked"), "{said}");
    };
    let with = |setting: &'static str| ["train", "run.yaml", "--set", setting];
    check(&with("data.train=[mrpc,rte]"), &["data.train", "one GLUE task"]);
    check(&with("data.eval=[arc_e]"), &["data.train", "one GLUE task"]);
    check(&with("data.max_length=200"), &["data.max_length: 200", "68 at most"]);
    check(&with("model=model"), &["config.json", "BERT's and RoBERTa's"]);
    check(&with("data.source=real"), &["glue_data/MRPC/train.tsv", "GLUE's MRPC", "REFT_DATA"]);
    check(&with("adapt={bitfit: {layers: all}}"), &["unknown key `adapt.bitfit.layers`"]);
    check(&with("train.lr=1e38"), &["loss", "mrpc row", "lower train.lr"]);
    dir.write("words.yaml", support::RUN);
    check(&["train", "words.yaml", "--set", "model=encoder"], &["an encoder", "GLUE task"]);
    check(&["train", "words.yaml", "--set", "adapt={full: {}}"], &["full trains the model's own weights"]);
    check(&["eval", "run.yaml", "--model", "model"], &["mrpc", "split", "reft train"]);
}
