//! Runs on a file of examples by the command line, and what the program says of them.

// Every test program uses a part of it.
#![allow(dead_code)]

use crate::support::{Dir, texts};

/// A run of one epoch on `faq.jsonl`.
pub const TRAIN: [&str; 11] = [
    "train",
    "--data",
    "faq.jsonl",
    "--model",
    "model",
    "--epochs",
    "1",
    "--set",
    "dtype=f32",
    "--set",
    "eval.max_new_tokens=2",
];

/// What the program says where it succeeds.
pub fn done(dir: &Dir, arguments: &[&str]) -> (String, String) {
    let output = dir.run(arguments);
    let said = texts(&output);
    assert!(output.status.success(), "{arguments:?}: {}", said.1);
    said
}

/// The one line of an error.
pub fn refused(dir: &Dir, arguments: &[&str], parts: &[&str]) {
    let output = dir.run(arguments);
    let (_, said) = texts(&output);
    let complaint: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((output.status.code(), complaint.len()), (Some(1), 1), "{arguments:?}: {said}");
    for part in parts {
        assert!(complaint[0].contains(part), "{arguments:?}: `{part}` is not in: {}", complaint[0]);
    }
}

/// Folders of runs.
pub fn runs(dir: &Dir) -> Vec<String> {
    let listed = std::fs::read_dir(dir.path().join("runs")).into_iter().flatten();
    let mut names: Vec<String> =
        listed.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A conversation of two turns.
pub fn chat_row(n: usize) -> String {
    format!(
        "{{\"messages\": [{{\"role\": \"user\", \"content\": \"what is {n}\"}}, \
         {{\"role\": \"assistant\", \"content\": \"{n}\"}}]}}\n"
    )
}

/// A chat template whose turns end with the model's end token.
pub const CHAT: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}\
    {% if add_generation_prompt %}<assistant>{% endif %}";
