//! Data files as people bring them, and what a score says about the rows it left out or cut: the real program on a tiny
//! model.

#![cfg(feature = "program")]

#[path = "support/encoder.rs"]
mod encoder;
mod encoders;
mod support;

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use support::{Dir, RUN};

const TEST: &str = "data.eval_split={test: {chosen_by: a test}}";
const REAL: [&str; 6] = ["--set", "data.source=real", "--set", TEST, "--set", "eval.max_new_tokens=2"];

/// Puts a file of ARC-Easy where the program looks for it.
fn put(dir: &Dir, split: &str, bytes: &[u8]) {
    let folder = dir.path().join("cache/data/dataset/ARC-Easy");
    std::fs::create_dir_all(&folder).expect("writable");
    std::fs::write(folder.join(format!("{split}.json")), bytes).expect("writable");
}

fn row(number: usize) -> Value {
    json!({"instruction": format!("Which of {number} is a tree?"), "input": "", "output": "", "answer": "answer2"})
}

fn rows(range: std::ops::Range<usize>) -> Vec<u8> {
    json!(range.map(row).collect::<Vec<_>>()).to_string().into_bytes()
}

fn eval(dir: &Dir, more: &[&str]) -> Output {
    let model = ["eval", "--model", "model", "--dtype", "f32", "--set", "data.eval=[arc_e]", "--out", "out"];
    dir.run(&[&model[..], &REAL, more].concat())
}

fn streams(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// What the program said on both streams.
fn said(output: &Output) -> (String, String) {
    let (out, aside) = streams(output);
    assert!(output.status.success(), "{aside}");
    (out, aside)
}

/// The one line that a refusal is.
fn refused(output: &Output) -> String {
    let (_, aside) = streams(output);
    let complaint: Vec<&str> = aside.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((output.status.code(), complaint.len()), (Some(1), 1), "{aside}");
    complaint[0].to_owned()
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("there")).expect("valid")
}

/// The only complete run's record.
fn record(dir: &Dir) -> Value {
    let runs = std::fs::read_dir(dir.path().join("runs")).expect("runs");
    let mut records = runs.map(|run| run.expect("readable").path().join("record.json")).filter(|path| path.exists());
    let record = json_of(&records.next().expect("a record"));
    assert!(records.next().is_none(), "one run");
    record
}

#[test]
fn scoring_takes_values_as_their_text_and_refuses_rows_without_an_answer() {
    let dir = Dir::new();
    let mut odd: Vec<Value> = (0..4).map(row).collect();
    odd[2] = json!({"instruction": "Which is 18?", "input": null, "answer": 18});
    let text = odd.iter().map(Value::to_string).collect::<Vec<_>>().join("\r\n");
    put(&dir, "test", format!("\u{feff}{text}").as_bytes());
    said(&eval(&dir, &[]));
    let predictions = std::fs::read_to_string(dir.path().join("out/predictions-arc_e.jsonl")).expect("kept");
    assert!(predictions.contains(r#""expected":"18""#) && !predictions.contains('\u{feff}'), "{predictions}");

    for (value, expected) in [
        (json!({"instruction": "q", "output": "the correct answer is answer1"}), "row 3: the row has no `answer`"),
        (json!({"instruction": "q", "label": "answer1"}), "(its keys are instruction, label)"),
        (json!({"instruction": "q", "answer": "  "}), "row 3: `answer` is blank"),
    ] {
        odd[2] = value;
        put(&dir, "test", json!(odd).to_string().as_bytes());
        let error = refused(&eval(&dir, &[]));
        assert!(error.contains("ARC-Easy/test.json: ") && error.contains(expected), "{error}");
        put(&dir, "train", json!(odd).to_string().as_bytes());
        dir.write("run.yaml", RUN);
        let error = refused(&dir.run(&[&["train", "run.yaml"], &REAL[..]].concat()));
        assert!(error.contains("ARC-Easy/train.json: ") && error.contains(expected), "{error}");
    }
    // Nine rows have no tenth.
    put(&dir, "train", &rows(0..9));
    let error = refused(&dir.run(&["train", "run.yaml", "--set", "data.source=real"]));
    assert!(error.contains("task arc_e: no rows to score"), "{error}");
}

#[test]
fn prompts_that_are_cut_are_counted_on_the_screen_in_the_record_and_in_lists() {
    let dir = Dir::new();
    let long = json!({"instruction": format!("Which is a tree? {}last words", "x".repeat(100)), "answer": "answer2"});
    put(&dir, "test", json!([row(0), long, row(1)]).to_string().as_bytes());
    put(&dir, "train", json!([row(2), row(3), long, row(4)]).to_string().as_bytes());
    dir.write("run.yaml", RUN);
    let settings = ["--set", "data.max_length=80", "--set", "train.epochs=1"];
    let (out, aside) = said(&dir.run(&[&["train", "run.yaml"], &REAL[..], &settings].concat()));
    let line = "arc_e: 1 of 3 prompts cut to 80 tokens (their ends are lost: …";
    assert!(aside.contains(line) && aside.contains("last words); raise data.max_length"), "{aside}");
    assert!(aside.contains("arc_e: 1 of 4 training rows are longer than data.max_length and left out"), "{aside}");
    assert!(out.contains("(0 of 3); 1 of 3 rows were cut to data.max_length"), "{out}");
    let record = record(&dir);
    assert_eq!(record["scores"]["arc_e"], json!({"correct": 0, "n": 3, "cut": 1}));
    let told = |use_: &str, fate: &str, of: usize| {
        let all = record["too_long"].as_array().expect("a list");
        all.iter().any(|rows| rows["use"] == use_ && rows["fate"] == fate && rows["rows"] == 1 && rows["of"] == of)
    };
    assert!(told("scoring", "cut", 3) && told("training", "left_out", 4), "{record}");
    let files = record["data_files"].as_array().expect("a list");
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|file| file["sha256"].as_str().is_some_and(|sum| sum.len() == 64)), "{record}");
    let (listed, _) = said(&dir.run(&["results"]));
    assert!(listed.contains(" cut ") && listed.contains("lost their ends"), "{listed}");

    let (out, aside) = said(&eval(&dir, &["--set", "data.max_length=80"]));
    assert!(aside.contains(line) && out.contains("1 of 3 rows were cut"), "{out}{aside}");
    let (out, aside) = said(&eval(&dir, &["--set", "data.max_length=400", "--overwrite"]));
    assert!(!aside.contains("prompts cut") && !out.contains("were cut"), "{out}{aside}");
    assert_eq!(json_of(&dir.path().join("out/scores.json"))["scores"]["arc_e"], json!({"correct": 0, "n": 3}));
}

