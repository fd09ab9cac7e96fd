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
    assert!(said.contains("no rows were held out: nothing was scored"), "{said}");
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
    for part in ["dev: nll of 2 rows; model on own rows, seed 42, f32, cpu (", "test: nll of 2 rows; model on own rows"]
    {
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
