//! Commonsense tables: the rows for guessing and for the base model by likelihood.

#![cfg(feature = "program")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Dir, RUN};

const TABLE: &str = "
title: T
printed: printed.csv
guessing: true
profiles:
  quick:
    purpose: a test
    tasks: [boolq, siqa]
    seeds: [1, 2]
    run: {dtype: f32, data: {source: embedded, eval_rows: 6}, eval: {max_new_tokens: 2}}
    models: [{name: Tiny, model: model}]
    methods: [{name: base model}, {name: 'base model, by likelihood', run: {eval: {by: likelihood}}}]
";

fn run(dir: &Dir, arguments: &[&str]) -> (String, String) {
    let output = dir.run(arguments);
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {wrong}");
    (said.into_owned(), wrong.into_owned())
}

/// Files of this name below a folder of runs.
fn files(runs: &Path, name: &str) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(runs).expect("runs").map(|run| run.expect("readable").path().join(name));
    folders.filter(|path| path.exists()).collect()
}

fn predictions(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("there");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn logs(prediction: &Value) -> Vec<f64> {
    let logs = prediction["likelihood"]["logs"].as_array().expect("logs");
    logs.iter().map(|log| log.as_f64().expect("a number")).collect()
}

/// The part of a task's rows whose likeliest answer is right, in percent.
fn likeliest(runs: &Path, task: &str, word: impl Fn(usize) -> String) -> f64 {
    let all = files(runs, &format!("predictions-{task}.jsonl")).into_iter().map(|path| predictions(&path));
    let rows = all.into_iter().find(|rows| !rows[0]["likelihood"].is_null()).expect("a run by likelihood");
    let right = |row: &&Value| {
        let logs = logs(row);
        let best = (0..logs.len()).max_by(|a, b| logs[*a].total_cmp(&logs[*b])).expect("options");
        assert_eq!(row["answer"], word(best), "{row}");
        row["expected"] == word(best)
    };
    100.0 * rows.iter().filter(right).count() as f64 / rows.len() as f64
}

#[test]
fn a_commonsense_table_says_what_guessing_reaches_and_what_the_base_model_finds_likeliest() {
    let dir = Dir::new();
    dir.write("printed.csv", "model,method,params_percent,avg,origin\n");
    dir.write("t.yaml", TABLE);
    let (table, _) = run(&dir, &["table", "t.yaml", "--profile", "quick"]);
    assert!(table.contains("| any | guessing | – | 50.0 | 33.3 | 41.7 | 0 | chance |"), "{table}");
    let runs = dir.path().join("runs");
    let boolq = likeliest(&runs, "boolq", |option| ["true", "false"][option].to_owned());
    let siqa = likeliest(&runs, "siqa", |option| format!("answer{}", option + 1));
    let row = table.lines().find(|line| line.contains("by likelihood")).expect("the row");
    let cells: Vec<String> = row.split('|').map(|cell| cell.trim().trim_matches('*').to_owned()).collect();
    let average = f64::midpoint(boolq, siqa);
    assert_eq!(cells[4..8], [format!("{boolq:.1}"), format!("{siqa:.1}"), format!("{average:.1}"), "1".to_owned()]);
    let records = files(&runs, "record.json").len();
    assert_eq!(run(&dir, &["table", "t.yaml", "--profile", "quick"]).0, table);
    assert_eq!(files(&runs, "record.json").len(), records, "a run was done twice");
}

#[test]
fn options_that_differ_in_their_last_token_have_the_likelihoods_that_they_have_alone() {
    let dir = Dir::new();
    dir.write("quiz.csv", "q,a\none,0\ntwo,1\nthree,0\n");
    let mut found: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, choices) in
        [("together", "[\"a b c\", \"a b d\"]"), ("first", "[\"a b c\", x]"), ("second", "[z, \"a b d\"]")]
    {
        let set = format!(
            "data.eval=[{{file: quiz.csv, prompt: q, choices: {choices}, answer: '{{{{ a }}}}', split: {{dev: quiz.csv}}}}]"
        );
        run(&dir, &["eval", "--model", "model", "--dtype", "f32", "--set", &set, "--out", name]);
        let file = dir.path().join(name).join("predictions-quiz.jsonl");
        found.insert(name, predictions(&file).iter().flat_map(logs).collect());
    }
    for (at, (together, (first, second))) in
        found["together"].chunks(2).zip(found["first"].chunks(2).zip(found["second"].chunks(2))).enumerate()
    {
        assert!((together[0] - first[0]).abs() < 1e-5, "row {at}: {together:?} {first:?}");
        assert!((together[1] - second[1]).abs() < 1e-5, "row {at}: {together:?} {second:?}");
        assert!((together[0] - together[1]).abs() > 1e-3, "row {at}: both are one");
    }
}

#[test]
fn a_task_without_options_has_no_likeliest_answer() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let output = dir.run(&["train", "run.yaml", "--set", "eval.by=likelihood", "--set", "data.eval=[svamp]"]);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && wrong.contains("eval.by") && wrong.contains("leave it out"), "{wrong}");
}
