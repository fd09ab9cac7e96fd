//! Where data files come from: the user's folder, the cache, the public repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use reft_models::hub::is_true;

use super::data_file::{self, DataFile};
use super::error::DataError;
use super::json_rows;
use super::need::Need;
use super::pinned::PinnedFile;
use super::row::Row;

/// The folders to look in, and the files that were read there.
#[derive(Clone, Debug)]
pub struct DataSources {
    given: Option<PathBuf>,
    cache: PathBuf,
    download: bool,
    read: Arc<Mutex<BTreeMap<PathBuf, DataFile>>>,
}

impl DataSources {
    fn new(given: Option<PathBuf>, cache: PathBuf, download: bool) -> Self {
        Self { given, cache, download, read: Arc::default() }
    }

    /// `REFT_DATA`, then the cache, then the repository (unless `HF_HUB_OFFLINE` is set).
    pub fn from_env() -> Self {
        let given = std::env::var_os("REFT_DATA").filter(|value| !value.is_empty()).map(PathBuf::from);
        let offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| is_true(&value));
        Self::new(given, reft_models::hub::cache_dir().join("data"), !offline)
    }

    /// These folders only, for tests.
    pub fn local(given: &Path) -> Self {
        Self::new(Some(given.to_owned()), given.join("cache"), false)
    }

    /// The same folders, of which nothing was read yet.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self { read: Arc::default(), ..self.clone() }
    }

    /// The files that were read, in the order of their paths.
    pub fn files(&self) -> Vec<DataFile> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The rows of a file such as `dataset/ARC-Easy/train.json`.
    ///
    /// # Errors
    /// When the file is nowhere, not valid, or a row lacks what is needed of it.
    pub fn rows(&self, file: &str, need: Need) -> Result<Vec<Row>, DataError> {
        let path = self.locate(file)?;
        self.note(file, &path)?;
        Ok(json_rows::read(&path, need)?)
    }

    /// Notes that a file is read, by its name in a data folder, and checks that it is still the one that was downloaded.
    ///
    /// # Errors
    /// When it cannot be read, or has changed since it was downloaded.
    pub fn note(&self, file: &str, path: &Path) -> Result<(), DataError> {
        let known = self.read.lock().unwrap_or_else(PoisonError::into_inner).contains_key(path);
        if !known {
            let noted = data_file::of(file, path)?;
            self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), noted);
        }
        Ok(())
    }

    /// Notes that a file of the hub's is read, at this revision.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn note_at(&self, file: &str, path: &Path, revision: &str) -> Result<(), DataError> {
        self.note(file, path)?;
        if let Some(noted) = self.read.lock().unwrap_or_else(PoisonError::into_inner).get_mut(path) {
            noted.revision = Some(revision.to_owned());
        }
        Ok(())
    }

    /// The folders that are looked in, in this order.
    pub fn folders(&self) -> Vec<&Path> {
        self.given.iter().chain([&self.cache]).map(PathBuf::as_path).collect()
    }

    fn locate(&self, file: &str) -> Result<PathBuf, DataError> {
        let places: Vec<PathBuf> = self.folders().iter().map(|folder| folder.join(file)).collect();
        if let Some(found) = places.iter().find(|place| place.exists()) {
            return Ok(found.clone());
        }
        let place = self.cache.join(file);
        let reason = match PinnedFile::of(file) {
            None => "it is not published".to_owned(),
            Some(_) if !self.download => "downloads are switched off".to_owned(),
            Some(pinned) => match data_file::download(pinned, &place) {
                Ok(()) => return Ok(place),
                Err(reason) => reason,
            },
        };
        let tried = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
        Err(DataError::Nowhere { file: file.to_owned(), tried, reason, place })
    }
}

/// A parser's words without its own position, which counts from the start of a line's text.
pub(crate) fn words(cause: &serde_json::Error) -> String {
    let text = cause.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(words, _)| words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_names_the_places_tried() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sources = DataSources::local(folder.path());
        let error = |file: &str| sources.rows(file, Need::Question).expect_err("missing").to_string();
        let unknown = error("dataset/x/test.json");
        assert!(unknown.contains("dataset/x/test.json: not found in ") && unknown.contains("REFT_DATA"), "{unknown}");
        assert!(unknown.contains("it is not published"), "{unknown}");
        assert!(error("dataset/boolq/test.json").contains("downloads are switched off"));
    }

    #[test]
    fn files_that_were_read_are_known_with_their_checksum() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("a.json"), r#"[{"question": "q"}]"#).expect("writable");
        let sources = DataSources::local(folder.path());
        sources.rows("a.json", Need::Question).expect("valid");
        sources.rows("a.json", Need::Question).expect("valid");
        let files = sources.files();
        assert_eq!(files.len(), 1);
        assert_eq!((files[0].file.as_str(), &files[0].revision, files[0].sha256.len()), ("a.json", &None, 64));
        assert!(sources.afresh().files().is_empty());
    }

    #[test]
    fn a_switch_is_on_as_for_the_hugging_face_libraries() {
        assert!(["1", "ON", "Yes", "true"].into_iter().all(is_true));
        assert!(!["", "0", "False", "off", "no"].into_iter().any(is_true));
    }
}
