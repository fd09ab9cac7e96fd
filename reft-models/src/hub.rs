//! From what a user calls a model to files on this machine: an alias, a path, or a Hugging Face id, with a revision if
//! it matters (`org/name@branch`, a tag or a commit).

mod dataset;
mod settings;
mod snapshot;

use std::path::{Path, PathBuf};

use hf_hub::api::sync::ApiError;

pub use self::dataset::{Dataset, DatasetError, is_dataset_id};
use self::settings::HubSettings;
pub use self::settings::{cache_dir, is_true};
use self::snapshot::Snapshot;
use crate::container::WeightsError;
use crate::weights::is_gguf;

/// The files and folders behind aliases, in the user's cache.
pub const ALIASES: [Alias; 3] = [
    Alias { name: "smollm2", place: "models/SmolLM2-135M-Instruct.Q4_1.gguf", on_request: false },
    Alias { name: "minilm", place: "models/all-MiniLM-L6-v2", on_request: false },
    // Its terms are its maker's.
    Alias { name: "gemma3-270m", place: "models/gemma-3-270m-q4_k_m.gguf", on_request: true },
];

/// A short name of a model in the user's cache.
#[derive(Clone, Copy, Debug)]
pub struct Alias {
    /// The name.
    pub name: &'static str,
    /// The file or folder, below the user's cache.
    pub place: &'static str,
    /// Whether it is fetched for users who ask for it only, under its maker's terms.
    pub on_request: bool,
}

/// A model that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A model with an alias was not set up.
    #[error("{path}: the model {alias} is not there: place its file or folder at that path, or give another model")]
    NotSetUp {
        /// The alias.
        alias: &'static str,
        /// Whether it is fetched on request only.
        on_request: bool,
        /// Where it belongs.
        path: PathBuf,
    },
    /// Neither alias nor path nor id.
    #[error(
        "model `{0}` is not known: give `smollm2`, `gemma3-270m`, the encoder `minilm`, a folder, a .gguf file, or a Hugging Face id such as \
         org/name or org/name@revision"
    )]
    Unknown(String),
    /// Not in the cache, and the network is switched off.
    #[error(
        "{id}: {file} is not in the Hugging Face cache {cache} and HF_HUB_OFFLINE is set: unset it, set HF_HUB_CACHE to the \
         cache that holds the model, or download the model elsewhere and give its folder as model"
    )]
    Offline {
        /// The id, with the revision if one was given.
        id: String,
        /// The file.
        file: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The server said no.
    #[error("{id}: {file} is not in the Hugging Face cache {cache}, and {reason}")]
    Download {
        /// The id, with the revision if one was given.
        id: String,
        /// The file.
        file: String,
        /// The cache.
        cache: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The downloaded index of shards is not one.
    #[error(transparent)]
    Index(#[from] WeightsError),
}

/// A model on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelLocation {
    /// The folder or `.gguf` file.
    pub path: PathBuf,
    /// The id and the commit that a name of the hub stands for, as `org/name@commit`: the same files wherever and
    /// whenever it is given as model. None for an alias or a path.
    pub pinned: Option<String>,
}

/// The folder or `.gguf` file of a model; downloads what is missing of a Hugging Face id.
///
/// # Errors
/// When the model is unknown, cannot be downloaded, or is not for this user.
pub fn locate(model: &str) -> Result<PathBuf, HubError> {
    find(model).map(|located| located.path)
}

/// The hub itself, as the environment names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    /// Its address, without a slash at the end.
    pub endpoint: String,
    /// What says who asks: `HF_TOKEN`, or the file that the hub's own program wrote.
    pub token: Option<String>,
    /// Whether the network is switched off.
    pub offline: bool,
}

impl Remote {
    /// `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE`.
    pub fn from_environment() -> Self {
        let HubSettings { endpoint, token, offline, .. } = HubSettings::from_environment();
        Self { endpoint: endpoint.unwrap_or_else(|| PUBLIC.to_owned()), token, offline }
    }
}

/// The hub where the environment names none.
const PUBLIC: &str = "https://huggingface.co";

/// The same, with the revision of a Hugging Face id.
///
/// # Errors
/// When the model is unknown, cannot be downloaded, or is not for this user.
pub fn find(model: &str) -> Result<ModelLocation, HubError> {
    HubSettings::from_environment().find(model)
}

/// The same of a model that is on this machine: nothing is downloaded.
///
/// # Errors
/// When it is not, or the model is unknown.
pub fn find_here(model: &str) -> Result<ModelLocation, HubError> {
    let mut settings = HubSettings::from_environment();
    settings.offline = true;
    settings.find(model)
}

impl HubSettings {
    fn find(&self, model: &str) -> Result<ModelLocation, HubError> {
        if let Some(Alias { name, place, on_request }) = ALIASES.iter().find(|alias| alias.name == model) {
            let path = self.own.join(place);
            return if path.exists() {
                Ok(ModelLocation { path, pinned: None })
            } else {
                Err(HubError::NotSetUp { alias: name, on_request: *on_request, path })
            };
        }
        let path = self.expand(model);
        if path.exists() {
            return Ok(ModelLocation { path, pinned: None });
        }
        let name = ModelName::read(model).ok_or_else(|| HubError::Unknown(model.to_owned()))?;
        let snapshot = Snapshot::new(&name, self);
        match snapshot.complete() {
            Ok(found) => Ok(found),
            Err(missing) if self.offline => Err(missing),
            Err(_) => snapshot.online()?.complete(),
        }
    }
}

/// `org/name`, and the revision of it that is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ModelName<'a> {
    id: &'a str,
    revision: &'a str,
}

