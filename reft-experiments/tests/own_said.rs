//! What `reft train --data`, `eval` and `predict` say of a user's rows, and flags and overrides that contradict each other.

#![cfg(feature = "program")]

mod encoders;
#[path = "support/own.rs"]
mod own;
mod support;

use encoders::add;
use own::{TRAIN, done, refused, runs};
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
