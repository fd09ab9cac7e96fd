//! What `reft train --data`, `eval` and `predict` say of a user's rows, and flags and overrides that contradict each other.

#![cfg(feature = "program")]

mod encoders;
#[path = "support/own.rs"]
mod own;
mod support;

use encoders::add;
use own::{CHAT, TRAIN, chat_row, done, refused, runs};
use support::Dir;

#[test]
fn the_rows_of_each_split_and_class_are_counted() {
    let dir = Dir::faq();
    let (said, noted) = done(&dir, &[&TRAIN[..], &["--split", "dev=2,test=4", "--out", "mine"]].concat());
    assert!(noted.contains("faq: 6 rows to train on, 2 dev, 4 test\n"), "{noted}");
    let test = "faq: 4 test rows were not read; once the setting is chosen: reft eval runs/";
    assert!(
        said.contains(test) && said.contains("--adapter mine --set 'data.eval_split={test: {chosen_by: ..}}'"),
        "{said}"
    );
    let (_, noted) = done(&dir, &[&TRAIN[..], &["--split", "dev=2,test=4", "--out", "mine"]].concat());
    assert!(noted.contains("done already, in runs/") && noted.contains("nothing is trained"), "{noted}");
    refused(&dir, &[&TRAIN[..], &["--split", "dev=1.0"]].concat(), &["--split dev=1.0", "a part below 1"]);
    add(&dir, "bert", "encoder");
    let rows = (0..12).map(|n| if n % 3 == 0 { format!("red {n},colour\n") } else { format!("cat {n},animal\n") });
    dir.write("words.csv", &format!("text,label\n{}", rows.collect::<String>()));
    let encoder = ["train", "--model", "encoder", "--data", "words.csv", "--epochs", "1", "--set", "dtype=f32"];
    let (_, noted) = done(&dir, &encoder);
    assert!(noted.contains("2 classes: `animal` 7, `colour` "), "{noted}");
}

#[test]
fn a_prompt_that_runs_into_its_completion_is_said() {
    let dir = Dir::faq();
    let (_, noted) = done(&dir, &[&TRAIN[..], &["--prompt", "question", "--completion", "answer"]].concat());
    assert!(noted.contains("faq: nothing stands between prompt and completion (`what is "), "{noted}");
    let (_, noted) = done(&dir, &[&TRAIN[..], &["--prompt", "{{ question }} ", "--completion", "answer"]].concat());
    assert!(!noted.contains("nothing stands between"), "{noted}");
}

#[test]
fn flags_that_an_override_contradicts_are_refused() {
    let dir = Dir::faq();
    let lora = "adapt={lora: {rank: 2, alpha: 4, components: [query]}}";
    for (flags, parts) in [
        (&["--rank", "2", "--set", lora][..], ["--rank is adapt.reft.rank", "--set chooses lora instead"]),
        (&["--set", "data.train=[arc_e]"], ["--data and --set both say data.train", "leave one"]),
        (&["--rank", "2", "--set", "adapt.reft.rank=3"], ["--rank and --set both say adapt.reft.rank", "leave one"]),
        (&["--set", "adapt={lora: {rank: 2, alpha: 4}, ia3: {}}"], ["ia3", "lora"]),
        (&["--print-config", "--rank", "0"], ["rank 0 is impossible", "choose 1 to 64"]),
    ] {
        refused(&dir, &[&TRAIN[..], flags].concat(), &parts);
    }
    assert!(runs(&dir).is_empty(), "{:?}", runs(&dir));
    done(&dir, &[&TRAIN[..], &["--rank", "2", "--set", "adapt.reft.rank=2", "--print-config"]].concat());
}

#[test]
fn every_method_ends_with_answers_of_both_models() {
    let dir = Dir::faq();
    for (name, adapt) in [
        ("dora", "adapt={dora: {rank: 2, alpha: 4, components: [query]}}"),
        ("full", "adapt={full: {}}"),
        ("prefix", "adapt={prefix: {tokens: 3}}"),
    ] {
        let (said, _) = done(&dir, &[&TRAIN[..], &["--set", adapt, "--out", name]].concat());
        assert!(said.contains("dev loss: ") && said.contains(&format!("adapter {name}: ")), "{name}: {said}");
    }
}

