//! A user's file of texts with labels, learned by an encoder and asked again, by the command line alone; and a causal model asked
//! over a file.

#![cfg(feature = "program")]

mod encoders;
mod support;

use std::process::Output;

use encoders::add;
use serde_json::Value;
use support::Dir;

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Texts about animals and colours.
fn dir() -> Dir {
    let dir = Dir::new();
    add(&dir, "bert", "encoder");
    let rows: String = (0..30)
        .map(
            |n| if n % 2 == 0 { format!("cat {n}\tdog {n}\tanimal\n") } else { format!("red {n}\tblue {n}\tcolour\n") },
        )
        .collect();
    dir.write("words.tsv", &format!("first\tsecond\tkind\n{rows}"));
    dir
}

const TRAIN: [&str; 17] = [
    "train",
    "--model",
    "encoder",
    "--data",
    "words.tsv",
    "--text",
    "first",
    "--pair",
    "second",
    "--label",
    "kind",
    "--epochs",
    "2",
    "--rank",
    "2",
    "--set",
    "dtype=f32",
];

fn trained(dir: &Dir, more: &[&str]) -> (String, String) {
    let output = dir.run(&[&TRAIN[..], more].concat());
    let said = texts(&output);
    assert!(output.status.success(), "{}", said.1);
    said
}

fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("written");
    text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

#[test]
fn classes_are_found_kept_beside_the_adapter_and_predicted_with_their_probabilities() {
    let dir = dir();
    let (said, _) = trained(&dir, &["--score", "f1_macro", "--out", "adapter"]);
    assert!(said.contains("words: ") && said.contains("% macro F1 on 3 rows"), "{said}");
    assert!(said.contains("% of these rows are `") && said.contains("reft predict --adapter adapter"), "{said}");
    // A head of another run is no head of this adapter's.
    let other = dir.path().join("other");
    trained(&dir, &["--score", "f1_macro", "--out", "other", "--set", "seed=7"]);
    std::fs::copy(dir.path().join("adapter/head.safetensors"), other.join("head.safetensors")).expect("copied");
    let (_, said) = texts(&dir.run(&["predict", "words.tsv", "--dtype", "f32", "--adapter", "other"]));
    assert!(said.contains("error: other/head.safetensors: the head was trained by run "), "{said}");
    // To pyreft and back, with its head and labels.
    for to in [
        &["export", "adapter", "--to", "pyreft", "--out", "theirs"][..],
        &["import", "theirs", "--model", "encoder", "--out", "again"],
    ] {
        let output = dir.run(to);
        assert!(output.status.success(), "{}", texts(&output).1);
    }
    let asked = |adapter: &str| texts(&dir.run(&["predict", "words.tsv", "--dtype", "f32", "--adapter", adapter])).0;
    assert!(asked("adapter").lines().count() == 30 && asked("adapter") == asked("again/adapter"));
    // Another file, whose columns are called otherwise, without labels.
    dir.write("new.csv", "a,b\ncat,dog\nred,blue\n");
    let columns = ["predict", "--adapter", "adapter", "new.csv", "--text", "a", "--pair", "b", "--dtype", "f32"];
    let output = dir.run(&[&columns[..], &["--out", "said.jsonl"]].concat());
    assert!(output.status.success(), "{}", texts(&output).1);
    let said = lines(&dir.path().join("said.jsonl"));
    assert_eq!(said.iter().map(|line| line["row"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)]);
    for line in &said {
        let of = |class: &str| line["probabilities"][class].as_f64().expect("a probability");
        assert!((of("animal") + of("colour") - 1.0).abs() < 1e-6, "{line}");
        let likelier = if of("animal") > of("colour") { "animal" } else { "colour" };
        assert_eq!(line["prediction"], likelier);
        assert!(line.get("expected").is_none() && line.get("correct").is_none());
    }
    let output = dir.run(&[&columns[..], &["--format", "csv"]].concat());
    let (table, wrong) = texts(&output);
    assert!(table.starts_with("row,prediction,probabilities.animal,probabilities.colour\n1,"), "{table}{wrong}");
}

