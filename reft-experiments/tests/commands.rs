//! The commands on a tiny model: what a user sees.

#![cfg(feature = "program")]

mod support;

use serde_json::json;
use support::{Dir, RUN};

fn said(dir: &Dir, arguments: &[&str]) -> String {
    let output = dir.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn inspect_shows_what_is_edited() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let untied = ["--set", "adapt.reft.tying=untied", "--set", "adapt.reft.layers=[0,1,3]"];
    let shown = said(&dir, &[&["inspect", "hello", "--config", "run.yaml"][..], &untied].concat());
    insta::assert_snapshot!(shown);
}

#[test]
fn a_trained_adapter_is_scored_again_to_the_same_result() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let trained = said(&dir, &["train", "run.yaml", "--set", "train.epochs=1"]);
    let run = trained.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder").to_owned();
    let adapter = format!("{run}/adapter");
    let scored = said(&dir, &["eval", "run.yaml", "--adapter", &adapter, "--dtype", "f32", "--out", "again"]);
    let score = |text: &str| text.lines().find(|line| line.starts_with("arc_e: ")).map(str::to_owned);
    assert_eq!(score(&scored), score(&trained));
    let predictions = |path: &str| std::fs::read(dir.path().join(path)).expect("predictions");
    assert_eq!(predictions("again/predictions-arc_e.jsonl"), predictions(&format!("{run}/predictions-arc_e.jsonl")));
}

#[test]
fn a_run_of_a_configuration_is_copied_where_asked_and_takes_no_flag_of_data_files() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let refused = dir.reft(&["train", "run.yaml", "--rank", "16"]).output().expect("the program starts");
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("--rank"), "{error}");
    assert!(!dir.path().join("runs").exists());
    let trained = said(&dir, &["train", "run.yaml", "--set", "train.epochs=1", "--out", "mine"]);
    let run = trained.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder");
    let tensors =
        |folder: &str| std::fs::read(dir.path().join(folder).join("adapter_model.safetensors")).expect("there");
    assert_eq!(tensors("mine"), tensors(&format!("{run}/adapter")));
}

#[test]
fn a_table_has_rows_on_request_and_says_what_they_cost() {
    let dir = Dir::new();
    dir.write("printed.csv", "model,method,params_percent,arc_e,avg,origin\n");
    dir.write(
        "t.yaml",
        "title: T
printed: printed.csv
profiles:
  quick:
    purpose: a test
    tasks: [arc_e]
    seeds: [1]
    run: {dtype: f32, data: {source: embedded, train_rows: 8, eval_rows: 3}, eval: {max_new_tokens: 2}}
    models: [{name: Tiny, model: model}]
    methods:
      - name: base model
      - name: LoReFT
        run: {adapt: {reft: {intervention: loreft, rank: 2, positions: f1}}}
      - name: LoRA
        on_request: true
        run: {adapt: {lora: {rank: 2, alpha: 4}}, data: {train_rows: 4}}
",
    );
    let plain = said(&dir, &["table", "t.yaml"]);
    assert!(!plain.contains("LoRA") && !plain.contains("trained: "), "{plain}");
    let all = said(&dir, &["table", "t.yaml", "--methods", "all", "--cost"]);
    assert!(
        all.contains("| Tiny | LoRA |") && all.contains("made by `reft table t.yaml --profile quick --methods 'all'`"),
        "{all}"
    );
    assert!(all.contains("- trained: LoRA on 4 rows a task, 1 epoch, batches of 16; LoReFT on 8 rows a task"), "{all}");
    let results = dir.path().join("results/quick");
    let cost = std::fs::read_to_string(results.join("t-all-methods-cost.csv")).expect("written");
    let rows: Vec<Vec<&str>> = cost.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["model", "method", "parameters", "adapter_bytes", "train_s", "answer_s", "peak_MiB", "n"]);
    assert_eq!((rows[1][1], rows[1][2], rows[1][3], rows[1][4]), ("base model", "", "", ""));
    for row in &rows[2..] {
        let number = |at: usize| row[at].parse::<f64>().unwrap_or_else(|error| panic!("{row:?}: {error}"));
        assert!(number(3) > 4.0 * number(2), "{row:?}: four bytes a number and a header");
        assert!(number(4) > 0.0 && number(5) > 0.0 && number(6) > 1.0, "{row:?}");
    }
    assert_eq!(all.matches("| model | method |").count(), 2, "both tables are printed: {all}");
    let one = said(&dir, &["table", "t.yaml", "--methods", "lora"]);
    assert!(one.contains("| Tiny | LoRA |") && !one.contains("LoReFT"), "{one}");
    assert!(results.join("t.csv").exists() && results.join("t-lora.csv").exists());
    let wrong = dir.run(&["table", "t.yaml", "--methods", "LoREFT,LoRA2", "--dry-run"]);
    let text = String::from_utf8_lossy(&wrong.stderr);
    assert!(text.contains("t.yaml:10: profiles.quick.methods: `LoRA2` is unknown (did you mean `LoRA`?)"), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    let planned = said(&dir, &["table", "t.yaml", "--methods", "all", "--dry-run"]);
    assert!(planned.contains("3 runs, every setting checked") && planned.contains("64 parameters"), "{planned}");
}