#[test]
fn virtual_tokens_take_their_part_of_the_context() {
    let dir = Dir::faq();
    let long = [&TRAIN[..], &["--set", "adapt={prefix: {tokens: 100000}}"]].concat();
    refused(
        &dir,
        &long,
        &["tokens after 100000 virtual ones of the prefix are more than the ", "fewer virtual tokens"],
    );
    assert!(runs(&dir).is_empty(), "{:?}", runs(&dir));
}

#[test]
fn trained_rows_are_said_before_a_score_and_a_copy_of_their_file_is_known() {
    let dir = Dir::faq();
    done(&dir, &[&TRAIN[..], &["--out", "mine"]].concat());
    let eval = |dev: usize| {
        let set = "file: faq.jsonl, prompt: \"{{ question }}\\n\", completion: answer, score: exact";
        let rows = format!("data.eval=[{{{set}, split: {{dev: {dev}}}}}]");
        ["eval", "--adapter", "mine", "--dtype", "f32", "--out", "scores", "--set", &rows].map(str::to_owned)
    };
    let (six, five) = (eval(6), eval(5));
    let (_, noted) = done(&dir, &six.each_ref().map(String::as_str));
    assert!(noted.contains("of 6 dev questions are also trained on"), "{noted}");
    refused(&dir, &five.each_ref().map(String::as_str), &["--out scores", "another evaluation"]);
    std::fs::copy(dir.path().join("faq.jsonl"), dir.path().join("copy.jsonl")).expect("copied");
    let predict =
        ["predict", "copy.jsonl", "--adapter", "mine", "--dtype", "f32", "--max-new", "2", "--out", "said.jsonl"];
    let (_, noted) = done(&dir, &predict);
    assert!(noted.contains("copy.jsonl: the model was trained on rows of this file"), "{noted}");
    refused(&dir, &predict, &["--out said.jsonl: a file is there", "--overwrite"]);
    done(&dir, &[&predict[..], &["--overwrite"]].concat());
}

#[test]
fn a_file_without_tasks_to_score_is_scored_on_its_own_rows() {
    let dir = Dir::faq();
    let data = "{train: [{file: faq.jsonl, prompt: \"{{ question }}\\n\", completion: answer, score: exact, split: {dev: 4}}]}";
    let adapt = "{reft: {intervention: loreft, rank: 2, positions: l1}}";
    dir.write("run.yaml", &format!("model: model\ndtype: f32\nadapt: {adapt}\ndata: {data}\ntrain: {{epochs: 1}}\n"));
    let (said, _) = done(&dir, &["train", "run.yaml"]);
    assert!(said.contains("faq: ") && said.contains("of 4)") && !said.contains("arc_e"), "{said}");
}

#[test]
fn files_of_a_folder_are_splits_by_their_names_which_is_said() {
    let dir = Dir::faq();
    std::fs::create_dir(dir.path().join("all")).expect("writable");
    let rows = std::fs::read_to_string(dir.path().join("faq.jsonl")).expect("rows");
    let lines: Vec<String> = rows.lines().map(|line| format!("{line}\n")).collect();
    dir.write("all/train.jsonl", &lines[..6].concat());
    dir.write("all/validation.jsonl", &lines[6..9].concat());
    dir.write("all/more.jsonl", &lines[9..].concat());
    let folder = TRAIN.map(|flag| if flag == "faq.jsonl" { "all" } else { flag });
    let (_, noted) = done(&dir, &folder);
    let files = "all: by the files' names, train from train.jsonl; dev from validation.jsonl; not read: more.jsonl\n";
    assert!(noted.contains(files) && noted.contains("all: 6 rows to train on, 3 dev, 0 test"), "{noted}");
    refused(&dir, &[&folder[..], &["--split", "dev=2"]].concat(), &["files of all are its dev rows by their names"]);
}

