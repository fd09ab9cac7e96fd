//! Files into a repository: the hub says which of them it takes with the commit and which go to its store of large files (LFS) first.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::client::HubClient;
use super::{AdapterHubError, HubRepository, text};

const JSON: &str = "application/json";
const LFS: &str = "application/vnd.git-lfs+json";
const LINES: &str = "application/x-ndjson";

/// Bytes of a file that the hub looks at to decide where it belongs.
const SAMPLE: usize = 512;

/// A file to be committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    /// Its name in the repository.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Upload {
    fn oid(&self) -> String {
        Sha256::digest(&self.bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Creates the repository where it is missing.
pub fn create(client: &HubClient, to: &HubRepository, private: bool) -> Result<(), AdapterHubError> {
    let (owner, name) = to.id.split_once('/').unwrap_or_default();
    let body = json!({"name": name, "organization": owner, "private": private}).to_string();
    // 409: it is there already.
    client.post("/api/repos/create", JSON, body.as_bytes(), Some(409)).map(|_| ())
}

/// Uploads what is large, then commits everything at once. Gives the commit.
pub fn commit(
    client: &HubClient,
    to: &HubRepository,
    files: &[Upload],
    title: &str,
) -> Result<String, AdapterHubError> {
    let large = large(client, to, files)?;
    let (large, small): (Vec<&Upload>, Vec<&Upload>) = files.iter().partition(|file| large.contains(&file.path));
    if !large.is_empty() {
        upload(client, to, &large)?;
    }
    let header = json!({"key": "header", "value": {"summary": title, "description": ""}});
    let of_small = |file: &&Upload| {
        let content = STANDARD.encode(&file.bytes);
        json!({"key": "file", "value": {"path": file.path, "content": content, "encoding": "base64"}})
    };
    let of_large = |file: &&Upload| {
        let (oid, size) = (file.oid(), file.bytes.len());
        json!({"key": "lfsFile", "value": {"path": file.path, "algo": "sha256", "oid": oid, "size": size}})
    };
    let lines = std::iter::once(header).chain(small.iter().map(of_small)).chain(large.iter().map(of_large));
    let body: String = lines.map(|line| format!("{line}\n")).collect();
    let answer = client.post(&address(to, "commit"), LINES, body.as_bytes(), None)?;
    Ok(text(&answer, "commitOid").unwrap_or(&to.revision).to_owned())
}

fn address(to: &HubRepository, what: &str) -> String {
    format!("/api/models/{}/{what}/{}", to.id, to.revision.replace('/', "%2F"))
}

/// The files that go to the store of large files.
fn large(client: &HubClient, to: &HubRepository, files: &[Upload]) -> Result<Vec<String>, AdapterHubError> {
    let ask = |file: &Upload| {
        let sample = STANDARD.encode(&file.bytes[..file.bytes.len().min(SAMPLE)]);
        json!({"path": file.path, "size": file.bytes.len(), "sample": sample})
    };
    let body = json!({"files": files.iter().map(ask).collect::<Vec<_>>()}).to_string();
    let answer = client.post(&address(to, "preupload"), JSON, body.as_bytes(), None)?;
    let listed = answer["files"].as_array().into_iter().flatten();
    let large = listed.filter(|file| text(file, "uploadMode") == Some("lfs"));
    Ok(large.filter_map(|file| text(file, "path")).map(str::to_owned).collect())
}

/// Uploads files, those that the store does not have, in one piece each.
fn upload(client: &HubClient, to: &HubRepository, files: &[&Upload]) -> Result<(), AdapterHubError> {
    let objects: Vec<Value> = files.iter().map(|file| json!({"oid": file.oid(), "size": file.bytes.len()})).collect();
    let body = json!({"operation": "upload", "transfers": ["basic"], "hash_algo": "sha256", "objects": objects});
    let path = format!("/{}.git/info/lfs/objects/batch", to.id);
    let answer = client.post(&path, LFS, body.to_string().as_bytes(), None)?;
    for object in answer["objects"].as_array().into_iter().flatten() {
        let Some(file) = files.iter().find(|file| Some(file.oid().as_str()) == text(object, "oid")) else { continue };
        if let Some(words) = object["error"]["message"].as_str() {
            let (what, reason) = (format!("{}: {}", to.id, file.path), words.to_owned());
            return Err(AdapterHubError::Refused {
                what,
                reason,
                remedy: "check the space and the rights of the account",
            });
        }
        if let Some(address) = text(&object["actions"]["upload"], "href") {
            let headers = object["actions"]["upload"]["header"].as_object().into_iter().flatten();
            let headers: Vec<(String, String)> =
                headers.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
            client.put(address, &headers, &file.bytes)?;
        }
        if let Some(address) = text(&object["actions"]["verify"], "href") {
            let body = json!({"oid": file.oid(), "size": file.bytes.len()}).to_string();
            client.post(address, LFS, body.as_bytes(), None)?;
        }
    }
    Ok(())
}
