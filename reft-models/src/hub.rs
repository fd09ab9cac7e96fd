//! From what a user calls a model to files on this machine: an alias, a path, or a Hugging Face id.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo};

/// The file behind the alias `smollm2`, in the user's cache.
const SMOLLM2: &str = "models/SmolLM2-135M-Instruct.Q4_1.gguf";

/// A model that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The default model was not set up.
    #[error("{path}: the model smollm2 is not there: run `make model`, or place the file at that path by hand")]
    NotSetUp {
        /// Where it belongs.
        path: PathBuf,
    },
    /// Neither alias nor path nor id.
    #[error("model `{0}` is not known: give `smollm2`, a folder, a .gguf file, or a Hugging Face id such as org/name")]
    Unknown(String),
    /// Not in the cache, and the network is switched off.
    #[error(
        "{id}: {file} is not in the Hugging Face cache and HF_HUB_OFFLINE is set: unset it, or download the model \
         elsewhere and give its folder as model"
    )]
    Offline {
        /// The id.
        id: String,
        /// The file.
        file: String,
    },
    /// The server said no.
    #[error("{id}: {file}: {reason}")]
    Download {
        /// The id.
        id: String,
        /// The file.
        file: String,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// The folder for what this project keeps on a machine: `REFT_CACHE`, else the user's cache.
pub fn cache_dir() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("REFT_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("reft")))
        .unwrap_or_else(|| variable("HOME").unwrap_or_default().join(".cache/reft"))
}

/// The folder or `.gguf` file of a model; downloads what is missing of a Hugging Face id.
///
/// # Errors
/// When the model is unknown, cannot be downloaded, or is not for this user.
pub fn locate(model: &str) -> Result<PathBuf, HubError> {
    if model == "smollm2" {
        let path = cache_dir().join(SMOLLM2);
        return if path.exists() { Ok(path) } else { Err(HubError::NotSetUp { path }) };
    }
    if Path::new(model).exists() {
        return Ok(PathBuf::from(model));
    }
    match model.split_once('/') {
        Some((owner, name))
            if !owner.is_empty() && !name.is_empty() && !name.contains('/') && !owner.starts_with('.') =>
        {
            Snapshot::new(model)?.complete()
        }
        _ => Err(HubError::Unknown(model.to_owned())),
    }
}

/// One model of the hub, through the cache that other programs use too (`HF_HOME`).
struct Snapshot {
    id: String,
    cache: Cache,
    remote: Option<ApiRepo>,
}

impl Snapshot {
    fn new(id: &str) -> Result<Self, HubError> {
        let offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
        let cache = Cache::from_env();
        let remote = if offline {
            None
        } else {
            let mut builder = ApiBuilder::from_env();
            if let Ok(token) = std::env::var("HF_TOKEN") {
                builder = builder.with_token(Some(token));
            }
            let api = builder.build().map_err(|error| download_error(id, "", &error))?;
            Some(api.repo(Repo::model(id.to_owned())))
        };
        Ok(Self { id: id.to_owned(), cache, remote })
    }

    fn get(&self, file: &str) -> Result<PathBuf, HubError> {
        match (self.cache.repo(Repo::model(self.id.clone())).get(file), &self.remote) {
            (Some(path), _) => Ok(path),
            (None, Some(remote)) => remote.get(file).map_err(|error| download_error(&self.id, file, &error)),
            (None, None) => Err(HubError::Offline { id: self.id.clone(), file: file.to_owned() }),
        }
    }

    /// All files a model needs; the folder they are in.
    fn complete(&self) -> Result<PathBuf, HubError> {
        let config = self.get("config.json")?;
        for optional in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
            // Not every model has every one of these; the tokenizer says so when it misses one.
            let _ = self.get(optional);
        }
        self.weights()?;
        Ok(config.parent().map(Path::to_owned).unwrap_or_default())
    }

    /// Safetensors if there are any, else pickles; shards by their index.
    fn weights(&self) -> Result<(), HubError> {
        let mut refused = None;
        for single in ["model.safetensors", "pytorch_model.bin"] {
            if self.get(single).is_ok() {
                return Ok(());
            }
            match self.get(&format!("{single}.index.json")) {
                Ok(index) => return self.shards(&index),
                Err(error) => refused = Some(error),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn shards(&self, index: &Path) -> Result<(), HubError> {
        let text = std::fs::read_to_string(index).unwrap_or_default();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let map = json["weight_map"].as_object().cloned().unwrap_or_default();
        let names: std::collections::BTreeSet<&str> = map.values().filter_map(|name| name.as_str()).collect();
        names.into_iter().try_for_each(|name| self.get(name).map(|_| ()))
    }
}

fn download_error(id: &str, file: &str, error: &ApiError) -> HubError {
    let text = error.to_string();
    let by_hand = "or download it elsewhere and give its folder as model";
    let reason = if text.contains("401") || text.contains("403") {
        format!("not for this user: accept the model's terms on its page and set HF_TOKEN, {by_hand}")
    } else if text.contains("404") {
        "no such model or file: check the id".to_owned()
    } else {
        format!("cannot be downloaded ({text}): check the network, {by_hand}")
    };
    HubError::Download { id: id.to_owned(), file: file.to_owned(), reason }
}
