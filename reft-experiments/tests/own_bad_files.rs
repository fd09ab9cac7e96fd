//! What `reft train --data` says of a file that cannot be used: one line with file, row and remedy, and nothing is left behind.

#![cfg(feature = "program")]

mod support;

use std::path::Path;

use support::Dir;

/// A chat template that refuses the word `forbidden`.
const TEMPLATE: &str = "{% for m in messages %}{% if 'forbidden' in m['content'] %}{{ raise_exception('no such words here') }}\
    {% endif %}<{{ m['role'] }}>{{ m['content'] }}<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

fn dir() -> Dir {
    let dir = Dir::new();
    let config = serde_json::json!({"eos_token": "<end>", "chat_template": TEMPLATE});
    dir.write("model/tokenizer_config.json", &config.to_string());
    dir
}

/// The one line that training on this file ends with; no adapter was written.
fn refused(dir: &Dir, file: &str, bytes: &[u8], flags: &[&str]) -> String {
    std::fs::write(dir.path().join(file), bytes).expect("writable");
    let arguments = ["train", "--data", file, "--model", "model", "--set", "dtype=f32", "--out", "adapter"];
    let output = dir.run(&[&arguments[..], flags].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let complaint: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(output.status.code(), Some(1), "{file}: {said}");
    assert!(complaint.len() == 1 && said.lines().last() == Some(complaint[0]), "{file}: one line, the last: {said}");
    assert!(output.stdout.is_empty() && !said.contains("panicked"), "{file}: {said}");
    assert!(!dir.path().join("adapter").exists(), "{file}: an adapter");
    assert!(records(dir.path()).is_empty(), "{file}: a record");
    complaint[0].to_owned()
}

/// Records of runs.
fn records(folder: &Path) -> Vec<std::path::PathBuf> {
    let runs = std::fs::read_dir(folder.join("runs")).into_iter().flatten();
    runs.map(|run| run.expect("readable").path().join("record.json")).filter(|path| path.exists()).collect()
}

fn check(file: &str, bytes: &[u8], flags: &[&str], parts: &[&str]) {
    let dir = dir();
    let said = refused(&dir, file, bytes, flags);
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

/// A conversation of these turns as a line, behind twelve good ones.
fn chat(turns: &str) -> Vec<u8> {
    let good = |n: usize| {
        format!(
            "{{\"messages\": [{{\"role\": \"user\", \"content\": \"what is {n}\"}}, \
             {{\"role\": \"assistant\", \"content\": \"{n}\"}}]}}\n"
        )
    };
    ((0..12).map(good).collect::<String>() + turns).into_bytes()
}

#[test]
fn conversations() {
    let user = r#"{"role": "user", "content": "hello"}"#;
    let said = r#"{"role": "assistant", "content": "hello"}"#;
    for (turns, parts) in [
        (format!("{{\"messages\": [{user}]}}"), ["chat.jsonl: row 13", "no turn of the assistant: add one"]),
        (format!("{{\"messages\": [{said}]}}"), ["row 13", "add a turn of the user before"]),
        ("{\"messages\": []}".to_owned(), ["row 13", "messages is empty: write turns"]),
        (format!("{{\"messages\": [{user}, {said}"), ["row 13", "truncated"]),
        (format!("{{\"messages\": [{}, {said}]}}", user.replace("user", "human")), ["row 13", "the roles are system"]),
        (format!("{{\"messages\": [{user}, {}]}}", said.replace("\"hello\"", "3")), ["row 13: turn 2", "write a text"]),
        (
            format!("{{\"messages\": [{user}, {}]}}", said.replace("hello", " ")),
            ["turn 2, the assistant's last", "fill it in"],
        ),
        ("{\"messages\": \"hello\"}".to_owned(), ["row 13: messages is no list of turns", "write [{"]),
        ("{\"other\": 1}".to_owned(), ["row 13", "messages"]),
    ] {
        check("chat.jsonl", &chat(&turns), &[], &parts);
    }
}

#[test]
fn a_chat_template_that_raises() {
    let turns = r#"{"messages": [{"role": "user", "content": "forbidden"}, {"role": "assistant", "content": "x"}]}"#;
    // No matter which split the row is in.
    for split in ["dev=1", "dev=12"] {
        let flags = ["--split", split];
        check("chat.jsonl", &chat(turns), &flags, &["chat.jsonl row 13", "no such words here"]);
    }
}

#[test]
fn examples_and_labels() {
    let rows = "q,a\n1,2\n3,4\n5,6\n";
    let labels = "text,label\n".to_owned() + &"good,x\nbad,y\n".repeat(8);
    let asked = ["--prompt", "q", "--completion", "a"];
    for (file, bytes, flags, parts) in [
        (
            "a.csv",
            rows.as_bytes(),
            &["--prompt", "{{ z }}", "--completion", "a"][..],
            ["a.csv", "`z`, which no row has"],
        ),
        ("a.csv", b"q,a\n1,2\n3,\n5,6\n", &asked, ["a.csv: row 2 (line 3)", "take the row out"]),
        (
            "a.csv",
            labels.as_bytes(),
            &["--text", "text", "--label", "label", "--classes", "x,z"],
            ["row 2 (line 3)", "none of the classes x, z"],
        ),
        ("a.csv", b"q,a,q\n1,2,3\n", &asked, ["two columns have the name `q`", "rename one"]),
        ("a.jsonl", b"{\"q\": 1, \"q\": 2, \"a\": 3}\n", &asked, ["row 1: two columns have the name `q`", "keep one"]),
        ("a.csv", b"\xef\xbb\xbf", &asked, ["the file has no rows", "write one row"]),
        ("a.csv", b"q,a\n1,\0\n", &asked, ["line 2 has a NUL byte", "save it as UTF-8"]),
        ("a.jsonl", b"{\"q\": \"\xff\"}", &asked, ["line 1, byte 8 is not UTF-8", "save it as UTF-8"]),
        ("a.jsonl", b"{\"q\": \"x\", \"a\": \"y\"}\n{\"q\": \"b", &asked, ["row 2", "truncated"]),
        ("a.csv", b"q,a\n1,2\n\"3,4\n5,6\n", &asked, ["row 2 (line 3): a double quote is never closed", "close it"]),
        ("a.jsonl", b"", &asked, ["the file has no rows", "write one row"]),
        ("a.csv", b"q,a\n1,2\n", &asked, ["no training rows are left", "give more rows"]),
    ] {
        check(file, bytes, flags, &parts);
    }
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_no_fault() {
    let dir = dir();
    let rows: String = (0..12).map(|n| format!("what is {n},{n}\r\n")).collect();
    dir.write("a.csv", &format!("\u{feff}question,answer\r\n{rows}"));
    let flags =
        ["train", "--data", "a.csv", "--model", "model", "--epochs", "1", "--score", "exact", "--out", "adapter"];
    let small = ["--set", "dtype=f32", "--set", "eval.max_new_tokens=2"];
    let output = dir.run(&[&flags[..], &small].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record = std::fs::read_to_string(&records(dir.path())[0]).expect("a record");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    assert_eq!(record["plan"]["data"]["train"][0]["prompt"], "{{ question }}\n", "the mark is no part of the name");
    let predictions =
        std::fs::read_dir(dir.path().join("runs")).expect("a run").next().expect("one").expect("readable");
    let said = std::fs::read_to_string(predictions.path().join("predictions-a.jsonl")).expect("predictions");
    assert!(!said.contains("\\r") && !said.contains("\u{feff}"), "{said}");
}