#[test]
fn what_a_model_on_this_machine_does_not_have_is_said_before_anything_is_run() {
    let dir = Dir::new();
    let run = "dtype: f32, data: {source: embedded, train_rows: 8, eval_rows: 3}, eval: {max_new_tokens: 2}";
    let edits =
        |layers: &str| format!("adapt: {{reft: {{intervention: loreft, rank: 2, positions: f1, layers: {layers}}}}}");
    let table = format!(
        "title: T\nprofiles:\n  quick:\n    purpose: a test\n    tasks: [arc_e]\n    seeds: [1]\n    run: {{{run}}}\n    models: [{{name: \
         Tiny, model: model}}]\n    methods: [{{name: base model}}, {{name: LoReFT, run: {{{}}}}}, {{name: deep, run: {{{}}}}}]\n",
        edits("[1]"),
        edits("[4]")
    );
    dir.write("t.yaml", &table);
    for dry in [&[][..], &["--dry-run"]] {
        let output = dir.run(&[&["table", "t.yaml"], dry].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.starts_with("error: t.yaml: Tiny, deep: layer 4 does not exist"),
            "{error}"
        );
        assert!(!dir.path().join("runs").exists(), "the base model's row was not begun");
    }
    let sweep = format!(
        "title: s\nmethod: grid\nspace:\n  adapt.reft.layers: {{choices: [\"1\", \"4\"]}}\nrun: {{model: model, {}, {}}}\n",
        run.replace("data: {", "data: {train: [arc_e], eval: [arc_e], "),
        edits("all")
    );
    dir.write("s.yaml", &sweep);
    let listed = said(&dir, &["sweep", "run", "s.yaml", "--dry-run"]);
    assert!(listed.contains("adapt.reft.layers=4  will fail: layer 4 does not exist"), "{listed}");
    assert!(listed.contains("2 trials named, every setting checked; 1 will fail"), "{listed}");
}

#[test]
fn a_table_is_made_once_and_rendered_again_from_its_records() {
    let dir = Dir::new();
    dir.write("printed.csv", "model,method,params_percent,arc_e,avg,origin\nTiny,LoReFT,0.1,83.2,80.2,ReFT paper\n");
    let method = "{name: LoReFT, run: {adapt: {reft: {intervention: loreft, rank: 2, positions: f1}}}}";
    let real = |index: usize| json!({"instruction": format!("Which of {index}? Answer format: answer1/answer2"), "answer": "answer1"});
    std::fs::create_dir_all(dir.path().join("cache/data/dataset/ARC-Easy")).expect("writable");
    for (split, rows) in [("train", 0..330), ("test", 400..403)] {
        let rows: Vec<_> = rows.map(real).collect();
        dir.write(&format!("cache/data/dataset/ARC-Easy/{split}.json"), &json!(rows).to_string());
    }
    let profile = |printed: &str, source: &str| {
        format!(
            "    purpose: a test\n    tasks: [arc_e]\n    seeds: [1, 2]\n    run: {{dtype: f32, data: {{source: {source}, \
             train_rows: 8, eval_rows: 3}}, eval: {{max_new_tokens: 2}}}}\n    models: [{{name: Tiny, model: model{printed}}}]\n    \
             methods: [{{name: base model}}, {method}]\n"
        )
    };
    let (plain, same) = (profile("", "embedded"), profile(", printed_as: Tiny", "real"));
    dir.write("t.yaml", &format!("title: T\nprinted: printed.csv\nprofiles:\n  plain:\n{plain}  same:\n{same}"));
    let first = said(&dir, &["table", "t.yaml", "--profile", "plain"]);
    assert!(first.contains("| Tiny | LoReFT |") && !first.contains("as printed"), "{first}");
    let again = dir.run(&["table", "t.yaml", "--profile", "plain"]);
    assert!(!String::from_utf8_lossy(&again.stderr).contains("step"), "the runs are done already");
    assert_eq!(String::from_utf8(again.stdout).expect("text"), first);
    let beside = said(&dir, &["table", "t.yaml", "--profile", "same"]);
    assert!(beside.contains("ReFT paper, as printed"), "{beside}");
    let csv = std::fs::read_to_string(dir.path().join("results/plain/t.csv")).expect("written");
    assert!(csv.starts_with("model,method,params_percent,arc_e,avg,sd,n,origin\nTiny,base model,,"), "{csv}");
}
