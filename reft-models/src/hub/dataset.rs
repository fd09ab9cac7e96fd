//! Data sets of the hub: the parquet files of one revision, in the cache that other programs use too.
//!
//! An id is `org/name`, `org/name/subset` or either with `@revision`. Without a revision the branch `main` is meant, or
//! `refs/convert/parquet`, where the hub keeps parquet files of data sets that were published in another format.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::settings::HubSettings;
use super::{ModelName, one_line, status};

/// The branch on which the hub keeps parquet files that it made itself.
const CONVERTED: &str = "refs/convert/parquet";

/// A data set that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// Not in the cache, and the network is switched off.
    #[error(
        "{id}: {what} not in the Hugging Face cache {cache} and HF_HUB_OFFLINE is set: unset it, set HF_HUB_CACHE to the cache \
         that holds the data set, or download its files elsewhere and give their folder"
    )]
    Offline {
        /// The id as it was given.
        id: String,
        /// What is missing, with its verb.
        what: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The server said no.
    #[error("{id}: {what} not in the Hugging Face cache {cache}, and {reason}")]
    Download {
        /// The id as it was given.
        id: String,
        /// What is missing, with its verb.
        what: String,
        /// The cache.
        cache: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Nothing to read.
    #[error(
        "{id}: no parquet files at {revisions}: choose another revision, or download its files and give their folder"
    )]
    NoFiles {
        /// The id as it was given.
        id: String,
        /// The revisions that were looked at.
        revisions: String,
    },
    /// One of several parts has to be chosen.
    #[error("{id}: the data set has several subsets: name one of them, such as {example} (there is {found})")]
    Subsets {
        /// The id as it was given.
        id: String,
        /// An id that names one.
        example: String,
        /// All of them.
        found: String,
    },
    /// A subset that there is not.
    #[error("{id}: the data set has no subset `{subset}`: there is {found}")]
    NoSubset {
        /// The id as it was given.
        id: String,
        /// The subset.
        subset: String,
        /// All of them.
        found: String,
    },
    /// A list of files that no data set has.
    #[error("{id}: the server lists files that cannot be: check HF_ENDPOINT")]
    Listing {
        /// The id as it was given.
        id: String,
    },
    /// The cache cannot be written.
    #[error("{path}: {source}: check its permissions and the space left")]
    Cache {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

/// A data set's id, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct DatasetName<'a> {
    given: &'a str,
    id: &'a str,
    subset: Option<&'a str>,
    /// None where it is left open.
    revision: Option<&'a str>,
}

impl<'a> DatasetName<'a> {
    fn read(given: &'a str) -> Option<Self> {
        let (path, revision) = match given.split_once('@') {
            Some((path, revision)) => (path, Some(revision)),
            None => (given, None),
        };
        let owner = path.find('/')?;
        let end = path[owner + 1..].find('/').map_or(path.len(), |at| owner + 1 + at);
        let (id, subset) = (&path[..end], path.get(end + 1..));
        let plain = |text: &str| ModelName::read(&format!("o/{text}")).is_some();
        let known = ModelName::read(id).is_some() && subset.is_none_or(|subset| !subset.contains('/') && plain(subset));
        let revised = revision.is_none_or(|revision| ModelName::read(&format!("o/n@{revision}")).is_some());
        (known && revised).then_some(Self { given, id, subset, revision })
    }
}

/// Whether a text has the form of a data set's id: `org/name`, with a subset or a revision if one is meant.
pub fn is_dataset_id(text: &str) -> bool {
    DatasetName::read(text).is_some()
}

/// The parquet files of a data set at one commit.
pub struct Dataset {
    given: String,
    pinned: String,
    folder: PathBuf,
    files: Vec<PathBuf>,
    settings: HubSettings,
    remote: Option<ApiRepo>,
}

impl Dataset {
    /// The data set of an id; the list of its files is asked for unless the cache has it.
    ///
    /// # Errors
    /// When the id is none, the data set is not to be had, has no parquet files, or a subset has to be chosen.
    pub fn find(id: &str) -> Result<Self, DatasetError> {
        Self::with(id, HubSettings::from_environment())
    }

