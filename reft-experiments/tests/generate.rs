//! `reft generate` on a tiny model: one prompt, a file of prompts, a conversation.

mod support;

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value;
use support::{Dir, RUN};

const TEMPLATE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";

fn chatty() -> Dir {
    let dir = Dir::new();
    let config = serde_json::json!({"eos_token": "<end>", "chat_template": TEMPLATE});
    dir.write("model/tokenizer_config.json", &config.to_string());
    dir
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A trained adapter's folder.
fn adapter(dir: &Dir, seed: &str) -> String {
    dir.write("run.yaml", RUN);
    let seed = format!("seed={seed}");
    let trained = said(&dir.run(&["train", "run.yaml", "--set", "train.epochs=1", "--set", &seed]));
    let run = trained.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder");
    format!("{run}/adapter")
}

#[test]
fn a_file_of_prompts_gets_the_answers_that_single_prompts_get() {
    let dir = chatty();
    dir.write("prompts.txt", "hello\n\nfour words are here\n");
    dir.write("rows.jsonl", "{\"instruction\": \"hello\"}\n");
    let common = ["--model", "model", "--dtype", "f32", "--max-new", "6"];
    let lines = said(&dir.run(&[&["generate", "--file", "prompts.txt"][..], &common].concat()));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        let prompt = line["prompt"].as_str().expect("a prompt");
        let alone = said(&dir.run(&[&["generate", prompt][..], &common].concat()));
        assert_eq!(line["said"].as_str().expect("an answer"), alone.trim_end_matches('\n'), "{prompt}");
    }
    let rows = said(&dir.run(&[&["generate", "--file", "rows.jsonl"][..], &common].concat()));
    assert_eq!(serde_json::from_str::<Value>(&rows).expect("JSON"), lines[0]);
}

#[test]
fn adapters_are_compared_and_their_edits_shown() {
    let dir = chatty();
    let (one, two) = (adapter(&dir, "1"), adapter(&dir, "2"));
    let arguments = ["generate", "hello", "--dtype", "f32", "--max-new", "3", "--show-edits"];
    let output = dir.run(&[&arguments[..], &["--adapter", &one, "--adapter", &two]].concat());
    let text = said(&output);
    assert!(text.contains(&format!("== {one}\n")) && text.contains(&format!("== {two}\n")), "{text}");
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(shown.matches("block_output both: layers 0-3").count(), 8, "two ends of two tokens, twice: {shown}");
}

#[test]
fn a_conversation_switches_adapters_and_ends() {
    let dir = chatty();
    let one = adapter(&dir, "1");
    let arguments = ["generate", "--chat", "--dtype", "f32", "--max-new", "3", "--adapter", &one];
    let mut command = dir.reft(&arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let input = "hello\n/adapter none\nhello\n/adapter 7\n/adapter adapter\n/quit\nnever said\n";
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ends");
    assert_eq!(said(&output).matches('\n').count(), 2, "one answer a turn");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("> base model\n") && told.contains("no adapter `7`"), "{told}");
    assert_eq!(told.matches(&one).count(), 2, "named at the start and when it came back: {told}");
}

#[test]
fn mistakes_are_answered_with_one_line() {
    let dir = Dir::new();
    let check = |arguments: &[&str], expected: &str| {
        let output = dir.run(&[arguments, &["--model", "model", "--dtype", "f32"]].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.starts_with("error: ") && told.contains(expected) && told.lines().count() == 1, "{told}");
    };
    dir.write("empty.txt", "\n");
    check(&["generate", "--chat"], "chat template: the tokenizer has none");
    check(&["generate", "--file", "empty.txt"], "empty.txt: the file has no prompts");
    check(&["generate", "--file", "none.txt"], "none.txt: No such file");
    check(&["generate", "hello", "--temperature", "0"], "--temperature: 0: above 0");
    check(&["generate", "hello", "--beams", "0"], "--beams: 0 beams say nothing");
    check(&["generate", ""], "the prompt is empty");
}
