//! Tables and sweeps over a user's data sets, described in place or named by their files in `configs/data`.

#![cfg(feature = "program")]

mod encoders;
mod support;

use std::path::PathBuf;

use serde_json::Value;
use support::Dir;

/// Questions with their answers, and the beginning of a description of them.
fn dir() -> Dir {
    let dir = Dir::new();
    let rows: String = (0..16).map(|n| format!("{{\"q\": \"what is {n}\", \"a\": \"{n}\"}}\n")).collect();
    dir.write("faq.jsonl", &rows);
    std::fs::create_dir_all(dir.path().join("configs/data")).expect("writable");
    dir.write("quiz.csv", "q,a,b,right\none,x,y,0\ntwo,z,w,1\nthree,u,v,1\nfour,s,t,0\n");
    dir.write(
        "configs/data/quiz.yaml",
        "file: quiz.csv\nprompt: q\nchoices: ['{{ a }}', '{{ b }}']\nanswer: '{{ right }}'\nsplit: {dev: 0, test: 2}\n",
    );
    dir
}

const FAQ: &str = "{file: faq.jsonl, prompt: q, completion: a, score: nll, split: {dev: 3, test: 4}}";

fn said(dir: &Dir, arguments: &[&str]) -> String {
    let output = dir.run(arguments);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {wrong}");
    String::from_utf8(output.stdout).expect("text")
}

fn cells(table: &str, method: &str) -> Vec<String> {
    let row = table.lines().find(|line| line.contains(&format!("| {method} |"))).unwrap_or_else(|| panic!("{table}"));
    row.split('|').map(|cell| cell.trim().trim_matches('*').to_owned()).collect()
}

/// The records of all runs.
fn records(dir: &Dir) -> Vec<Value> {
    let runs = std::fs::read_dir(dir.path().join("runs")).expect("runs");
    let paths: Vec<PathBuf> = runs.map(|run| run.expect("readable").path().join("record.json")).collect();
    let read = |path: &PathBuf| std::fs::read_to_string(path).ok();
    paths.iter().filter_map(read).map(|text| serde_json::from_str(&text).expect("a record")).collect()
}

#[test]
fn a_table_has_columns_of_a_users_data_sets() {
    let dir = dir();
    let table = format!(
        "title: Mine\nprofiles:\n  quick:\n    purpose: a test\n    tasks: [{FAQ}, quiz]\n    seeds: [1]\n    run: {{dtype: f32, data: \
         {{eval_split: {{test: {{chosen_by: nothing}}}}}}, train: {{batch_size: 8}}}}\n    models: [{{name: Tiny, model: model}}]\n    \
         methods: [{{name: base}}, {{name: LoReFT, run: {{adapt: {{reft: {{intervention: loreft, rank: 1, positions: l1}}}}}}}}]\n"
    );
    dir.write("mine.yaml", &table);
    said(&dir, &["table", "mine.yaml", "--profile", "quick", "--dry-run"]);
    let made = said(&dir, &["table", "mine.yaml", "--profile", "quick"]);
    assert!(made.contains("| faq") && made.contains("| quiz |"), "{made}");
    let records = records(&dir);
    assert_eq!(records.len(), 2);
    for (method, trained) in [("base", false), ("LoReFT", true)] {
        let record = records.iter().find(|record| record["plan"]["adapt"].is_null() != trained).expect("its run");
        let score = |task: &str| record["scores"][task]["value"].as_f64().expect("a score");
        let cells = cells(&made, method);
        assert!(cells.contains(&format!("{:.1}", 100.0 * score("quiz"))), "{cells:?}: {record}");
        let rows = [&record["scores"]["faq"]["n"], &record["scores"]["quiz"]["n"]];
        assert_eq!(rows, [4, 2], "test rows: {record}");
        assert_eq!(record["plan"]["data"]["eval"][0]["file"], "faq.jsonl");
    }
    assert_eq!(
        said(&dir, &["table", "mine.yaml", "--profile", "quick", "--stored"]).lines().next(),
        made.lines().next()
    );
}

#[test]
fn a_table_has_a_run_for_each_data_set_with_labels() {
    let dir = Dir::new();
    encoders::add(&dir, "roberta", "encoder");
    for name in ["reviews", "mails"] {
        let rows: String = (0..24).map(|n| format!("{name} {n},{}\n", ["good", "bad"][n % 2])).collect();
        dir.write(&format!("{name}.csv"), &format!("text,label\n{rows}"));
    }
    let set = |name: &str| format!("{{file: {name}.csv, text: text, label: label, split: {{dev: 4, test: 6}}}}");
    let (reviews, mails) = (set("reviews"), set("mails"));
    dir.write(
        "mine.yaml",
        &format!(
            "title: Mine\nprofiles:\n  quick:\n    purpose: a test\n    tasks: [{reviews}, {mails}]\n    seeds: [1]\n    run: {{dtype: f32, data: \
             {{max_length: 40, eval_split: {{test: {{chosen_by: nothing}}}}}}, train: {{batch_size: 8}}}}\n    models: [{{name: Tiny, model: \
             encoder}}]\n    methods: [{{name: LoReFT, run: {{adapt: {{reft: {{intervention: loreft, rank: 1, positions: f1}}}}}}}}]\n"
        ),
    );
    let made = said(&dir, &["table", "mine.yaml", "--profile", "quick"]);
    assert!(made.contains("| reviews | mails | avg |"), "{made}");
    assert_eq!(records(&dir).len(), 2, "a run each");
    assert!(cells(&made, "LoReFT")[4..7].iter().all(|cell| cell.parse::<f64>().is_ok()), "{made}");
}

