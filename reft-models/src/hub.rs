//! From what a user calls a model to files on this machine: an alias, a path, or a Hugging Face id.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo};

use crate::weights::{WeightsError, shards};

/// The files and folders behind aliases, in the user's cache.
const ALIASES: [(&str, &str); 2] =
    [("smollm2", "models/SmolLM2-135M-Instruct.Q4_1.gguf"), ("minilm", "models/all-MiniLM-L6-v2")];

/// What every model needs beside its weights.
const NEEDED: [&str; 2] = ["config.json", "tokenizer.json"];

/// What some models have.
const OPTIONAL: [&str; 3] = ["generation_config.json", "tokenizer_config.json", "special_tokens_map.json"];

/// The weights, or with `.index.json` behind the list of their shards; the first that exists is taken.
const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// A model that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A model with an alias was not set up.
    #[error("{path}: the model {alias} is not there: run `make model`, or place it at that path by hand")]
    NotSetUp {
        /// The alias.
        alias: &'static str,
        /// Where it belongs.
        path: PathBuf,
    },
    /// Neither alias nor path nor id.
    #[error(
        "model `{0}` is not known: give `smollm2`, the encoder `minilm`, a folder, a .gguf file, or a Hugging Face id such as \
         org/name"
    )]
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
    /// The downloaded index of shards is not one.
    #[error(transparent)]
    Index(#[from] WeightsError),
}

/// The folder for what this project keeps on a machine: `REFT_CACHE`, else the user's cache.
pub fn cache_dir() -> PathBuf {
    variable("REFT_CACHE")
        .map(PathBuf::from)
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("reft")))
        .unwrap_or_else(|| PathBuf::from(variable("HOME").unwrap_or_default()).join(".cache/reft"))
}

/// An environment variable that says something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The folder or `.gguf` file of a model; downloads what is missing of a Hugging Face id.
///
/// # Errors
/// When the model is unknown, cannot be downloaded, or is not for this user.
pub fn locate(model: &str) -> Result<PathBuf, HubError> {
    Places::from_environment().locate(model)
}

/// Where models may come from.
struct Places {
    own: PathBuf,
    /// The cache that other programs use too (`HF_HOME`).
    shared: Cache,
    endpoint: Option<String>,
    token: Option<String>,
    offline: bool,
}

impl Places {
    fn from_environment() -> Self {
        Self {
            own: cache_dir(),
            shared: Cache::from_env(),
            endpoint: variable("HF_ENDPOINT"),
            token: variable("HF_TOKEN"),
            offline: variable("HF_HUB_OFFLINE").is_some_and(|value| !matches!(value.as_str(), "0" | "false")),
        }
    }

    fn locate(&self, model: &str) -> Result<PathBuf, HubError> {
        if let Some((alias, place)) = ALIASES.iter().find(|(alias, _)| *alias == model) {
            let path = self.own.join(place);
            return if path.exists() { Ok(path) } else { Err(HubError::NotSetUp { alias, path }) };
        }
        if Path::new(model).exists() {
            return Ok(PathBuf::from(model));
        }
        if !is_id(model) {
            return Err(HubError::Unknown(model.to_owned()));
        }
        let local = Snapshot { id: model, cache: &self.shared, remote: None };
        match local.complete() {
            Ok(folder) => Ok(folder),
            Err(missing) if self.offline => Err(missing),
            Err(_) => Snapshot { remote: Some(self.remote(model)?), ..local }.complete(),
        }
    }

    fn remote(&self, id: &str) -> Result<ApiRepo, HubError> {
        let mut builder = ApiBuilder::from_cache(self.shared.clone());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        // Without one, the token that Hugging Face's own login has left in the cache is used.
        if let Some(token) = &self.token {
            builder = builder.with_token(Some(token.clone()));
        }
        let api = builder.build().map_err(|error| refusal(id, NEEDED[0], &error))?;
        Ok(api.repo(Repo::model(id.to_owned())))
    }
}

