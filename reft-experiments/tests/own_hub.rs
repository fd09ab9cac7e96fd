//! Data sets of the hub in place of a file, from a server on this machine that answers as the hub does.

#![cfg(feature = "program")]

#[path = "support/parquet.rs"]
mod parquet_file;
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use parquet_file::{Cells, file};
use serde_json::{Value, json};
use support::Dir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const CONVERTED: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// The commit behind `org/name@revision`.
fn commit(name: &str) -> &'static str {
    if name.ends_with("@refs/convert/parquet") { CONVERTED } else { COMMIT }
}

/// A hub with files at one commit of some data sets' revisions.
struct Hub {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

type Files = BTreeMap<String, Vec<u8>>;

impl Hub {
    /// `revisions`: `org/name@revision` with its files.
    fn start(revisions: Vec<(&str, Files)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let revisions: Vec<(String, Files)> =
            revisions.into_iter().map(|(name, files)| (name.to_owned(), files)).collect();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let Some((path, range)) = request(&stream) else { continue };
                log.lock().expect("whole").push(path.clone());
                answer(&stream, &revisions, &path, range);
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("whole"))
    }
}

/// Path and first byte of a request.
fn request(stream: &TcpStream) -> Option<(String, usize)> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.replace("%2F", "/");
    let mut range = 0;
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            range = bytes.split('-').next()?.parse().ok()?;
        }
    }
    Some((path, range))
}

fn answer(mut stream: &TcpStream, revisions: &[(String, Files)], path: &str, range: usize) {
    let mut send = |status: &str, headers: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
    };
    if let Some((id, revision)) = path.strip_prefix("/api/datasets/").and_then(|rest| rest.split_once("/revision/")) {
        let asked = format!("{id}@{revision}");
        if let Some((name, files)) = revisions.iter().find(|(name, _)| *name == asked) {
            let siblings: Vec<Value> = files.keys().map(|file| json!({"rfilename": file})).collect();
            let body = json!({"id": id, "sha": commit(name), "siblings": siblings}).to_string();
            return send("200 OK", "Content-Type: application/json\r\n", body.as_bytes());
        }
    }
    let found = revisions.iter().find_map(|(name, files)| {
        let id = name.split('@').next()?;
        let file = path.strip_prefix(&format!("/datasets/{id}/resolve/{}/", commit(name)))?;
        Some((commit(name), file, files.get(file)?))
    });
    match found {
        Some((commit, name, bytes)) => {
            let (etag, size) = (name.replace('/', "-"), bytes.len());
            let headers = format!(
                "x-repo-commit: {commit}\r\nETag: \"{etag}\"\r\nContent-Range: bytes {range}-{}/{size}\r\n",
                size - 1
            );
            send("206 Partial Content", &headers, &bytes[range..]);
        }
        None => send("404 Not Found", "", b"{}"),
    }
}

/// The one line that says what is wrong; others say what was chosen.
fn error_of(output: &Output) -> String {
    let wrong = text(output).1;
    let last = wrong.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && wrong.matches("error: ").count() == 1, "{wrong}");
    last.to_owned()
}

/// A table of questions and answers.
fn table(from: i64, rows: i64) -> Vec<u8> {
    let texts: Vec<String> = (from..from + rows).map(|n| format!("what is {n}")).collect();
    let numbers: Vec<String> = (from..from + rows).map(|n| n.to_string()).collect();
    let cells = |texts: &[String]| Cells::Texts(texts.iter().map(|text| Some(text.clone().leak() as &str)).collect());
    file(&[("question", cells(&texts)), ("answer", cells(&numbers))])
}

fn files(named: &[(&str, (i64, i64))]) -> Files {
    let readme = ("README.md".to_owned(), b"# a card".to_vec());
    named.iter().map(|(name, (from, rows))| ((*name).to_owned(), table(*from, *rows))).chain([readme]).collect()
}

fn reft(dir: &Dir, hub: &Hub, arguments: &[&str], offline: bool) -> Command {
    let mut command = dir.reft(arguments);
    command.env("HF_ENDPOINT", &hub.url).env("HF_HOME", dir.path().join("hf"));
    for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "TRANSFORMERS_OFFLINE"] {
        command.env_remove(name);
    }
    command.env("HF_HUB_OFFLINE", if offline { "1" } else { "0" });
    command
}

