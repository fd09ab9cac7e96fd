//! Runs of an encoder by the real program: every method's record, and one-line answers to mistakes.

#![cfg(feature = "program")]

#[path = "support/encoder.rs"]
mod encoder;
mod encoders;
mod support;

use encoder::{dir, train};
use serde_json::Value;

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
        let count = |expected: &str, answer: &str| {
            let hit = |line: Value| line["expected"] == expected && line["said"] == answer;
            predictions.lines().map(said).filter(|line| hit(line.clone())).count() as f64
        };
        let (found, wrong) = (count("1", "1"), count("0", "1") + count("1", "0"));
        let second = &record["scores"]["mrpc"]["second"];
        let f1 = if found + wrong == 0.0 { 0.0 } else { 2.0 * found / (2.0 * found + wrong) };
        assert_eq!(second["metric"], "f1");
        assert!((second["value"].as_f64().expect("a number") - f1).abs() < 1e-12, "{record}");
        assert_eq!(std::fs::read_to_string(run.join("epochs.jsonl")).expect("there").lines().count(), 2);
        assert_eq!(run.join("adapter").exists(), adapt.is_some());
        assert!(run.join("head.safetensors").exists() && !run.join("checkpoint.safetensors").exists());
    }
    let (run, record) = train(&dir, &["data.train=[stsb]", "data.eval=[stsb]"]);
    assert_eq!(record["scores"]["stsb"]["metric"], "pearson", "{record}");
    assert_eq!(record["scores"]["stsb"]["second"]["metric"], "spearman", "{record}");
    assert_eq!(record["scores"]["stsb"]["value"], record["best"]["value"], "a setting to be chosen sees watched rows");
    let listed = dir.run(&["results", "--where", "task=stsb", "--csv", "-"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let cells = |line: usize| listed.lines().nth(line).expect("a line").split(',').collect::<Vec<_>>();
    let at = cells(0).iter().position(|head| *head == "spearman").expect("a column for the second metric");
    assert!(!cells(0).contains(&"f1"), "{listed}");
    let second = record["scores"]["stsb"]["second"]["value"].as_f64().expect("a number");
    assert!((cells(1)[at].parse::<f64>().expect("a number") - 100.0 * second).abs() < 1e-9, "{listed}");
    let predictions = std::fs::read_to_string(run.join("predictions-stsb.jsonl")).expect("of the watched rows");
    assert_eq!(predictions.lines().count(), 20, "the held rows stay closed");
}

#[test]
fn a_loss_that_is_not_finite_keeps_the_adapter_and_the_head_of_the_last_finite_one() {
    let dir = dir();
    let loreft = "adapt={reft: {intervention: loreft, rank: 1, positions: f3}}";
    encoder::check(
        &dir,
        &["train", "run.yaml", "--set", "train.lr=1e38", "--set", loreft],
        &["loss", "lower the learning rate"],
    );
    let runs: Vec<_> = std::fs::read_dir(dir.path().join("runs")).expect("a run").collect();
    let run = runs[0].as_ref().expect("readable").path();
    assert!(run.join("failure.txt").exists() && !run.join("record.json").exists());
    for file in ["adapter/adapter_model.safetensors", "head.safetensors"] {
        let bytes = std::fs::read(run.join(file)).expect("the last good tensors");
        let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("whole");
        for (name, view) in tensors.iter() {
            let number = |four: &[u8]| f32::from_le_bytes(four.try_into().expect("four"));
            assert!(view.data().chunks(4).all(|four| number(four).is_finite()), "{file}: {name}");
        }
    }
    let (adapter, head) = (run.join("adapter"), run.join("head.safetensors"));
    let (adapter, head) = (adapter.to_string_lossy(), head.to_string_lossy());
    let scored = dir.run(&["eval", "run.yaml", "--adapter", &*adapter, "--head", &*head]);
    assert!(scored.status.success(), "{}", String::from_utf8_lossy(&scored.stderr));
}

#[test]
fn parity_trains_otherwise_and_is_kept_in_the_record() {
    let dir = dir();
    let direft = "adapt={reft: {intervention: direft, rank: 1, positions: f3, dropout: {p: 0.1}}}";
    let decay = "train.weight_decay=0.1";
    let adapter = |parity: &str| {
        let (run, record) = train(&dir, &[direft, decay, parity, "data.train=[stsb]", "data.eval=[stsb]"]);
        let bytes = std::fs::read(run.join("adapter/adapter_model.safetensors")).expect("an adapter");
        let head = std::fs::read(run.join("head.safetensors")).expect("a head");
        (record["plan"].clone(), [bytes, head])
    };
    let (none, plain) = adapter("train.parity=none");
    assert_eq!(none["train"]["parity"], "none");
    assert_eq!(none["adapt"]["reft"]["dropout"]["on"], "edit");
    for point in ["decay", "head_gradients", "dropout"] {
        let (plan, moved) = adapter(&format!("train.parity=[{point}]"));
        assert_eq!(plan["train"]["parity"], serde_json::json!([point]));
        assert_ne!(moved, plain, "{point} changes something");
    }
    let (pyreft, _) = adapter("train.parity=pyreft");
    assert_eq!(pyreft["adapt"]["reft"]["truncation"], "library");
    assert_eq!(pyreft["adapt"]["reft"]["dropout"]["on"], "state");
}

#[test]
fn broken_lines_of_a_published_file_are_left_out_and_said() {
    let dir = dir();
    let folder = dir.path().join("cache/data/glue_data/QQP");
    std::fs::create_dir_all(&folder).expect("writable");
    let head = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n";
    let lines =
        |count: usize| (0..count).map(|n| format!("{n}\t1\t2\twhat {n}?\twho {n}?\t{}\n", n % 2)).collect::<String>();
    let train = format!("{head}{}half of a line\n{}", lines(40), lines(10_000));
    std::fs::write(folder.join("train.tsv"), train).expect("writable");
    std::fs::write(folder.join("dev.tsv"), format!("{head}{}", lines(60))).expect("writable");
    let settings = ["data.source=real", "data.train=[qqp]", "data.eval=[qqp]", "train.epochs=1"];
    let (_, record) = encoder::train(&dir, &settings);
    assert_eq!(record["left_out"][0]["lines"], serde_json::json!([42]), "{record}");
    assert_eq!(record["left_out"].as_array().map(Vec::len), Some(1), "the other file is whole");
    assert_eq!(record["scores"]["qqp"]["second"]["metric"], "f1");
    let overrides = settings.iter().flat_map(|setting| ["--set", *setting]);
    let again = dir.run(&["train", "run.yaml", "--set", "seed=1"].into_iter().chain(overrides).collect::<Vec<_>>());
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("QQP/train.tsv: 1 broken lines are left out (42)"), "{said}");
}

#[test]
fn mistakes_are_answered_with_one_line() {
    let dir = dir();
    let check = |arguments: &[&str], parts: &[&str]| encoder::check(&dir, arguments, parts);
    let with = |setting: &'static str| ["train", "run.yaml", "--set", setting];
    check(&with("data.train=[mrpc,rte]"), &["data.train", "one task with labels"]);
    check(&with("data.eval=[arc_e]"), &["data.train", "one task with labels"]);
    check(&with("data.max_length=200"), &["mrpc row", "than the 68 that the model reads", "data.max_length to 68"]);
    check(&with("model=model"), &["config.json", "there are bert, roberta"]);
    check(&with("data.source=real"), &["glue_data/MRPC/train.tsv", "GLUE's MRPC", "REFT_DATA"]);
    check(&with("adapt={bitfit: {layers: all}}"), &["unknown key `adapt.bitfit.layers`"]);
    check(&with("train.lr=1e38"), &["loss", "mrpc row", "lower the learning rate"]);
    dir.write("words.yaml", support::RUN);
    check(&["train", "words.yaml", "--set", "model=encoder"], &["an encoder", "classification task"]);
    check(&["eval", "run.yaml", "--model", "encoder"], &["no classification head", "--adapter", "--head"]);
}
