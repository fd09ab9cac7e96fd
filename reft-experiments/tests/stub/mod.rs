//! A server on this machine that answers chat completions as a test tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// A prompt that the server takes apart again.
pub const PROMPT: &str = "{instruction}|{output_a}|{output_b}";

/// A question as it reached the server.
#[derive(Clone)]
pub struct Asked {
    pub number: usize,
    pub first: String,
    pub authorization: String,
    pub body: Value,
}

pub enum Answer {
    Say(&'static str),
    /// What a server sends with status 200.
    Send(String),
    Refuse {
        status: u16,
        header: &'static str,
        body: String,
    },
    /// Nothing, until the client hangs up.
    Hold,
}

pub struct Stub {
    pub url: String,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// A server that is told, with each question, how often it was asked before.
    pub fn start(answer: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/v1", listener.local_addr().expect("bound"));
        let (answer, log) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&kept));
                std::thread::spawn(move || {
                    let stream = stream.expect("a connection");
                    let Some(asked) = receive(&stream) else { return };
                    let before = {
                        let mut log = log.lock().expect("no thread panics with it");
                        let before = log.iter().filter(|other: &&Asked| other.number == asked.number).count();
                        log.push(asked.clone());
                        before
                    };
                    respond(&stream, answer(&asked, before));
                });
            }
        });
        Self { url, log }
    }

    pub fn log(&self) -> Vec<Asked> {
        self.log.lock().expect("no thread panics with it").clone()
    }

    /// The numbers of all questions that came, sorted.
    pub fn numbers(&self) -> Vec<usize> {
        let mut numbers: Vec<usize> = self.log().iter().map(|asked| asked.number).collect();
        numbers.sort_unstable();
        numbers
    }
}

fn receive(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
    assert!(line.starts_with("POST /v1/chat/completions "), "{line}");
    let (mut length, mut authorization) = (0, String::new());
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => value.clone_into(&mut authorization),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let prompt = body["messages"][0]["content"].as_str().expect("a prompt");
    let (instruction, outputs) = prompt.split_once('|').expect("our prompt");
    let (number, first) =
        (instruction.strip_prefix("instruction ")?.parse().ok()?, outputs.split_once('|')?.0.to_owned());
    Some(Asked { number, first, authorization, body })
}

fn respond(mut stream: &TcpStream, answer: Answer) {
    let (status, header, body) = match answer {
        Answer::Say(reply) => (200, "X-Stub: 1", json!({"choices": [{"message": {"content": reply}}]}).to_string()),
        Answer::Send(body) => (200, "X-Stub: 1", body),
        Answer::Refuse { status, header, body } => (status, header, body),
        Answer::Hold => {
            let _ = stream.read_to_end(&mut Vec::new());
            return;
        }
    };
    let head =
        format!("HTTP/1.1 {status} Stub\r\nConnection: close\r\n{header}\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all((head + &body).as_bytes());
}

/// Prefers the model's outputs to even instructions and the reference's to odd ones, wherever they stand.
pub fn fair(asked: &Asked) -> Answer {
    let wanted = ["model", "reference"][asked.number % 2];
    Answer::Say(if asked.first.starts_with(wanted) { "a" } else { "Better: B." })
}

/// A refusal without words that a program could read.
pub fn refuse(status: u16, header: &'static str) -> Answer {
    Answer::Refuse { status, header, body: "<html>busy</html>".to_owned() }
}
