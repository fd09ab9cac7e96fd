//! Rows of one's own that are found wanting before anything is written, and what is done without them.

#![cfg(feature = "program")]

mod encoders;
#[path = "support/own.rs"]
mod own;
mod support;

use encoders::add;
use own::{CHAT, TRAIN, chat_row, done, refused, runs};
use support::Dir;

#[test]
fn a_row_that_the_chat_template_refuses_leaves_no_folder() {
    let dir = Dir::new();
    dir.write("chat.jinja", &format!("{{{{ raise_exception('never') if messages[0].content == 'what is 7' }}}}{CHAT}"));
    dir.write("chat.jsonl", &(0..12).map(chat_row).collect::<String>());
    let train = ["train", "--data", "chat.jsonl", "--model", "model", "--epochs", "1", "--set", "dtype=f32"];
    refused(&dir, &[&train[..], &["--chat-template", "chat.jinja"]].concat(), &["chat.jsonl row 8", "never"]);
    dir.write(
        "chat.jinja",
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}{% endif %}{% endfor %}",
    );
    let empty = [&train[..], &["--chat-template", "chat.jinja"]].concat();
    refused(&dir, &empty, &["chat.jsonl row ", "the chat template writes nothing before the answer"]);
    assert!(runs(&dir).is_empty(), "{:?}", runs(&dir));
}

#[test]
fn all_rows_are_trained_on_where_none_are_held_out() {
    let dir = Dir::faq();
    let (said, _) = done(&dir, &[&TRAIN[..], &["--split", "dev=0", "--out", "mine"]].concat());
    assert!(said.contains("no dev rows were held out: nothing was scored"), "{said}");
    done(&dir, &["generate", "--adapter", "mine", "--dtype", "f32", "--max-new", "2", "what is 3"]);
    refused(&dir, &["eval", "runs/none.yaml"], &["runs/none.yaml"]);
    let config = format!("runs/{}/config.yaml", runs(&dir)[0]);
    refused(&dir, &["eval", &config, "--adapter", "mine"], &["data.eval: nothing is to be scored"]);
    add(&dir, "bert", "encoder");
    dir.write("words.csv", "text,label\ncat,animal\nred,colour\n");
    let encoder = ["train", "--model", "encoder", "--data", "words.csv", "--split", "dev=0"];
    refused(&dir, &encoder, &["no dev rows are left, by which an epoch is chosen", "split.dev"]);
}

#[test]
fn files_of_a_folder_that_hold_no_rows_are_named() {
    let dir = Dir::faq();
    std::fs::create_dir(dir.path().join("all")).expect("writable");
    std::fs::rename(dir.path().join("faq.jsonl"), dir.path().join("all/faq.jsonl")).expect("renamed");
    for name in ["notes.txt", ".hidden"] {
        dir.write(&format!("all/{name}"), "mine");
    }
    let folder = TRAIN.map(|flag| if flag == "faq.jsonl" { "all" } else { flag });
    let (_, noted) = done(&dir, &folder);
    assert!(noted.contains("all: not read, since no rows are in them: notes.txt\n"), "{noted}");
}

#[test]
fn a_sweep_that_ends_with_test_rows_needs_some() {
    let dir = Dir::faq();
    let sweep = |split: &str| {
        let data = format!("{{file: faq.jsonl, prompt: question, completion: answer, score: nll, split: {split}}}");
        let run = "model: model, dtype: f32, adapt: {reft: {intervention: loreft, rank: 2, positions: l1}}, train: {epochs: 1}";
        let space = "space: {train.lr: {choices: [1e-3, 4e-3]}}\nmethod: grid\nfinal: {seeds: [42]}\n";
        let text = format!("title: a sweep\nrun: {{{run}, data: {{train: [{data}], eval: [{data}]}}}}\n{space}");
        dir.write("sweep.yaml", &text);
    };
    sweep("{dev: 2}");
    for dry in [&["sweep", "run", "sweep.yaml"][..], &["sweep", "run", "sweep.yaml", "--dry-run"]] {
        refused(&dir, dry, &["final: data set faq: no test rows are left", "split.test"]);
    }
    sweep("{dev: 2, test: 2}");
    refused(
        &dir,
        &["sweep", "run", "sweep.yaml", "--set", "final.seeds=[42,42]"],
        &["final.seeds", "one is there twice"],
    );
    let (said, noted) = done(&dir, &["sweep", "run", "sweep.yaml"]);
    for part in [
        "dev: nll of 2 rows; model on own dev rows, seed 42, f32, cpu (",
        "test: nll of 2 rows; model on own test rows",
    ] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    let last = noted.lines().last().expect("a line");
    assert!(last.contains("2 complete") && !last.contains("running"), "{noted}");
}

