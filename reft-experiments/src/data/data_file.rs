//! Which bytes a data file had: the note beside a download, and the line in a run's record.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::pinned::{PinnedFile, sha256_of};

/// A file that rows were read from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DataFile {
    /// Its name in a data folder, such as `dataset/boolq/test.json`.
    pub file: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// The repository and the commit that it was downloaded from; none for a file that the user brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// The note beside a downloaded file.
fn note_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".download.json");
    PathBuf::from(name)
}

/// A file as it is now.
///
/// # Errors
/// When it cannot be read, or has changed since it was downloaded.
pub fn of(file: &str, path: &Path) -> Result<DataFile, DataError> {
    let bytes = std::fs::read(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let sha256 = sha256_of(&bytes);
    let note = std::fs::read_to_string(note_path(path)).ok();
    let note = note.and_then(|text| serde_json::from_str::<DataFile>(&text).ok());
    match note {
        Some(note) if note.sha256 != sha256 => {
            Err(DataError::Changed { path: path.to_owned(), found: sha256, expected: note.sha256 })
        }
        note => Ok(DataFile { file: file.to_owned(), sha256, revision: note.and_then(|note| note.revision) }),
    }
}

/// Downloads a published file to `path`, with a note of its commit and its checksum beside it.
///
/// # Errors
/// When that fails, in words. Bytes that are not the pinned ones are not kept.
#[cfg(feature = "http")]
pub fn download(pinned: &PinnedFile, path: &Path) -> Result<(), String> {
    let mut response = ureq::get(pinned.address()).call().map_err(|error| error.to_string())?;
    let bytes = response.body_mut().with_config().limit(1 << 30).read_to_vec().map_err(|error| error.to_string())?;
    keep(pinned, path, &bytes)
}

/// Refuses: this build has no HTTP client.
///
/// # Errors
/// Always.
#[cfg(not(feature = "http"))]
pub fn download(pinned: &PinnedFile, _: &Path) -> Result<(), String> {
    Err(format!("this build cannot download {} (it lacks the feature http)", pinned.address()))
}

/// Keeps the bytes of a published file, if they are the pinned ones.
#[cfg(any(feature = "http", test))]
fn keep(pinned: &PinnedFile, path: &Path, bytes: &[u8]) -> Result<(), String> {
    let address = pinned.address();
    pinned.checksum.check(bytes).map_err(|reason| format!("{address} gave another file: {reason}"))?;
    let revision = Some(pinned.revision());
    let note = DataFile { file: pinned.file.to_owned(), sha256: sha256_of(bytes), revision };
    let note = serde_json::to_vec_pretty(&note).expect("plain data");
    // The note first: a file without one counts as the user's own.
    crate::atomic::write(&note_path(path), &note).map_err(|error| error.to_string())?;
    crate::atomic::write(path, bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::need::Need;
    use super::super::pinned::{Checksum, Repository};
    use super::super::source::DataSources;
    use super::*;

    const ROWS: &[u8] = br#"[{"question": "q"}]"#;

    #[test]
    fn a_download_is_kept_if_it_is_the_pinned_file_and_refused_when_it_changed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("cache/dataset/x.json");
        // `git hash-object` of the rows.
        let checksum = Checksum::GitBlob("9222c22fecead7a3fc5af88daa40bbd3f6a8d6ce");
        let repository = Repository { name: "o/n", revision: "abc" };
        let pinned = PinnedFile { file: "dataset/x.json", repository, path: "x.json", checksum };
        let error = keep(&pinned, &path, b"<html>").expect_err("another file");
        assert!(error.contains("/o/n/abc/x.json gave another file: its git blob is"), "{error}");
        assert!(!path.exists() && !note_path(&path).exists(), "nothing is kept");

        keep(&pinned, &path, ROWS).expect("the pinned file");
        let rows = || {
            let sources = DataSources::local(folder.path());
            sources.rows("dataset/x.json", Need::Question).map(|_| sources.files())
        };
        let files = rows().expect("unchanged");
        assert_eq!(files[0].revision.as_deref(), Some("o/n@abc"));
        std::fs::write(&path, br#"[{"question": "r"}]"#).expect("writable");
        let error = rows().expect_err("changed").to_string();
        assert!(error.contains("x.json: changed since it was downloaded (SHA-256 "), "{error}");
        assert!(error.contains("to download it again"), "{error}");
    }
}
