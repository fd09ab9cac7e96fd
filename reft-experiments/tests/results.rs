//! Lists of runs, and what is kept and said about the rows they were scored on.

#![cfg(feature = "program")]

mod support;

use serde_json::{Value, json};
use support::{Dir, RUN};

fn said(dir: &Dir, arguments: &[&str]) -> (String, String) {
    let output = dir.run(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn results_are_filtered_sorted_and_written_and_damage_is_named() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    for rank in ["1", "2", "4"] {
        said(&dir, &["train", "run.yaml", "--set", "train.epochs=1", "--set", &format!("adapt.reft.rank={rank}")]);
    }
    let rank = ["--show", "adapt.reft.rank", "--sort", "adapt.reft.rank"];
    let column = |further: &[&str]| {
        let (csv, said) = said(&dir, &[&["results", "--csv", "-"], &rank[..], further].concat());
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[0], "run,split,task,score,n,seconds,adapt.reft.rank");
        assert!(lines[1..].iter().all(|line| line.contains(",dev,arc_e,") && line.contains(",4,")), "{csv}");
        let rank = |line: &&str| line.rsplit(',').next().map(str::to_owned).expect("a cell");
        (lines[1..].iter().map(rank).collect::<Vec<_>>(), said)
    };
    assert_eq!(column(&[]).0, ["1", "2", "4"]);
    assert_eq!(column(&["--descending"]).0, ["4", "2", "1"]);
    assert_eq!(column(&["--where", "adapt.reft.rank=2.0", "--where", "split=dev"]).0, ["2"]);
    assert!(column(&["--where", "split=test"]).0.is_empty());
    check_peft_benchmark(&dir);
    let error = dir.run(&["results", "--sort", "train.lrr"]);
    assert!(String::from_utf8_lossy(&error.stderr).contains("train.lrr: no run has such a setting"));

    let runs = std::fs::read_dir(dir.path().join("runs")).expect("runs");
    let run =
        runs.map(|run| run.expect("readable").path()).find(|run| run.join("record.json").exists()).expect("a run");
    std::fs::write(run.join("record.json"), "{").expect("writable");
    let (ranks, complaint) = column(&[]);
    assert_eq!(ranks.len(), 2);
    assert!(complaint.contains("left out: runs/") && complaint.contains("not a run's record"), "{complaint}");
}

/// What peft's `processing.py` takes from a result file, and what it makes of it.
fn check_peft_benchmark(dir: &Dir) {
    let wanted = ["results", "--where", "adapt.reft.rank=2", "--format", "peft-benchmark", "--out", "peft"];
    let (said, _) = said(dir, &wanted);
    assert!(said.contains("peft: 1 result files"), "{said}");
    let files: Vec<_> = std::fs::read_dir(dir.path().join("peft")).expect("written").collect();
    let path = files[0].as_ref().expect("readable").path();
    assert!(path.file_name().expect("a name").to_string_lossy().starts_with("reft--model-"), "{}", path.display());
    let text = std::fs::read_to_string(&path).expect("text");
    let result: Value = serde_json::from_str(&text).expect("JSON");
    let (run, train, meta) = (&result["run_info"], &result["train_info"], &result["meta_info"]);
    assert_eq!((&run["peft_config"]["peft_type"], &run["peft_config"]["rank"]), (&json!("REFT"), &json!(2)));
    assert_eq!((&run["train_config"]["dtype"], &run["train_config"]["batch_size"]), (&json!("float32"), &json!(4)));
    let date = run["created_at"].as_str().expect("a date");
    assert!(date.len() == 25 && date.starts_with("20") && date.ends_with("+00:00"), "{date}");
    for key in
        ["accelerator_memory_reserved_avg", "accelerator_memory_max", "accelerator_memory_reserved_99th", "file_size"]
    {
        assert!(train[key].is_u64(), "{key}: {}", train[key]);
    }
    assert!(train["file_size"].as_u64() > train["num_trainable_params"].as_u64(), "{text}");
    assert_eq!((&train["status"], &train["metrics"][0]["step"]), (&json!("success"), &json!(12)));
    let metrics = &train["metrics"][0];
    assert!(metrics["train samples"].is_null(), "a record does not say how many rows there were");
    assert!(metrics["train loss"].is_f64() && metrics["train total tokens"].as_u64() > Some(48), "{metrics}");
    // Dev rows are no test rows.
    assert!(metrics["test accuracy"].is_null() && metrics["valid accuracy"].is_f64(), "{metrics}");
    assert!(meta["package_info"].as_object().expect("versions").contains_key("peft-version"), "{meta}");
}

