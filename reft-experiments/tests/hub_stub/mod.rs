//! A hub on this machine: repositories in memory, small files with the commit, tensors by way of a store of large files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    private: BTreeSet<String>,
    /// Large files by their hashes.
    store: BTreeMap<String, Vec<u8>>,
    /// Names of large files that were committed after an upload.
    uploads: Vec<String>,
    fresh: BTreeSet<String>,
    commits: usize,
    requests: Vec<String>,
}

pub struct HubStub {
    pub url: String,
    state: Arc<Mutex<State>>,
}

struct Request {
    method: String,
    path: String,
    authorization: String,
    body: Vec<u8>,
}

impl HubStub {
    /// A hub that lets the holder of this token write.
    pub fn start(token: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, address) = (Arc::clone(&state), url.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let Some(request) = receive(&stream) else { continue };
                let (status, body) = shared.lock().expect("no thread panics with it").answer(&request, token, &address);
                let head =
                    format!("HTTP/1.1 {status} Stub\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                let mut stream = stream;
                let _ = stream.write_all(&[head.into_bytes(), body].concat());
            }
        });
        Self { url, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }

    pub fn put(&self, repository: &str, file: &str, bytes: &[u8]) {
        self.state().repositories.entry(repository.to_owned()).or_default().insert(file.to_owned(), bytes.to_vec());
    }

    pub fn file(&self, repository: &str, file: &str) -> Option<Vec<u8>> {
        self.state().repositories.get(repository)?.get(file).cloned()
    }

    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    pub fn uploads(&self) -> Vec<String> {
        self.state().uploads.clone()
    }

    pub fn is_private(&self, repository: &str) -> bool {
        self.state().private.contains(repository)
    }
}

fn receive(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
    let mut parts = line.split(' ').map(str::to_owned);
    let (method, path) = (parts.next()?, parts.next()?);
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
    Some(Request { method, path, authorization, body })
}

type Answer = (u16, Vec<u8>);

fn json_answer(value: &Value) -> Answer {
    (200, value.to_string().into_bytes())
}

fn error(status: u16, words: &str) -> Answer {
    (status, json!({"error": words}).to_string().into_bytes())
}

impl State {
    fn answer(&mut self, request: &Request, token: &str, address: &str) -> Answer {
        self.requests.push(format!("{} {}", request.method, request.path));
        let writes = request.method != "GET" && !request.path.starts_with("/store/");
        if writes && request.authorization != format!("Bearer {token}") {
            return error(401, &format!("Invalid credentials: {}", request.authorization));
        }
        let path = request.path.clone();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("POST", ["api", "repos", "create"]) => self.create(&body(request)),
            ("POST", ["api", "models", _, _, "preupload", "main"]) => preupload(&body(request)),
            ("POST", [_, _, "info", "lfs", "objects", "batch"]) => self.batch(&body(request), address),
            ("PUT", ["store", oid]) => {
                let found: String = Sha256::digest(&request.body).iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(
                    (found.as_str(), request.authorization.as_str()),
                    (*oid, ""),
                    "the token stays with the hub"
                );
                self.store.insert((*oid).to_owned(), request.body.clone());
                self.fresh.insert((*oid).to_owned());
                (200, Vec::new())
            }
            ("POST", ["api", "models", owner, name, "commit", "main"]) => {
                self.commit(&format!("{owner}/{name}"), request)
            }
            ("GET", ["api", "models", owner, name, "revision", "main"]) => self.list(&format!("{owner}/{name}")),
            ("GET", [owner, name, "resolve", _, file @ ..]) => {
                let files = self.repositories.get(&format!("{owner}/{name}"));
                let bytes = files.and_then(|files| files.get(&file.join("/")));
                bytes.map_or_else(|| error(404, "Entry not found"), |bytes| (200, bytes.clone()))
            }
            _ => error(404, "no such address"),
        }
    }

    fn create(&mut self, asked: &Value) -> Answer {
        let id = format!(
            "{}/{}",
            asked["organization"].as_str().expect("an owner"),
            asked["name"].as_str().expect("a name")
        );
        if self.repositories.contains_key(&id) {
            return error(409, "You already created this model repo");
        }
        if asked["private"] == true {
            self.private.insert(id.clone());
        }
        self.repositories.insert(id, BTreeMap::new());
        json_answer(&json!({"url": "somewhere"}))
    }

    fn batch(&self, asked: &Value, address: &str) -> Answer {
        assert_eq!(asked["transfers"], json!(["basic"]));
        let objects = asked["objects"].as_array().expect("objects").iter().map(|object| {
            let oid = object["oid"].as_str().expect("a hash");
            if self.store.contains_key(oid) {
                return json!({"oid": oid, "size": object["size"]});
            }
            json!({"oid": oid, "size": object["size"], "actions": {"upload": {"href": format!("{address}/store/{oid}")}}})
        });
        json_answer(&json!({"transfer": "basic", "objects": objects.collect::<Vec<_>>()}))
    }

    fn commit(&mut self, id: &str, request: &Request) -> Answer {
        let text = String::from_utf8(request.body.clone()).expect("text");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert!(lines[0]["key"] == "header" && lines[0]["value"]["summary"].is_string(), "{text}");
        for line in &lines[1..] {
            let path = line["value"]["path"].as_str().expect("a path").to_owned();
            let bytes = if line["key"] == "file" {
                STANDARD.decode(line["value"]["content"].as_str().expect("content")).expect("base64")
            } else {
                let oid = line["value"]["oid"].as_str().expect("a hash");
                if self.fresh.remove(oid) {
                    self.uploads.push(path.clone());
                }
                self.store[oid].clone()
            };
            self.repositories.get_mut(id).expect("created").insert(path, bytes);
        }
        self.commits += 1;
        json_answer(&json!({"commitOid": format!("commit{}", self.commits)}))
    }

    fn list(&self, id: &str) -> Answer {
        let Some(files) = self.repositories.get(id) else { return error(404, "Repository not found") };
        let files: Vec<Value> = files.keys().map(|name| json!({"rfilename": name})).collect();
        json_answer(&json!({"sha": format!("commit{}", self.commits), "siblings": files}))
    }
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

/// Tensors are large files, whatever their size.
fn preupload(asked: &Value) -> Answer {
    let files = asked["files"].as_array().expect("files").iter().map(|file| {
        let path = file["path"].as_str().expect("a path");
        assert!(file["size"].is_u64() && STANDARD.decode(file["sample"].as_str().expect("a sample")).is_ok());
        json!({"path": path, "uploadMode": if path.ends_with(".safetensors") { "lfs" } else { "regular" }})
    });
    json_answer(&json!({"files": files.collect::<Vec<_>>()}))
}
