//! Where data files come from: the user's folder, the cache, the public repository.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::row::Row;

/// LLM-Adapters, the repository whose files the paper trained and tested on.
const REPOSITORY: &str = "https://raw.githubusercontent.com/AGI-Edgerunners/LLM-Adapters/main";

/// Data that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Not in any of the places.
    #[error("{file}: not found in {tried} and cannot be downloaded ({reason}): place the file at {place}, or set REFT_DATA to a folder that holds it")]
    Nowhere {
        /// The file, relative to a data folder.
        file: String,
        /// The places looked at.
        tried: String,
        /// Why the download failed.
        reason: String,
        /// Where it would be looked for.
        place: PathBuf,
    },
    /// Not readable.
    #[error("{path}: {source}: check the path and its permissions")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Not JSON.
    #[error("{path}:{line}: {reason}: expected a JSON array or one JSON object a line, with instruction and answer")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The parser's words.
        reason: String,
    },
    /// The data set has no rows for this use.
    #[error("task {task} has no {split} rows: {remedy}")]
    NoRows {
        /// The task.
        task: &'static str,
        /// The split.
        split: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

/// The folders to look in.
#[derive(Clone, Debug)]
pub struct Sources {
    given: Option<PathBuf>,
    cache: PathBuf,
    download: bool,
}

impl Sources {
    /// `REFT_DATA`, then the cache, then the repository (unless `HF_HUB_OFFLINE` is set).
    pub fn from_env() -> Self {
        let given = std::env::var_os("REFT_DATA").filter(|value| !value.is_empty()).map(PathBuf::from);
        let offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
        Self { given, cache: reft_models::hub::cache_dir().join("data"), download: !offline }
    }

    /// These folders only, for tests.
    pub fn local(given: &Path) -> Self {
        Self { given: Some(given.to_owned()), cache: given.join("cache"), download: false }
    }

    /// The rows of a file such as `dataset/ARC-Easy/train.json`.
    ///
    /// # Errors
    /// When the file is nowhere, or not valid.
    pub fn rows(&self, file: &str) -> Result<Vec<Row>, DataError> {
        read(&self.locate(file)?)
    }

    fn locate(&self, file: &str) -> Result<PathBuf, DataError> {
        let places: Vec<PathBuf> = self.given.iter().chain([&self.cache]).map(|folder| folder.join(file)).collect();
        if let Some(found) = places.iter().find(|place| place.exists()) {
            return Ok(found.clone());
        }
        let place = self.cache.join(file);
        let reason = if self.download {
            match download(file).and_then(|bytes| crate::atomic::write(&place, &bytes).map_err(|error| error.to_string())) {
                Ok(()) => return Ok(place),
                Err(reason) => reason,
            }
        } else {
            "downloads are switched off".to_owned()
        };
        let tried = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
        Err(DataError::Nowhere { file: file.to_owned(), tried, reason, place })
    }
}

fn download(file: &str) -> Result<Vec<u8>, String> {
    let mut response = ureq::get(format!("{REPOSITORY}/{file}")).call().map_err(|error| error.to_string())?;
    response.body_mut().with_config().limit(1 << 30).read_to_vec().map_err(|error| error.to_string())
}

/// A JSON array, or JSON lines: public copies of these files are either, whatever they are called.
fn read(path: &Path) -> Result<Vec<Row>, DataError> {
    let text = std::fs::read_to_string(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let error = |before: usize, error: serde_json::Error| DataError::Parse {
        path: path.to_owned(),
        line: before + error.line(),
        reason: error.to_string(),
    };
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(&text).map_err(|cause| error(0, cause));
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| Row::deserialize(&mut serde_json::Deserializer::from_str(line)).map_err(|cause| error(index, cause))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(text: &str) -> Result<Vec<Row>, DataError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("a.json"), text).expect("writable");
        Sources::local(folder.path()).rows("a.json")
    }

    #[test]
    fn arrays_and_lines_read_alike() {
        let array = r#"[{"instruction": "q", "answer": "1"}, {"instruction": "r", "answer": "2"}]"#;
        let lines = "{\"instruction\": \"q\", \"answer\": \"1\"}\n\n{\"instruction\": \"r\", \"answer\": \"2\"}\n";
        assert_eq!(rows_of(array).expect("valid"), rows_of(lines).expect("valid"));
    }

    #[test]
    fn a_broken_row_is_named_by_its_line() {
        let error = rows_of("{\"answer\": \"1\"}\n{\"answer\": ").expect_err("broken").to_string();
        assert!(error.contains("a.json:2: "), "{error}");
    }

    #[test]
    fn a_missing_file_names_the_places_tried() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = Sources::local(folder.path()).rows("dataset/x/test.json").expect_err("missing").to_string();
        assert!(error.contains("dataset/x/test.json: not found in ") && error.contains("REFT_DATA"), "{error}");
    }
}