#[test]
fn leaking_questions_are_named_before_training_and_readers_of_test_rows_are_noted() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    std::fs::create_dir_all(dir.path().join("cache/data/dataset/ARC-Easy")).expect("writable");
    // Every question twice, differing in a full stop: held out letter by letter, half of the dev rows are trained on.
    let row = |index: usize| {
        let stop = if index.is_multiple_of(2) { "" } else { "." };
        json!({"instruction": format!("Which of {}?{stop} Answer format: answer1/answer2", index / 2), "answer": "answer1"})
    };
    let rows = |range: std::ops::Range<usize>| json!(range.map(row).collect::<Vec<Value>>()).to_string();
    dir.write("cache/data/dataset/ARC-Easy/train.json", &rows(0..80));
    dir.write("cache/data/dataset/ARC-Easy/test.json", &rows(78..84));
    let real = [
        "--set",
        "data.source=real",
        "--set",
        "train.epochs=1",
        "--set",
        "data.train_rows=0",
        "--set",
        "data.eval_rows=0",
    ];
    let (_, dev) = said(&dir, &[&["train", "run.yaml"], &real[..]].concat());
    let leak = dev.find("dev questions are also trained on (0 letter by letter)").unwrap_or_else(|| panic!("{dev}"));
    assert!(leak < dev.find("run: step 0").unwrap_or_else(|| panic!("{dev}")), "{dev}");
    let reads = dir.path().join("runs/test-reads.jsonl");
    assert!(!reads.exists(), "no test rows were read");

    let test = ["--set", "data.eval_split={test: {chosen_by: a test}}"];
    let (_, test) = said(&dir, &[&["train", "run.yaml"], &real[..], &test].concat());
    assert!(test.contains("arc_e: 2 of 6 test questions are also trained on (2 letter by letter)"), "{test}");
    let text = std::fs::read_to_string(reads).expect("a note");
    let line: Value = serde_json::from_str(&text).expect("one line");
    assert_eq!((&line["chosen_by"], &line["tasks"]), (&json!("a test"), &json!(["arc_e"])));
    assert!(dir.path().join("runs").join(line["run"].as_str().expect("a run")).join("record.json").exists());
}

#[test]
fn two_runs_are_compared_row_by_row_if_they_answered_the_same_rows() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let train = |settings: &[&str]| {
        let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let (out, _) = said(&dir, &[&["train", "run.yaml", "--set", "train.epochs=1"], &settings[..]].concat());
        out.lines().find_map(|line| line.strip_prefix("run runs/")).expect("the run's folder").to_owned()
    };
    let (a, b, other) = (train(&[]), train(&["seed=7"]), train(&["data.eval_rows=3"]));
    // The tiny model answers nothing rightly; what is compared is what the files say.
    let predictions = dir.path().join(format!("runs/{a}/predictions-arc_e.jsonl"));
    let text = std::fs::read_to_string(&predictions).expect("predictions");
    std::fs::write(&predictions, text.replacen("\"correct\":false", "\"correct\":true", 3)).expect("writable");
    let (shown, _) = said(&dir, &["compare", &a, &b]);
    let cells: Vec<&str> = shown.lines().nth(3).expect("a row").split_whitespace().collect();
    assert_eq!(
        (cells[..2].to_vec(), cells[4], cells[8..].to_vec()),
        (vec!["arc_e", "4"], "+75.00", vec!["3", "0", "0.2500", "0.2500"]),
        "{shown}"
    );
    for (run, expected) in [(other.as_str(), "did not answer the same rows"), ("0123", "no complete run")] {
        let output = dir.run(&["compare", &a, run]);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && complaint.contains(expected), "{complaint}");
    }
}