/// `org/name`, and nothing that looks like a mistyped path.
fn is_id(model: &str) -> bool {
    let part = |part: &str| {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        part.starts_with(|letter: char| letter.is_ascii_alphanumeric()) && part.chars().all(allowed)
    };
    let file = Path::new(model).extension().is_some_and(|extension| extension == "gguf");
    !file && model.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

/// One model of the hub, in the cache and, if there is a remote, beyond it.
struct Snapshot<'a> {
    id: &'a str,
    cache: &'a Cache,
    remote: Option<ApiRepo>,
}

impl Snapshot<'_> {
    /// All files a model needs; the folder they are in.
    fn complete(&self) -> Result<PathBuf, HubError> {
        let folder = self.folder()?;
        for file in NEEDED {
            self.needed(file)?;
        }
        for file in OPTIONAL {
            self.find(file)?;
        }
        self.weights()?;
        // A download moves the cache to the newest revision. What an older one had cached is then fetched once more,
        // so that all files are of one revision.
        if self.folder()? == folder { Ok(folder) } else { self.complete() }
    }

    fn folder(&self) -> Result<PathBuf, HubError> {
        let config = self.needed(NEEDED[0])?;
        Ok(config.parent().map(Path::to_owned).unwrap_or_default())
    }

    fn weights(&self) -> Result<(), HubError> {
        for file in WEIGHTS {
            if self.find(file)?.is_some() {
                return Ok(());
            }
            if let Some(index) = self.find(&format!("{file}.index.json"))? {
                return self.shards(&index);
            }
        }
        Err(self.missing(WEIGHTS[0]))
    }

    fn shards(&self, index: &Path) -> Result<(), HubError> {
        shards(index)?.iter().try_for_each(|name| self.needed(name).map(|_| ()))
    }

    fn needed(&self, file: &str) -> Result<PathBuf, HubError> {
        self.find(file)?.ok_or_else(|| self.missing(file))
    }

    /// None when the model has no such file.
    fn find(&self, file: &str) -> Result<Option<PathBuf>, HubError> {
        let cached = self.cache.repo(Repo::model(self.id.to_owned())).get(file);
        match (cached, &self.remote) {
            (Some(path), _) => Ok(Some(path)),
            (None, None) => Ok(None),
            (None, Some(remote)) => match remote.get(file) {
                Ok(path) => Ok(Some(path)),
                Err(error) if status(&error) == Some(404) => Ok(None),
                Err(error) => Err(refusal(self.id, file, &error)),
            },
        }
    }

    fn missing(&self, file: &str) -> HubError {
        let (id, file) = (self.id.to_owned(), file.to_owned());
        if self.remote.is_none() {
            return HubError::Offline { id, file };
        }
        let reason = "the hub has no such model, or the model no such file: check the id, or choose another model";
        HubError::Download { id, file, reason: reason.to_owned() }
    }
}

/// The server's answer, if it gave one.
fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(request) => match **request {
            ureq::Error::StatusCode(code) => Some(code),
            _ => None,
        },
        ApiError::TooManyRetries(last) => status(last),
        _ => None,
    }
}