#[test]
fn places_that_cannot_be_written_are_said_before_anything_is_computed() {
    let dir = Dir::faq();
    dir.write("taken", "a file");
    refused(&dir, &[&TRAIN[..], &["--runs", "taken"]].concat(), &["--runs taken: taken is a file: name a folder"]);
    assert!(runs(&dir).is_empty(), "{:?}", runs(&dir));
    done(&dir, &[&TRAIN[..], &["--out", "mine"]].concat());
    let config = format!("runs/{}/config.yaml", runs(&dir)[0]);
    let eval = ["eval", &config, "--adapter", "mine", "--dtype", "f32"];
    refused(&dir, &[&eval[..], &["--out", "taken/below"]].concat(), &["--out taken/below: taken is a file"]);
}

#[test]
fn lists_are_not_learned_as_text() {
    let dir = Dir::new();
    let row = |n: usize| format!("{{\"question\": \"what is {n}\", \"answer\": [\"{n}\", \"{n}!\"]}}\n");
    dir.write("faq.jsonl", &(0..12).map(row).collect::<String>());
    refused(&dir, &TRAIN, &["faq.jsonl: row 1: ", "`{{ answer }}`", "a list is no text", "join"]);
    done(&dir, &[&TRAIN[..], &["--completion", "{{ answer[0] }}"]].concat());
}

#[test]
fn a_chat_template_without_conversations_is_said_to_be_kept_only() {
    let dir = Dir::faq();
    dir.write("chat.jinja", CHAT);
    let (_, noted) = done(&dir, &[&TRAIN[..], &["--chat-template", "chat.jinja"]].concat());
    assert!(noted.contains("data.chat_template: no rows are conversations"), "{noted}");
}

#[test]
fn an_evaluation_is_replaced_only_where_that_is_asked_for_and_changed_rows_are_said() {
    let dir = Dir::faq();
    done(&dir, &[&TRAIN[..], &["--out", "mine"]].concat());
    let config = format!("runs/{}/config.yaml", runs(&dir)[0]);
    let eval = ["eval", &config, "--dtype", "f32", "--out", "scores"];
    let of_mine = [&eval[..], &["--adapter", "mine"]].concat();
    for _ in 0..2 {
        let (_, noted) = done(&dir, &of_mine);
        assert!(!noted.contains("have changed"), "{noted}");
    }
    refused(&dir, &eval, &["--out scores: the scores of another evaluation are there", "--overwrite"]);
    done(&dir, &[&eval[..], &["--overwrite"]].concat());
    let rows = std::fs::read_to_string(dir.path().join("faq.jsonl")).expect("rows");
    dir.write("faq.jsonl", &rows.lines().rev().map(|line| format!("{line}\n")).collect::<String>());
    let (_, noted) = done(&dir, &[&of_mine[..], &["--overwrite"]].concat());
    assert!(noted.contains("the data have changed since this run"), "{noted}");
}