    fn with(id: &str, settings: HubSettings) -> Result<Self, DatasetError> {
        let name = DatasetName::read(id).ok_or_else(|| DatasetError::NoFiles {
            id: id.to_owned(),
            revisions: "this name, which is no data set's id (org/name)".to_owned(),
        })?;
        let revisions = name.revision.map_or(vec!["main", CONVERTED], |revision| vec![revision]);
        let mut absent = None;
        for revision in &revisions {
            let found = Revision { name, of: revision, settings: &settings }.listed();
            match found {
                Ok((commit, files)) if !files.is_empty() => {
                    let files = subset(&name, files)?;
                    let revision = Revision { name, of: revision, settings: &settings };
                    let remote = if settings.offline { None } else { Some(revision.repo(&commit)?) };
                    let pinned = format!("{}@{commit}", id.split('@').next().unwrap_or(id));
                    let folder = revision.folder(&commit);
                    return Ok(Self { given: id.to_owned(), pinned, folder, files, settings, remote });
                }
                Ok(_) => {}
                Err(error) => absent = absent.or(Some(error)),
            }
        }
        Err(absent.unwrap_or_else(|| DatasetError::NoFiles { id: id.to_owned(), revisions: revisions.join(" and ") }))
    }

    /// The id at its commit, as `org/name@commit`.
    pub fn pinned(&self) -> &str {
        &self.pinned
    }

    /// The folder of the commit in the cache.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its files below that folder, or those of the subset, in the order of their names. They need not be there yet.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Downloads a file unless the cache has it.
    ///
    /// # Errors
    /// When that fails, or the network is switched off.
    pub fn fetch(&self, file: &Path) -> Result<PathBuf, DatasetError> {
        let place = self.folder.join(file);
        if place.exists() {
            return Ok(place);
        }
        let (id, what, cache) =
            (self.given.clone(), format!("its file {} is", file.display()), self.settings.hub.clone());
        let Some(remote) = &self.remote else { return Err(DatasetError::Offline { id, what, cache }) };
        match remote.get(&file.to_string_lossy()) {
            Ok(_) if place.exists() => Ok(place),
            Ok(_) => Err(DatasetError::Listing { id }),
            Err(error) => Err(DatasetError::Download { id, what, cache, reason: refusal(&error) }),
        }
    }
}

/// One revision of a data set.
struct Revision<'a> {
    name: DatasetName<'a>,
    /// A branch, a tag or a commit.
    of: &'a str,
    settings: &'a HubSettings,
}

impl Revision<'_> {
    /// Its commit, and the parquet files there.
    fn listed(&self) -> Result<(String, Vec<PathBuf>), DatasetError> {
        let id = || self.name.given.to_owned();
        if let Some(commit) = self.commit()
            && let Some(files) = self.noted(&commit)
        {
            return Ok((commit, files));
        }
        if self.settings.offline {
            // What another program downloaded.
            let found = self.commit().map(|commit| (parquet_below(&self.folder(&commit)), commit));
            return match found {
                Some((files, commit)) if !files.is_empty() => Ok((commit, files)),
                _ => Err(DatasetError::Offline {
                    id: id(),
                    what: "the data set is".to_owned(),
                    cache: self.settings.hub.clone(),
                }),
            };
        }
        let asked = self.commit().unwrap_or_else(|| self.of.to_owned());
        let info = self.repo(&asked)?.info().map_err(|error| self.refused(&error))?;
        let is_plain = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        let files: Vec<PathBuf> = info.siblings.iter().map(|file| PathBuf::from(&file.rfilename)).collect();
        let commit_is_plain = !info.sha.is_empty() && info.sha.chars().all(|c| c.is_ascii_alphanumeric());
        if !commit_is_plain || !files.iter().all(|path| is_plain(path)) {
            return Err(DatasetError::Listing { id: id() });
        }
        let files: BTreeSet<PathBuf> = files.into_iter().filter(|path| is_parquet(path)).collect();
        let files: Vec<PathBuf> = files.into_iter().collect();
        self.note(&info.sha, &files)?;
        Ok((info.sha, files))
    }

    fn repo(&self, revision: &str) -> Result<ApiRepo, DatasetError> {
        let mut builder = ApiBuilder::from_cache(Cache::new(self.settings.hub.clone()));
        if let Some(endpoint) = &self.settings.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let api: Api = builder.with_token(self.settings.token.clone()).build().map_err(|error| self.refused(&error))?;
        Ok(api.repo(self.named(revision)))
    }

    fn named(&self, revision: &str) -> Repo {
        Repo::with_revision(self.name.id.to_owned(), RepoType::Dataset, revision.to_owned())
    }

    fn cache(&self) -> PathBuf {
        self.settings.hub.join(self.named(self.of).folder_name())
    }

    fn folder(&self, commit: &str) -> PathBuf {
        self.cache().join("snapshots").join(commit)
    }

    /// The commit behind the revision, as far as the cache knows.
    fn commit(&self) -> Option<String> {
        let listed = |commit: &str| self.folder(commit).is_dir() || self.list(commit).exists();
        if !self.of.contains('/') && listed(self.of) {
            return Some(self.of.to_owned());
        }
        let commit = std::fs::read_to_string(self.cache().join("refs").join(self.of)).ok()?.trim().to_owned();
        // A name, not a path.
        Path::new(&commit).file_name().is_some_and(|name| name == commit.as_str()).then_some(commit)
    }

    /// Where the list of a commit's files is kept: the cache alone does not tell a whole data set from a part of it.
    fn list(&self, commit: &str) -> PathBuf {
        self.settings.own.join("datasets").join(self.name.id.replace('/', "--")).join(format!("{commit}.json"))
    }

    fn noted(&self, commit: &str) -> Option<Vec<PathBuf>> {
        serde_json::from_slice(&std::fs::read(self.list(commit)).ok()?).ok()
    }

    /// Keeps the list, and which commit the revision stands for.
    fn note(&self, commit: &str, files: &[PathBuf]) -> Result<(), DatasetError> {
        let path = self.list(commit);
        let folder = path.parent().unwrap_or(Path::new("."));
        let written = std::fs::create_dir_all(folder).and_then(|()| {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec(files).expect("plain data"))?;
            file.persist(&path).map(|_| ()).map_err(|error| error.error)
        });
        written.map_err(|source| DatasetError::Cache { path, source })?;
        let cache = Cache::new(self.settings.hub.clone()).repo(self.named(self.of));
        cache.create_ref(commit).map_err(|source| DatasetError::Cache { path: self.cache(), source })
    }

    fn refused(&self, error: &hf_hub::api::sync::ApiError) -> DatasetError {
        let (id, what) = (self.name.given.to_owned(), "the data set is".to_owned());
        DatasetError::Download { id, what, cache: self.settings.hub.clone(), reason: refusal(error) }
    }
}