#[test]
fn calls_that_the_chat_template_does_not_write_are_refused() {
    let dir = Dir::new();
    dir.write("chat.jinja", CHAT);
    let call =
        r#""tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {}}}], "role": "assistant""#;
    let row = |n| chat_row(n).replace(r#""role": "assistant""#, call);
    dir.write("chat.jsonl", &(0..12).map(row).collect::<String>());
    let train = ["train", "--data", "chat.jsonl", "--model", "model", "--epochs", "1", "--chat-template", "chat.jinja"];
    refused(&dir, &train, &["chat.jsonl row ", "turn 2 has `tool_calls`, which the chat template does not write"]);
}

#[test]
fn wanted_answers_that_cannot_be_said_are_counted() {
    let dir = Dir::faq();
    let (_, noted) = done(&dir, &[&TRAIN[..], &["--score", "exact", "--split", "dev=3"]].concat());
    assert!(
        noted.contains("faq: 3 of 3 wanted answers are longer than the 2 tokens of eval.max_new_tokens"),
        "{noted}"
    );
    let (_, noted) = done(&dir, &[&TRAIN[..], &["--score", "number", "--split", "dev=3"]].concat());
    assert!(noted.contains("faq: 3 of 3 wanted answers are longer than the 2 tokens"), "{noted}");
    let enough = ["--score", "exact", "--split", "dev=3", "--set", "eval.max_new_tokens=60"];
    assert!(!done(&dir, &[&TRAIN[..], &enough].concat()).1.contains("wanted answers"));
}

#[test]
fn a_prompt_is_inspected_as_it_was_in_training() {
    let dir = Dir::faq();
    done(&dir, &[&TRAIN[..], &["--out", "mine"]].concat());
    let inspect = ["inspect", "what is 3", "--adapter", "mine", "--dtype", "f32"];
    let (whole, noted) = done(&dir, &inspect);
    assert!(noted.contains("\"what is 3\\n\" (--raw"), "{noted}");
    let (raw, noted) = done(&dir, &[&inspect[..], &["--raw"]].concat());
    assert!(whole.lines().count() == raw.lines().count() + 1 && !noted.contains("--raw"), "{whole}{raw}");
}

#[test]
fn a_correlation_that_is_not_defined_is_said() {
    let dir = Dir::new();
    add(&dir, "bert", "encoder");
    let rows: String = (0..12).map(|n| format!("text {n},1.5\n")).collect();
    dir.write("same.csv", &format!("text,label\n{rows}"));
    let train = ["train", "--model", "encoder", "--data", "same.csv", "--score", "pearson", "--epochs", "1"];
    let (_, noted) = done(&dir, &[&train[..], &["--split", "dev=3", "--set", "dtype=f32"]].concat());
    assert!(noted.contains("Pearson correlation is not defined for these 3 rows"), "{noted}");
}

#[test]
fn files_of_another_form_and_wrong_parts_are_named() {
    let dir = Dir::faq();
    let with = |file: &'static str| TRAIN.map(|flag| if flag == "faq.jsonl" { file } else { flag });
    dir.write(
        "splits.json",
        r#"{"train": [{"question": "a", "answer": "b"}], "dev": [{"question": "c", "answer": "d"}]}"#,
    );
    refused(&dir, &with("splits.json"), &["splits.json: it holds several lists of rows (train, dev)"]);
    dir.write("columns.json", r#"{"question": ["a", "c"], "answer": ["b", "d"]}"#);
    refused(&dir, &with("columns.json"), &["columns.json: it holds its columns as lists (question, answer)"]);
    let rows: String = (0..12).map(|n| format!("what is {n},{n} it is\n")).collect();
    dir.write("commas.tsv", &format!("question,answer\n{rows}"));
    let (_, noted) = done(&dir, &with("commas.tsv"));
    assert!(
        noted.contains("commas.tsv: read as values separated by commas, since its first line has no tab"),
        "{noted}"
    );
    refused(&dir, &[&TRAIN[..], &["--split", "dev=10%"]].concat(), &["--split dev=10%", "write 0.1 for it"]);
    refused(&dir, &[&TRAIN[..], &["--split", "dev=none.csv"]].concat(), &["split.dev names the file `none.csv`"]);
    done(&dir, &[&TRAIN[..], &["--out", "mine"]].concat());
    refused(&dir, &["predict", "--adapter", "mine", "none.csv"], &["none.csv: there is no such file or folder"]);
    let rows: String = (0..40).map(|n| format!("{{\"question\": \"{n}\", \"answer\": \"x\"}}\n")).collect();
    dir.write("faq.jsonl", &rows);
    refused(&dir, &[&TRAIN[..], &["--score", "number"]].concat(), &["faq.jsonl: row 1: "]);
}