#[test]
fn an_interrupted_run_is_not_begun_anew_unasked() {
    let dir = Dir::faq();
    let train = [&TRAIN[..], &["--set", "train.checkpoint_every=1"]].concat();
    done(&dir, &train);
    let run = dir.path().join("runs").join(&runs(&dir)[0]);
    // As it is after an interrupt at its end.
    std::fs::remove_file(run.join("record.json")).expect("a record");
    let missing = dir.run(&train);
    assert!(missing.status.success(), "without a checkpoint it is done anew");
    std::fs::remove_file(run.join("record.json")).expect("a record");
    let updates = 3_u64.to_le_bytes();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::U64, vec![1], &updates).expect("eight bytes");
    let bytes = safetensors::serialize([("updates", view)], None).expect("a view");
    std::fs::write(run.join("checkpoint.safetensors"), bytes).expect("writable");
    refused(&dir, &train, &["interrupted after update 3: go on with --resume, or delete the folder"]);
    assert!(run.join("checkpoint.safetensors").exists(), "the checkpoint is gone");
}

#[test]
fn an_input_beside_an_instruction_is_part_of_the_prompt_and_other_columns_are_named() {
    let dir = Dir::new();
    let row = |n: usize| {
        format!("{{\"instruction\": \"what is\", \"input\": \"{n}\", \"output\": \"{n}\", \"system\": \"be kind\"}}\n")
    };
    dir.write("faq.jsonl", &(0..12).map(row).collect::<String>());
    let (said, noted) = done(&dir, &[&TRAIN[..], &["--out", "mine"]].concat());
    assert!(
        noted.contains(r#"prompt: "{{ instruction }}{% if input %}\n\n{{ input }}{% endif %}\n"; completion: "#),
        "{noted}"
    );
    assert!(noted.contains("not read: system"), "{noted}");
    assert!(said.contains("what is "), "{said}");
    dir.write("asked.json", "[{\"instruction\": \"what is\", \"input\": \"3\"}]");
    let ask = ["generate", "--adapter", "mine", "--dtype", "f32", "--max-new", "2", "--file", "asked.json"];
    let (_, noted) = done(&dir, &ask);
    assert!(noted.contains("\"what is\\n\\n3\\n\""), "{noted}");
}

#[test]
fn weights_of_turns_and_looks_that_never_come_are_said() {
    let dir = Dir::faq();
    let never = ["--set", "train.validation={every: 2000}"];
    let (_, noted) = done(&dir, &[&TRAIN[..], &never].concat());
    assert!(noted.contains("train.validation.every: 2000 updates, and there are "), "{noted}");
    let row = chat_row(1).replace("\"role\": \"assistant\"", "\"weight\": 0, \"role\": \"assistant\"");
    dir.write("chat.jsonl", &row.repeat(4));
    dir.write("chat.jinja", CHAT);
    let chat = ["train", "--data", "chat.jsonl", "--model", "model", "--chat-template", "chat.jinja"];
    refused(&dir, &chat, &["chat.jsonl: ", "turn 2 has a `weight`"]);
}

#[test]
fn a_sweep_of_runs_that_learned_nothing_says_so_and_a_last_update_that_diverges_is_an_error() {
    let dir = Dir::faq();
    let data = "{file: faq.jsonl, prompt: question, completion: answer, score: nll, split: {dev: 2}}";
    let run = "model: model, dtype: f32, adapt: {reft: {intervention: loreft, rank: 2, positions: l1}}, train: {epochs: 1, batch_size: 64}";
    let space = "space: {train.lr: {choices: [1e-3, 4e-3]}}\nmethod: grid\n";
    dir.write(
        "sweep.yaml",
        &format!("title: a sweep\nrun: {{{run}, data: {{train: [{data}], eval: [{data}]}}}}\n{space}"),
    );
    let (said, _) = done(&dir, &["sweep", "run", "sweep.yaml"]);
    assert!(said.contains("every update was in the warm-up, at rate 0"), "{said}");
    let diverging = ["--set", "train.lr=1e38", "--set", "train.warmup_ratio=0", "--set", "train.batch_size=64"];
    refused(&dir, &[&TRAIN[..], &diverging].concat(), &["after update 1 the adapter is not finite"]);
}