#[test]
fn a_sweep_chooses_by_a_users_dev_rows_and_reports_the_test_rows() {
    let dir = dir();
    dir.write(
        "mine.yaml",
        &format!(
            "title: Mine\nrun:\n  model: model\n  dtype: f32\n  adapt: {{reft: {{intervention: loreft, rank: 1, positions: l1, layers: [1]}}}}\n  \
             data: {{train: [{FAQ}], eval: [{FAQ}]}}\n  train: {{batch_size: 8}}\nspace: {{train.lr: {{choices: [1e-3, 2e-2]}}}}\nmethod: \
             grid\nfinal: {{seeds: [1]}}\n"
        ),
    );
    let status = said(&dir, &["sweep", "run", "mine.yaml"]);
    assert!(status.contains("2 trials: 2 complete") && status.contains("1 of 1 test runs"), "{status}");
    let records = records(&dir);
    let counts = |split: &str| {
        let of = |record: &&Value| record["plan"]["data"]["eval_split"].is_string() == (split == "dev");
        let rows: Vec<u64> =
            records.iter().filter(of).filter_map(|record| record["scores"]["faq"]["n"].as_u64()).collect();
        rows
    };
    assert_eq!((counts("dev"), counts("test")), (vec![3, 3], vec![4]), "{records:?}");
    let best = said(&dir, &["sweep", "best", "mine.yaml"]);
    assert!(best.contains("test: "), "{best}");
    let nll = |record: &&Value| record["scores"]["faq"]["value"].as_f64().expect("a loss");
    let dev = || records.iter().filter(|record| record["plan"]["data"]["eval_split"].is_string());
    let winner = dev().min_by(|a, b| nll(a).total_cmp(&nll(b))).expect("a trial");
    let loser = dev().max_by(|a, b| nll(a).total_cmp(&nll(b))).expect("a trial");
    assert!(nll(&winner) < nll(&loser), "rates that differ give losses that differ");
    let told = format!("nll {:.4} on dev rows, run {}", nll(&winner), winner["id"].as_str().expect("a name"));
    assert!(best.contains(&told), "{best}: {told}");
    let reported = records.iter().find_map(|record| record["plan"]["data"]["eval_split"]["test"]["chosen_by"].as_str());
    assert!(reported.is_some_and(|by| by.contains(&told)), "{reported:?}: {told}");
    said(&dir, &["report", "--out", "out"]);
    let page = std::fs::read_to_string(dir.path().join("out/index.html")).expect("a page");
    let shown = format!("nll <strong>{:.3}</strong>", nll(&winner));
    assert!(page.contains(&shown) && !page.contains("nll in %") && !page.contains("dev rows, %"), "{shown}");
}

#[test]
fn a_sweep_refuses_to_take_the_mean_of_a_loss_and_a_percent() {
    let dir = dir();
    dir.write(
        "mine.yaml",
        &format!(
            "title: Mine\nrun:\n  model: model\n  dtype: f32\n  adapt: {{reft: {{intervention: loreft, rank: 1, positions: l1}}}}\n  \
             data: {{train: [{FAQ}], eval: [{FAQ}, quiz]}}\nspace: {{train.lr: {{choices: [1e-3, 2e-2]}}}}\nmethod: grid\n"
        ),
    );
    let output = dir.run(&["sweep", "run", "mine.yaml"]);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && wrong.trim().lines().count() == 1, "{wrong}");
    assert!(wrong.contains("mine.yaml:6: run.data.eval: faq by nll, quiz by acc have no mean"), "{wrong}");
    assert!(wrong.contains("make a sweep for each") && !dir.path().join("runs").exists(), "{wrong}");
}

#[test]
fn two_data_sets_of_one_name_are_told_apart_by_the_user() {
    let dir = dir();
    std::fs::create_dir(dir.path().join("other")).expect("writable");
    dir.write("other/faq.jsonl", "{\"q\": \"a\", \"a\": \"b\"}\n");
    let sets = format!("data.eval=[{FAQ}, {}]", FAQ.replace("faq.jsonl", "other/faq.jsonl"));
    let output = dir.run(&["eval", "--model", "model", "--dtype", "f32", "--set", &sets]);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && wrong.contains("give each a `name` of its own"), "{wrong}");
}