impl<'a> ModelName<'a> {
    /// None for anything that looks like a mistyped path.
    fn read(model: &'a str) -> Option<Self> {
        let (id, revision) = model.split_once('@').unwrap_or((model, "main"));
        let part = |part: &str| {
            let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            part.starts_with(|letter: char| letter.is_ascii_alphanumeric()) && part.chars().all(allowed)
        };
        let file = is_gguf(Path::new(model));
        let known = !file && id.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name));
        // A branch may have a folder in its name.
        (known && revision.split('/').all(part)).then_some(Self { id, revision })
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

/// Why a file cannot be downloaded, and what to do.
fn refusal(error: &ApiError) -> String {
    let by_hand = "or download it elsewhere and give its folder as model";
    match status(error) {
        // The hub also answers 401 for models that do not exist, to requests without a token.
        Some(401) => format!(
            "the hub has no such model, or it is not for everybody (401): check the id, accept the model's terms on its page and set \
             HF_TOKEN, {by_hand}"
        ),
        Some(403) => {
            format!(
                "the model is not for this user (403): accept the model's terms on its page and check HF_TOKEN, {by_hand}"
            )
        }
        Some(code) => format!("the server answers {code}: try again later, {by_hand}"),
        None => format!("cannot be downloaded ({}): check the network and HF_ENDPOINT, {by_hand}", one_line(error)),
    }
}

/// The library's message; a server's answer in it may have several lines.
fn one_line(error: &ApiError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// Caches below `folder`, no network.
    fn offline(folder: &TempDir) -> HubSettings {
        let path = |name: &str| folder.path().join(name).display().to_string();
        HubSettings::read(|name| match name {
            "REFT_CACHE" => Some(path("reft")),
            "HF_HUB_CACHE" => Some(path("hub")),
            "HF_HUB_OFFLINE" => Some("1".to_owned()),
            _ => None,
        })
    }

    fn check_refused(places: &HubSettings, model: &str, parts: &[&str]) {
        let message = places.find(model).expect_err("not to be had").to_string();
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
        check_refused(
            &places,
            "smollm2",
            &["place its file or folder at that path", "reft/models/SmolLM2-135M-Instruct.Q4_1.gguf"],
        );
        check_refused(&places, "minilm", &["place its file or folder at that path", "reft/models/all-MiniLM-L6-v2"]);
        for model in ["foo", "", "/no/such/folder", "./none", "a/b/c", "models/none.gguf", "org/na me", "org/"] {
            check_refused(&places, model, &[&format!("`{model}`"), "smollm2", "folder", ".gguf", "org/name"]);
        }
    }

    #[test]
    fn the_alias_and_paths_are_found() {
        let folder = TempDir::new().expect("a folder");
        let places = offline(&folder);
        let file = places.own.join(ALIASES[0].place);
        fs::create_dir_all(places.own.join("models")).expect("a folder");
        fs::write(&file, "").expect("written");
        assert_eq!(places.find("smollm2").expect("there"), ModelLocation { path: file, pinned: None });
        let path = folder.path().to_str().expect("a name");
        assert_eq!(places.find(path).expect("there").path, folder.path());
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
                None => assert_eq!(offline(&folder).find("org/name").expect("complete").path, snapshot),
            }
        }
        fill(&folder, &[("model.safetensors.index.json", "{}")]);
        check_refused(&offline(&folder), "org/name", &["model.safetensors.index.json", "no weight_map"]);
    }

    #[test]
    fn a_revision_is_a_branch_a_tag_or_a_commit_and_is_pinned() {
        let folder = TempDir::new().expect("a folder");
        let files = [("config.json", "{}"), ("vocab.txt", ""), ("pytorch_model.bin", "")];
        let snapshot = fill(&folder, &files);
        let refs = folder.path().join("hub/models--org--name/refs");
        fs::create_dir_all(refs.join("refs/pr")).expect("a folder");
        for (name, text) in
            [("main", "abc\n"), ("v1.0", "abc\r\n"), ("refs/pr/3", "abc"), ("gone", "def"), ("away", "../..")]
        {
            fs::write(refs.join(name), text).expect("written");
        }
        let settings = offline(&folder);
        let expected = ModelLocation { path: snapshot, pinned: Some("org/name@abc".to_owned()) };
        for model in ["org/name", "org/name@main", "org/name@v1.0", "org/name@refs/pr/3", "org/name@abc"] {
            assert_eq!(settings.find(model).expect("cached"), expected, "{model}");
        }
        let cache = folder.path().join("hub").display().to_string();
        for model in ["org/name@gone", "org/name@away", "org/name@none", "org/other"] {
            check_refused(&settings, model, &[model, "config.json", &cache, "HF_HUB_OFFLINE"]);
        }
        for model in ["org/name@", "org/name@../x", "org/name@a b", "org/name@/x", "org/name@x@y"] {
            check_refused(&settings, model, &["not known", "org/name@revision"]);
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let cases: [(u16, &[&str]); 3] = [
            (401, &["no such model", "not for everybody", "accept the model's terms", "HF_TOKEN"]),
            (403, &["not for this user", "accept the model's terms", "HF_TOKEN"]),
            (500, &["500", "try again later"]),
        ];
        let answer = |code| ApiError::RequestError(Box::new(ureq::Error::StatusCode(code)));
        let answers = cases.map(|(code, parts)| (answer(code), parts));
        let silence = (ApiError::RequestError(Box::new(ureq::Error::HostNotFound)), &["check the network"][..]);
        for (error, parts) in answers.into_iter().chain([silence]) {
            let message = refusal(&error);
            for part in [&["give its folder"], parts].concat() {
                assert!(message.contains(part), "`{part}` is not in: {message}");
            }
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        let retried = ApiError::TooManyRetries(Box::new(answer(404)));
        assert_eq!(status(&retried), Some(404), "a file that the hub does not have is not an error by itself");
    }
}