#[test]
fn rows_that_are_too_long_are_counted_and_named() {
    let dir = dir();
    let rows = std::fs::read_to_string(dir.path().join("words.tsv")).expect("there");
    let long = format!("{}\tdog\tanimal\n", "cat ".repeat(80));
    dir.write("words.tsv", &format!("{rows}{long}"));
    let cut = ["--set", "data.max_length=24"];
    let (_, said) = trained(&dir, &cut);
    // Row 31 is in the training rows or in the dev rows.
    let line = said.lines().find(|line| line.contains("cut to 24 tokens")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("raise data.max_length to keep them whole; they are words.tsv row 31"), "{line}");
    let run = std::fs::read_dir(dir.path().join("runs")).expect("runs").next().expect("one").expect("readable").path();
    let record: Value =
        serde_json::from_str(&std::fs::read_to_string(run.join("record.json")).expect("a record")).expect("JSON");
    assert_eq!(
        (&record["too_long"][0]["rows"], &record["too_long"][0]["named"][0]),
        (&1.into(), &"words.tsv row 31 (line 32)".into())
    );
}

#[test]
fn small_classes_are_in_every_split() {
    let dir = Dir::new();
    add(&dir, "bert", "encoder");
    let rows: String = (0..40).map(|n| format!("text {n},{}\n", if n % 13 == 12 { "rare" } else { "usual" })).collect();
    dir.write("rare.csv", &format!("text,label\n{rows}"));
    let set = "[{file: rare.csv, text: text, label: label, split: {dev: 0.1, test: 0.1}}]";
    dir.write(
        "run.yaml",
        "model: encoder\ndtype: f32\nadapt: {reft: {intervention: loreft, rank: 1, positions: f1}}\n",
    );
    let counted = |split: &str| {
        let sets = ["train", "eval"].map(|part| format!("data.{part}={set}"));
        let split = format!("data.eval_split={split}");
        let output = dir.run(&["train", "run.yaml", "--set", &sets[0], "--set", &sets[1], "--set", &split]);
        let (said, wrong) = texts(&output);
        assert!(output.status.success(), "{wrong}");
        let run = said.lines().find_map(|line| line.strip_prefix("run ")).expect("a run").to_owned();
        let said = lines(&dir.path().join(run).join("predictions-rare.jsonl"));
        (said.len(), said.iter().filter(|line| line["expected"] == "rare").count())
    };
    assert_eq!(counted("dev"), (4, 1));
    assert_eq!(counted("{test: {chosen_by: nothing}}"), (4, 1));
}

#[test]
fn a_file_with_labels_is_scored_as_training_scored_it() {
    let dir = dir();
    // The dev rows of the file that was trained on are those that the run scored.
    let train: Vec<&str> = TRAIN.into_iter().filter(|flag| !["--pair", "second"].contains(flag)).collect();
    dir.write("dev.tsv", "first\tkind\ncat x\tanimal\nred y\tcolour\nblue z\tcolour\n");
    let output = dir.run(&[&train[..], &["--split", "dev=dev.tsv"]].concat());
    let (said, wrong) = texts(&output);
    assert!(output.status.success(), "{wrong}");
    let run = said.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder").to_owned();
    let score = said.lines().find(|line| line.starts_with("words: ")).expect("a score").to_owned();
    let adapter = format!("{run}/adapter");
    let output = dir.run(&["predict", "--adapter", &adapter, "dev.tsv", "--dtype", "f32"]);
    let (_, wrong) = texts(&output);
    assert!(output.status.success() && wrong.lines().any(|line| line == score), "{score} is not in: {wrong}");
    let description = "data.eval=[{file: words.tsv, text: first, label: kind, split: {dev: dev.tsv}}]";
    let output = dir.run(&[
        "eval",
        "--adapter",
        &adapter,
        "--dtype",
        "f32",
        "--set",
        description,
        "--set",
        &description.replace("eval", "train"),
    ]);
    let (said, wrong) = texts(&output);
    assert!(said.lines().any(|line| line == score), "{score} is not in: {said}{wrong}");
}

#[test]
fn numbers_are_learned_and_predicted() {
    let dir = Dir::new();
    add(&dir, "bert", "encoder");
    let rows: String =
        (0..24).map(|n| format!("{{\"text\": \"number {n}\", \"size\": {}}}\n", f64::from(n) / 7.0 - 1.0)).collect();
    dir.write("sizes.jsonl", &rows);
    let output = dir.run(&[
        "train",
        "--model",
        "encoder",
        "--data",
        "sizes.jsonl",
        "--text",
        "text",
        "--label",
        "size",
        "--score",
        "spearman",
        "--epochs",
        "1",
        "--out",
        "adapter",
        "--set",
        "dtype=f32",
        "--split",
        "dev=4",
    ]);
    let (said, wrong) = texts(&output);
    assert!(output.status.success() && said.contains("Spearman correlation on 4 rows"), "{said}{wrong}");
    let output = dir.run(&["predict", "--adapter", "adapter", "sizes.jsonl", "--dtype", "f32", "--out", "said.csv"]);
    assert!(output.status.success(), "{}", texts(&output).1);
    let table = std::fs::read_to_string(dir.path().join("said.csv")).expect("written");
    let second: Vec<&str> = table.lines().nth(1).expect("a row").split(',').collect();
    assert_eq!((table.lines().next(), table.lines().count()), (Some("row,prediction,expected"), 25));
    assert!(second[0] == "1" && second[1].parse::<f64>().is_ok() && second[2] == "-1", "{second:?}");
}