/// The files of the subset that is meant: the named one, the only one, or `default`. A subset is a folder, unless folders are
/// called as splits are.
fn subset(name: &DatasetName<'_>, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, DatasetError> {
    let top = |path: &PathBuf| match path.components().collect::<Vec<_>>().as_slice() {
        [first, _, ..] => first.as_os_str().to_string_lossy().into_owned(),
        _ => String::new(),
    };
    let tops: BTreeSet<String> = files.iter().map(top).collect();
    let found = || tops.iter().filter(|top| !top.is_empty()).cloned().collect::<Vec<_>>().join(", ");
    let of = |wanted: &str| files.iter().filter(|path| top(path) == wanted).cloned().collect::<Vec<_>>();
    let is_split = |top: &String| ["train", "dev", "valid", "test"].iter().any(|split| top.starts_with(split));
    let id = name.given.to_owned();
    match name.subset {
        Some(subset) if tops.contains(subset) => Ok(of(subset)),
        Some(subset) => Err(DatasetError::NoSubset { id, subset: subset.to_owned(), found: found() }),
        None if tops.len() == 1 || tops.iter().all(|top| top.is_empty() || is_split(top)) => Ok(files),
        None if tops.contains("default") => Ok(of("default")),
        None => {
            let first = tops.iter().find(|top| !top.is_empty()).cloned().unwrap_or_default();
            let revision = name.revision.map_or(String::new(), |revision| format!("@{revision}"));
            let example = format!("{}/{first}{revision}", name.id);
            Err(DatasetError::Subsets { id, example, found: found() })
        }
    }
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
}

/// The parquet files below a folder, relative to it, in the order of their names.
fn parquet_below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for path in std::fs::read_dir(&next).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if is_parquet(&path) && path.exists() {
                found.extend(path.strip_prefix(folder).map(Path::to_owned));
            }
        }
    }
    found.sort();
    found
}

/// Why a data set cannot be downloaded, and what to do.
fn refusal(error: &hf_hub::api::sync::ApiError) -> String {
    let by_hand = "or download its files elsewhere and give their folder";
    match status(error) {
        // The hub also answers 401 for data sets that do not exist, to those who have not said who they are.
        Some(401) => format!(
            "the hub has no such data set, or it is not for everybody (401): check the id, accept its terms on its page and set \
             HF_TOKEN, {by_hand}"
        ),
        Some(403) => format!(
            "the data set is not for this user (403): accept its terms on its page and check HF_TOKEN, {by_hand}"
        ),
        Some(404) => format!("the hub has no such data set or revision (404): check the id, {by_hand}"),
        Some(code) => format!("the server answers {code}: try again later, {by_hand}"),
        None => format!("cannot be downloaded ({}): check the network and HF_ENDPOINT, {by_hand}", one_line(error)),
    }
}

#[cfg(test)]
mod tests;