fn refusal(id: &str, file: &str, error: &ApiError) -> HubError {
    let by_hand = "or download it elsewhere and give its folder as model";
    let reason = match status(error) {
        // The hub also answers 401 for models that do not exist, to those who have not said who they are.
        Some(401) => format!(
            "no such model, or not for everybody (401): check the id, accept the model's terms on its page and set \
             HF_TOKEN, {by_hand}"
        ),
        Some(403) => {
            format!("not for this user (403): accept the model's terms on its page and check HF_TOKEN, {by_hand}")
        }
        Some(code) => format!("the server answers {code}: try again later, {by_hand}"),
        None => format!("cannot be downloaded ({error}): check the network and HF_ENDPOINT, {by_hand}"),
    };
    HubError::Download { id: id.to_owned(), file: file.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// Caches below `folder`, no network.
    fn offline(folder: &TempDir) -> Places {
        let (own, shared) = (folder.path().join("reft"), Cache::new(folder.path().join("hub")));
        Places { own, shared, endpoint: None, token: None, offline: true }
    }

    fn check_refused(places: &Places, model: &str, parts: &[&str]) {
        let message = places.locate(model).expect_err("not to be had").to_string();
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert_eq!(message.lines().count(), 1, "{message}");
    }

    /// Puts files of `org/name` into the shared cache, as revision `main`.
    fn fill(folder: &TempDir, files: &[(&str, &str)]) -> PathBuf {
        let model = folder.path().join("hub/models--org--name");
        let snapshot = model.join("snapshots/abc");
        for part in [model.join("refs"), snapshot.clone()] {
            fs::create_dir_all(part).expect("a folder");
        }
        fs::write(model.join("refs/main"), "abc").expect("written");
        for (name, text) in files {
            fs::write(snapshot.join(name), text).expect("written");
        }
        snapshot
    }

    #[test]
    fn what_is_no_model_is_refused_before_any_network() {
        let folder = TempDir::new().expect("a folder");
        let places = offline(&folder);
        check_refused(&places, "smollm2", &["run `make model`", "reft/models/SmolLM2-135M-Instruct.Q4_1.gguf"]);
        check_refused(&places, "minilm", &["run `make model`", "reft/models/all-MiniLM-L6-v2"]);
        for model in ["foo", "", "/no/such/folder", "./none", "a/b/c", "models/none.gguf", "org/na me", "org/"] {
            check_refused(&places, model, &[&format!("`{model}`"), "smollm2", "folder", ".gguf", "org/name"]);
        }
    }

    #[test]
    fn the_alias_and_paths_are_found() {
        let folder = TempDir::new().expect("a folder");
        let places = offline(&folder);
        let file = places.own.join(ALIASES[0].1);
        fs::create_dir_all(places.own.join("models")).expect("a folder");
        fs::write(&file, "").expect("written");
        assert_eq!(places.locate("smollm2").expect("there"), file);
        let path = folder.path().to_str().expect("a name");
        assert_eq!(places.locate(path).expect("there"), folder.path());
    }

    #[test]
    fn offline_the_cache_serves_complete_models_only() {
        let index = r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#;
        let steps = [
            (("refs", ""), Some("config.json")),
            (("config.json", "{}"), Some("tokenizer.json")),
            (("tokenizer.json", "{}"), Some("model.safetensors")),
            (("model.safetensors.index.json", index), Some("one.safetensors")),
            (("one.safetensors", ""), Some("two.safetensors")),
            (("two.safetensors", ""), None),
        ];
        let folder = TempDir::new().expect("a folder");
        for (file, missing) in steps {
            let snapshot = fill(&folder, &[file]);
            match missing {
                Some(missing) => check_refused(&offline(&folder), "org/name", &["org/name", missing, "HF_HUB_OFFLINE"]),
                None => assert_eq!(offline(&folder).locate("org/name").expect("complete"), snapshot),
            }
        }
        fill(&folder, &[("model.safetensors.index.json", "{}")]);
        check_refused(&offline(&folder), "org/name", &["model.safetensors.index.json", "no weight_map"]);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let cases: [(u16, &[&str]); 3] = [
            (401, &["no such model", "accept the model's terms", "HF_TOKEN"]),
            (403, &["not for this user", "accept the model's terms", "HF_TOKEN"]),
            (500, &["500", "try again later"]),
        ];
        let answer = |code| ApiError::RequestError(Box::new(ureq::Error::StatusCode(code)));
        let answers = cases.map(|(code, parts)| (answer(code), parts));
        let silence = (ApiError::RequestError(Box::new(ureq::Error::HostNotFound)), &["check the network"][..]);
        for (error, parts) in answers.into_iter().chain([silence]) {
            let message = refusal("org/name", "config.json", &error).to_string();
            for part in [&["org/name: config.json: ", "give its folder"], parts].concat() {
                assert!(message.contains(part), "`{part}` is not in: {message}");
            }
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        let retried = ApiError::TooManyRetries(Box::new(answer(404)));
        assert_eq!(status(&retried), Some(404), "a file that the hub does not have is not an error by itself");
    }
}