#[test]
fn a_causal_model_answers_a_file_by_the_templates_it_was_trained_with() {
    let dir = Dir::new();
    let rows: String =
        (0..12).map(|n| format!("{{\"question\": \"what is {n}\", \"answer\": \"{n} it is\"}}\n")).collect();
    dir.write("faq.jsonl", &rows);
    let tiny = ["--model", "model", "--set", "dtype=f32", "--set", "eval.max_new_tokens=4"];
    let flags = ["train", "--data", "faq.jsonl", "--epochs", "1", "--score", "exact", "--out", "adapter"];
    let output = dir.run(&[&flags[..], &tiny].concat());
    assert!(output.status.success(), "{}", texts(&output).1);
    dir.write("asked.csv", "question,answer\nwhat is 3,3 it is\nwhat is love,\n");
    let output = dir.run(&["predict", "--adapter", "adapter", "asked.csv", "--dtype", "f32", "--out", "said.jsonl"]);
    let (_, wrong) = texts(&output);
    assert!(output.status.success(), "{wrong}");
    assert!(
        wrong.contains("faq: ") && wrong.contains("of 1)") && wrong.contains("1 of 2 rows have no answer"),
        "{wrong}"
    );
    let said = lines(&dir.path().join("said.jsonl"));
    assert_eq!((&said[0]["expected"], said[0]["correct"].is_boolean()), (&Value::from("3 it is"), true));
    assert!(said[1].get("expected").is_none() && said[1]["prediction"].is_string() && said[1]["said"].is_string());
    // What `reft generate` says to the same text.
    let output = dir.run(&["generate", "--adapter", "adapter", "--dtype", "f32", "--max-new", "4", "what is love\n"]);
    assert_eq!(texts(&output).0.trim(), said[1]["said"].as_str().expect("a text").trim());
}

#[test]
fn mistakes_are_one_line_with_file_row_and_remedy() {
    let dir = dir();
    dir.write("one.csv", "text,label\na,x\nb,x\nc,x\n");
    dir.write("empty.csv", "text,label\na,x\nb,\n");
    dir.write("train.csv", "text,label\na,x\nb,y\n");
    dir.write("dev.csv", "text,label\nc,x\nd,z\n");
    let data = |file: &str, more: &str| {
        let set = format!("[{{file: {file}, text: text, label: label{more}}}]");
        ["train", "eval"].map(|part| format!("data.{part}={set}"))
    };
    dir.write(
        "run.yaml",
        "model: encoder\ndtype: f32\nadapt: {reft: {intervention: loreft, rank: 1, positions: f1}}\n",
    );
    for (file, more, parts) in [
        ("one.csv", "", ["data set one: every training row has the label `x`", "rows of another class"]),
        ("empty.csv", "", ["empty.csv: row 2 (line 3)", "the label is empty: fill it in"]),
        (
            "train.csv",
            ", classes: [x, q]",
            ["train.csv: row 2 (line 3): the label `y` is none of the classes x, q", "add it to classes"],
        ),
        (
            "train.csv",
            ", split: {dev: dev.csv}",
            ["dev.csv: row 2 (line 3): this dev row has the label `z`", "list all of them in classes"],
        ),
        ("train.csv", ", split: {dev: 0}", ["no dev rows are left", "split.dev"]),
        ("train.csv", ", score: pearson", ["the answer `x` has no number", "correct it"]),
        ("train.csv", ", score: exact", ["score: exact needs prompt and completion", "another score"]),
        ("train.csv", ", classes: [x]", ["classes: fewer than two", "list every class"]),
    ] {
        let [train, eval] = data(file, more);
        let output = dir.run(&["train", "run.yaml", "--set", &train, "--set", &eval]);
        let (_, wrong) = texts(&output);
        let complaint: Vec<&str> = wrong.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(!output.status.success() && complaint.len() == 1, "{file}{more}: {wrong}");
        assert!(parts.iter().all(|part| complaint[0].contains(part)), "{file}{more}: {}", complaint[0]);
    }
    let output = dir.run(&["predict", "--adapter", "encoder", "words.tsv"]);
    assert!(texts(&output).1.contains("task.json: there is no such file"), "{}", texts(&output).1);
}