#[test]
fn encoders_and_decoders_keep_predictions_of_one_form_that_can_be_compared() {
    let dir = encoder::dir();
    let adapt = ["adapt={reft: {intervention: loreft, rank: 2, positions: f3, tying: untied}}", TEST];
    let run = |task: &str, seed: &str| {
        let (learned, scored) = (format!("data.train=[{task}]"), format!("data.eval=[{task}]"));
        let lr = format!("train.lr={seed}");
        encoder::train(&dir, &[adapt[0], adapt[1], &learned, &scored, &lr])
    };
    for (task, paired) in [("mrpc", true), ("stsb", false), ("cola", true)] {
        let ((a, first), (b, second)) = (run(task, "5e-3"), run(task, "2e-3"));
        let (a, b) = (a.display().to_string(), b.display().to_string());
        let (shown, _) = said(&dir.run(&["compare", &a, &b]));
        let cells: Vec<&str> = shown.lines().nth(3).expect("a row").split_whitespace().collect();
        let percent = |record: &Value| 100.0 * record["scores"][task]["value"].as_f64().expect("a value");
        assert_eq!((cells[0], cells[2]), (task, format!("{:.2}", percent(&first)).as_str()), "{shown}");
        assert_eq!(cells[4], format!("{:+.2}", percent(&first) - percent(&second)), "{shown}");
        assert_eq!(cells.contains(&"–"), !paired, "{shown}");
        let path = Path::new(&a).join(format!("predictions-{task}.jsonl"));
        let text = std::fs::read_to_string(&path).expect("kept");
        let line: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("valid");
        assert!(line["instruction"].is_string() && line["answer"] == line["said"], "{line}");
        assert_eq!(line.get("correct").is_some_and(Value::is_boolean), paired, "{line}");

        // As files were kept before, and a damaged one.
        let old = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("valid");
            let second = line.get("input").cloned().unwrap_or(json!(""));
            json!({"text": line["instruction"], "second": second, "expected": line["expected"], "said": line["said"]})
        };
        let older: String = text.lines().map(|line| old(line).to_string() + "\n").collect();
        std::fs::write(&path, older).expect("writable");
        assert_eq!(said(&dir.run(&["compare", &a, &b])).0, shown, "{task}");
        std::fs::write(&path, text.replacen("\"said\"", "\"says\"", 1)).expect("writable");
        let expected = format!("predictions-{task}.jsonl:1: the prediction has no `said`");
        encoder::check(&dir, &["compare", &a, &b], &[&expected, "repeat the run"]);
    }
}

#[test]
fn texts_of_encoders_that_are_cut_are_counted() {
    let dir = encoder::dir();
    let (_, record) = encoder::train(&dir, &["data.max_length=30"]);
    let (cut, n) = (&record["scores"]["mrpc"]["cut"], &record["scores"]["mrpc"]["n"]);
    assert!(cut.as_u64().is_some_and(|cut| cut > 0 && cut <= n.as_u64().expect("a count")), "{record}");
    let uses: Vec<&str> =
        record["too_long"].as_array().expect("a list").iter().filter_map(|rows| rows["use"].as_str()).collect();
    assert_eq!(uses, ["training", "scoring"]);
}

#[test]
fn prompts_from_files_have_their_input_and_no_byte_order_mark() {
    let dir = Dir::new();
    let generate = |file: &str| {
        let output = dir.run(&["generate", "--file", file, "--model", "model", "--dtype", "f32", "--max-new", "2"]);
        let (out, aside) = streams(&output);
        let prompt = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            line["prompt"].as_str().expect("a prompt").to_owned()
        };
        if output.status.success() { Ok(out.lines().map(prompt).collect::<Vec<_>>()) } else { Err(aside) }
    };
    dir.write("a.txt", "\u{feff}one\r\n\r\n\u{feff}two\r\n");
    assert_eq!(generate("a.txt").expect("prompts"), ["one", "two"]);
    dir.write("a.json", r#"[{"instruction": "Add", "input": "1, 2"}, {"instruction": "Say", "input": null}]"#);
    assert_eq!(generate("a.json").expect("prompts"), ["Add\n\n1, 2", "Say"]);
    std::fs::write(dir.path().join("latin.txt"), b"one\nCaf\xe9\n").expect("writable");
    let error = generate("latin.txt").expect_err("refused");
    assert!(error.contains("latin.txt: line 2, byte 4 is not UTF-8") && error.lines().count() == 1, "{error}");
    let error = generate("none.jsonl").expect_err("refused");
    assert!(error.contains("none.jsonl: No such file") && error.contains("check the path"), "{error}");
}
