//! Adapters on the hub: a repository holds what `reft import` writes (`adapter/`, a head, `origin.json`), the run's record and a card.

pub mod card;
mod client;
mod commit;

use std::path::{Component, Path};

use reft_models::hub::Remote;
use serde_json::Value;

use client::HubClient;
pub use commit::Upload;

/// Why the hub could not be used.
#[derive(Debug, thiserror::Error)]
pub enum AdapterHubError {
    /// Not `owner/name`.
    #[error("`{0}` is no repository: write it as owner/name, or owner/name@revision to read one")]
    Name(String),
    /// No token with write access.
    #[error("HF_TOKEN is not set: set it to a token of the hub that may write, made at {endpoint}/settings/tokens")]
    NoToken {
        /// The hub.
        endpoint: String,
    },
    /// The network is switched off.
    #[error("HF_HUB_OFFLINE is set: unset it to reach {endpoint}")]
    Offline {
        /// The hub.
        endpoint: String,
    },
    /// The hub said no, or nothing.
    #[error("{what}: {reason}: {remedy}")]
    Refused {
        /// What was asked of which address.
        what: String,
        /// The status with the hub's own words, or what happened to the connection.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A repository without an adapter.
    #[error(
        "{0}: it has neither adapter/adapter_config.json nor files of an adapter of peft, adapters or pyreft: check the name"
    )]
    NoAdapter(String),
    /// A file name that leads out of the folder.
    #[error("{repository}: its file `{file}` would be written outside the folder: it is not downloaded")]
    Path {
        /// The repository.
        repository: String,
        /// The file.
        file: String,
    },
    /// A file that cannot be written.
    #[error("{path}: {source}: check the path, its permissions and the space left")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

/// A repository at a revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HubRepository {
    /// `owner/name`.
    pub id: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

impl std::str::FromStr for HubRepository {
    type Err = AdapterHubError;

    fn from_str(text: &str) -> Result<Self, AdapterHubError> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let part = |part: &str| {
            let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            part.starts_with(|letter: char| letter.is_ascii_alphanumeric()) && part.chars().all(allowed)
        };
        let known = id.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name));
        if !known || !revision.split('/').all(part) {
            return Err(AdapterHubError::Name(text.to_owned()));
        }
        Ok(Self { id: id.to_owned(), revision: revision.to_owned() })
    }
}

/// What a repository turned out to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    /// An adapter of this program.
    AdapterOnBase,
    /// One of another library, to be imported.
    Foreign,
}

/// The hub.
#[derive(Debug)]
pub struct Hub(HubClient);

impl Hub {
    /// The hub of the environment: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// When the network is switched off.
    pub fn from_environment() -> Result<Self, AdapterHubError> {
        let Remote { endpoint, token, offline } = Remote::from_environment();
        if offline {
            return Err(AdapterHubError::Offline { endpoint });
        }
        Ok(Self(HubClient::new(endpoint, token)))
    }

    /// Refuses to go on without a token.
    ///
    /// # Errors
    /// When there is none.
    pub fn may_write(&self) -> Result<(), AdapterHubError> {
        if self.0.has_token() {
            Ok(())
        } else {
            Err(AdapterHubError::NoToken { endpoint: self.0.endpoint().to_owned() })
        }
    }

    /// Commits these files to a repository, which is created where it is missing. Gives the commit.
    ///
    /// # Errors
    /// When there is no token, or the hub refuses.
    pub fn push(
        &self,
        to: &HubRepository,
        files: &[Upload],
        (title, private): (&str, bool),
    ) -> Result<String, AdapterHubError> {
        self.may_write()?;
        commit::create(&self.0, to, private)?;
        commit::commit(&self.0, to, files, title)
    }

    /// Downloads an adapter's repository into a folder. Gives what it holds and the commit.
    ///
    /// # Errors
    /// When the hub refuses, or there is no adapter in it.
    pub fn pull(&self, from: &HubRepository, folder: &Path) -> Result<(Holds, String), AdapterHubError> {
        let HubRepository { id, revision } = from;
        let about = self.0.get_json(&format!("/api/models/{id}/revision/{revision}"))?;
        let names = about["siblings"].as_array().into_iter().flatten().filter_map(|file| file["rfilename"].as_str());
        let names: Vec<&str> = names.filter(|name| *name != ".gitattributes").collect();
        let commit = about["sha"].as_str().unwrap_or(revision).to_owned();
        let has = |name: &str| names.contains(&name);
        let foreign = has("adapter_config.json") || names.iter().any(|name| name.starts_with("intkey_"));
        let holds = match (has("adapter/adapter_config.json"), foreign) {
            (true, _) => Holds::AdapterOnBase,
            (false, true) => Holds::Foreign,
            (false, false) => return Err(AdapterHubError::NoAdapter(format!("{id}@{revision}"))),
        };
        for name in names {
            if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(AdapterHubError::Path { repository: id.clone(), file: name.to_owned() });
            }
            let bytes = self.0.get(&format!("/{id}/resolve/{commit}/{name}"))?;
            let path = folder.join(name);
            let parent = path.parent().unwrap_or(folder);
            let written = std::fs::create_dir_all(parent).and_then(|()| crate::atomic::write(&path, &bytes));
            written.map_err(|source| AdapterHubError::Io { path: path.clone(), source })?;
        }
        Ok((holds, commit))
    }
}

/// A key's text in an answer of the hub.
fn text<'v>(answer: &'v Value, key: &str) -> Option<&'v str> {
    answer.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_owner_and_name() {
        let read = |text: &str| text.parse::<HubRepository>().map(|found| (found.id, found.revision)).ok();
        let of = |id: &str, revision: &str| Some((id.to_owned(), revision.to_owned()));
        assert_eq!(read("me/an-adapter_1.0"), of("me/an-adapter_1.0", "main"));
        assert_eq!(read("me/x@refs/pr/3"), of("me/x", "refs/pr/3"));
        for wrong in ["me", "me/", "/x", "me/x/y", "../x", "me/x@", "me/x@../y", "me/a b", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