fn eval(dir: &Dir, hub: &Hub, file: &str, offline: bool) -> Output {
    let set = format!("data.eval=[{{file: {file}, prompt: question, completion: answer, score: nll}}]");
    reft(dir, hub, &["eval", "--model", "model", "--dtype", "f32", "--set", &set], offline).output().expect("it starts")
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn parquet_files_of_the_hub_are_read_once_pinned_and_offline_afterwards() {
    let dir = Dir::new();
    let main = files(&[
        ("data/train-00000-of-00002.parquet", (0, 6)),
        ("data/train-00001-of-00002.parquet", (6, 6)),
        ("data/validation-00000-of-00001.parquet", (20, 3)),
        ("data/unsupervised-00000-of-00001.parquet", (90, 3)),
    ]);
    let hub = Hub::start(vec![("org/quiz@main", main)]);
    let offline = error_of(&eval(&dir, &hub, "org/quiz", true));
    assert!(offline.contains("org/quiz: the data set is not in the Hugging Face cache"), "{offline}");
    assert!(offline.contains("HF_HUB_OFFLINE"), "{offline}");
    assert!(hub.asked().is_empty());

    let (said, wrong) = text(&eval(&dir, &hub, "org/quiz", false));
    assert!(said.contains("quiz: ") && said.contains("nll on 3 rows"), "{said}{wrong}");
    let asked = hub.asked();
    assert_eq!(asked.iter().filter(|path| path.contains("/api/")).count(), 1, "{asked:?}");
    assert!(!asked.iter().any(|path| path.contains("unsupervised")), "only the files of splits: {asked:?}");

    let again = eval(&dir, &hub, "org/quiz", true);
    assert_eq!(text(&again).0, said, "{}", text(&again).1);
    assert_eq!(text(&eval(&dir, &hub, &format!("org/quiz@{COMMIT}"), false)).0, said);
    assert!(hub.asked().is_empty(), "the cache has all of it");
}

#[test]
fn a_run_records_the_commit_of_its_data() {
    let dir = Dir::new();
    let hub = Hub::start(vec![("org/quiz@v1", files(&[("train.parquet", (0, 12))]))]);
    let flags = [
        "train",
        "--data",
        "org/quiz@v1",
        "--model",
        "model",
        "--epochs",
        "1",
        "--set",
        "dtype=f32",
        "--set",
        "eval.max_new_tokens=2",
    ];
    let output = reft(&dir, &hub, &flags, false).output().expect("it starts");
    assert!(output.status.success(), "{}", text(&output).1);
    let run = std::fs::read_dir(dir.path().join("runs")).expect("runs").filter_map(Result::ok);
    let record = run.map(|entry| entry.path().join("record.json")).find(|path| path.exists()).expect("a record");
    let record: Value = serde_json::from_str(&std::fs::read_to_string(record).expect("text")).expect("JSON");
    assert_eq!(record["data_files"][0]["file"], "train.parquet");
    assert_eq!(record["data_files"][0]["revision"], format!("org/quiz@{COMMIT}"));
}

#[test]
fn subsets_and_the_branch_of_converted_files_are_found() {
    let dir = Dir::new();
    let card = Files::from([("README.md".to_owned(), b"# a card".to_vec()), ("all.jsonl".to_owned(), b"{}".to_vec())]);
    let converted = files(&[
        ("easy/train/0000.parquet", (0, 8)),
        ("easy/test/0000.parquet", (30, 2)),
        ("hard/train/0000.parquet", (9, 9)),
    ]);
    let hub = Hub::start(vec![("org/quiz@main", card), ("org/quiz@refs/convert/parquet", converted)]);
    let wrong = |file: &str| error_of(&eval(&dir, &hub, file, false));
    let several = wrong("org/quiz");
    assert!(
        several.contains("several subsets: name one of them, such as org/quiz/easy (there is easy, hard)"),
        "{several}"
    );
    let none = wrong("org/quiz/medium");
    assert!(none.contains("no subset `medium`: there is easy, hard"), "{none}");
    let main = wrong("org/quiz@main");
    assert!(main.contains("no parquet files at main") && main.contains("give their folder"), "{main}");
    let output = eval(&dir, &hub, "org/quiz/easy", false);
    assert!(text(&output).0.contains("easy: ") && text(&output).0.contains("nll on 1 row"), "{:?}", text(&output));
    let absent = wrong("org/none");
    assert!(absent.contains("the hub has no such data set or revision (404)"), "{absent}");
}
