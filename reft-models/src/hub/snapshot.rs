//! One revision of a model of the hub: in the cache, and beyond it.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::settings::HubSettings;
use super::{HubError, ModelLocation, ModelName, refusal, status};
use crate::weights::shards;

/// What every model needs beside its weights, and decides which commit is meant.
const CONFIG: &str = "config.json";

/// Files of tokenizers; a model has at least one of these sets' first ones.
const TOKENIZERS: [&str; 6] =
    ["tokenizer.json", "tokenizer.model", "sentencepiece.bpe.model", "spiece.model", "vocab.txt", "vocab.json"];

/// What some models have.
const OPTIONAL: [&str; 7] = [
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
];

/// The weights, or with `.index.json` behind the list of their shards; the first that exists is taken.
const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// A model of the hub at one revision.
pub(super) struct Snapshot<'a> {
    name: ModelName<'a>,
    settings: &'a HubSettings,
    remote: Option<Api>,
}

/// The same at one commit, so that all files belong together whatever happens to the branch meanwhile.
struct PinnedSnapshot<'a> {
    snapshot: &'a Snapshot<'a>,
    folder: PathBuf,
    remote: Option<ApiRepo>,
}

impl<'a> Snapshot<'a> {
    /// In the cache alone.
    pub fn new(name: &ModelName<'a>, settings: &'a HubSettings) -> Self {
        Self { name: *name, settings, remote: None }
    }

    /// With the network behind the cache.
    pub fn online(self) -> Result<Self, HubError> {
        let mut builder = ApiBuilder::from_cache(Cache::new(self.settings.hub.clone()));
        if let Some(endpoint) = &self.settings.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let api = builder.with_token(self.settings.token.clone()).build();
        let api = api.map_err(|error| self.refused(CONFIG, refusal(&error)))?;
        Ok(Self { remote: Some(api), ..self })
    }

    /// All files that the model needs.
    pub fn complete(&self) -> Result<ModelLocation, HubError> {
        let pinned = self.pinned()?;
        let mut tokenizers = 0;
        for file in TOKENIZERS {
            tokenizers += usize::from(pinned.find(file)?.is_some());
        }
        if tokenizers == 0 {
            return Err(self.missing(TOKENIZERS[0]));
        }
        for file in OPTIONAL {
            pinned.find(file)?;
        }
        pinned.weights()?;
        let commit = pinned.folder.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{}@{commit}", self.name.id);
        Ok(ModelLocation { path: pinned.folder, pinned: Some(name) })
    }

    /// The commit that the revision stands for. One that the cache does not know is asked for with its configuration.
    fn pinned(&self) -> Result<PinnedSnapshot<'_>, HubError> {
        if let (None, Some(api)) = (self.commit(), &self.remote) {
            match self.repo(api, self.name.revision).get(CONFIG) {
                Ok(_) => {}
                Err(error) if status(&error) == Some(404) => return Err(self.missing(CONFIG)),
                Err(error) => return Err(self.refused(CONFIG, refusal(&error))),
            }
        }
        let commit = self.commit().ok_or_else(|| self.missing(CONFIG))?;
        let remote = self.remote.as_ref().map(|api| self.repo(api, &commit));
        let pinned = PinnedSnapshot { snapshot: self, folder: self.cache().join("snapshots").join(&commit), remote };
        pinned.needed(CONFIG)?;
        Ok(pinned)
    }

    fn repo(&self, api: &Api, revision: &str) -> ApiRepo {
        api.repo(Repo::with_revision(self.name.id.to_owned(), RepoType::Model, revision.to_owned()))
    }

    /// The model's folder in the cache.
    fn cache(&self) -> PathBuf {
        self.settings.hub.join(format!("models--{}", self.name.id.replace('/', "--")))
    }

    /// The commit behind the revision, as far as the cache knows: a commit itself has a folder, a branch or tag a file
    /// with the commit, perhaps with a line break.
    fn commit(&self) -> Option<String> {
        let (cache, revision) = (self.cache(), self.name.revision);
        if !revision.contains('/') && cache.join("snapshots").join(revision).is_dir() {
            return Some(revision.to_owned());
        }
        let commit = std::fs::read_to_string(cache.join("refs").join(revision)).ok()?.trim().to_owned();
        // A name, not a path.
        Path::new(&commit).file_name().is_some_and(|name| name == commit.as_str()).then_some(commit)
    }

    /// As the user wrote it.
    fn id(&self) -> String {
        let ModelName { id, revision } = self.name;
        if revision == "main" { id.to_owned() } else { format!("{id}@{revision}") }
    }

    fn refused(&self, file: &str, reason: String) -> HubError {
        HubError::Download { id: self.id(), file: file.to_owned(), cache: self.settings.hub.clone(), reason }
    }

    fn missing(&self, file: &str) -> HubError {
        if self.remote.is_none() {
            return HubError::Offline { id: self.id(), file: file.to_owned(), cache: self.settings.hub.clone() };
        }
        let reason = "the hub has no such model or revision, or the model no such file: check the id, or choose another \
                      model";
        self.refused(file, reason.to_owned())
    }
}

impl PinnedSnapshot<'_> {
    fn weights(&self) -> Result<(), HubError> {
        for file in WEIGHTS {
            if self.find(file)?.is_some() {
                return Ok(());
            }
            if let Some(index) = self.find(&format!("{file}.index.json"))? {
                return shards(&index)?.iter().try_for_each(|name| self.needed(name).map(|_| ()));
            }
        }
        Err(self.snapshot.missing(WEIGHTS[0]))
    }

    fn needed(&self, file: &str) -> Result<PathBuf, HubError> {
        self.find(file)?.ok_or_else(|| self.snapshot.missing(file))
    }

    /// None when the model has no such file.
    fn find(&self, file: &str) -> Result<Option<PathBuf>, HubError> {
        let cached = self.folder.join(file);
        if cached.exists() {
            return Ok(Some(cached));
        }
        let Some(remote) = &self.remote else { return Ok(None) };
        match remote.get(file) {
            Ok(path) => Ok(Some(path)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.snapshot.refused(file, refusal(&error))),
        }
    }
}
