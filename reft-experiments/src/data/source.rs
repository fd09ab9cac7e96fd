//! Where data files come from: the user's folder, the cache, the public repository.

use std::path::{Path, PathBuf};

use super::row::Row;

/// Where a folder of data files, or one file, is published: LLM-Adapters, whose files the paper trained and tested on, and
/// the sets it lacks.
const PUBLISHED: [(&str, &str); 6] = [
    ("dataset/", "AGI-Edgerunners/LLM-Adapters/HEAD/dataset/"),
    ("ft-training_set/", "AGI-Edgerunners/LLM-Adapters/HEAD/ft-training_set/"),
    ("grade_school_math/", "openai/grade-school-math/HEAD/grade_school_math/data/"),
    ("instruct/alpaca_eval/", "tatsu-lab/alpaca_eval/HEAD/results/"),
    ("instruct/alpaca_2k.json", "sail-sg/sdft/HEAD/data/alpaca/alpaca_train.json"),
    ("instruct/ultrafeedback_1k.json", "stanfordnlp/pyreft/HEAD/examples/composition/ultrafeedback_1k.json"),
];

/// Data that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Not in any of the places.
    #[error(
        "{file}: not found in {tried} and cannot be downloaded ({reason}): place the file at {place}, or set REFT_DATA to a folder that holds it"
    )]
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
    /// A row without a question: another format, or a damaged row.
    #[error("{path}: row {row} has no instruction: expected rows with instruction and answer, or question and answer")]
    NoQuestion {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1.
        row: usize,
    },
    /// A tab-separated file without a column.
    #[error("{path}:1: there is no column `{column}` among {found}: expected the file as GLUE publishes it")]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// The columns there are.
        found: String,
    },
    /// A line of a tab-separated file with too few fields, or too many.
    #[error("{path}:{line}: {found} columns instead of {width}: the file is truncated or damaged; copy it again")]
    Uneven {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// Fields in it.
        found: usize,
        /// Fields in other lines.
        width: usize,
    },
    /// More such lines than the published file can have.
    #[error(
        "{path}:{line}: the first of {count} lines of {lines} without {width} columns, more than one in {}: the file is damaged; copy it again",
        super::table::LINES_FOR_ONE
    )]
    ManyUneven {
        /// The file.
        path: PathBuf,
        /// The first of them.
        line: usize,
        /// How many there are.
        count: usize,
        /// Lines in the file.
        lines: usize,
        /// Fields in other lines.
        width: usize,
    },
    /// A tab-separated file without rows.
    #[error("{path}: the file has no rows: it is truncated; copy it again")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A label that the task does not have.
    #[error(
        "{path}:{line}: label `{label}` is not one of {task}, which has {known}: the file is damaged or another task's"
    )]
    Label {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The label.
        label: String,
        /// The task.
        task: &'static str,
        /// The labels there are.
        known: String,
    },
    /// A parquet file that is not as it should be.
    #[error(transparent)]
    Parquet(#[from] super::parquet_table::ParquetError),
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
        let reason = if self.download {
            match download(file)
                .and_then(|bytes| crate::atomic::write(&place, &bytes).map_err(|error| error.to_string()))
            {
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

/// The address of a published file.
fn address(file: &str) -> Option<String> {
    let (folder, home) = PUBLISHED.iter().find(|(folder, _)| file.starts_with(folder))?;
    Some(format!("https://raw.githubusercontent.com/{home}{}", &file[folder.len()..]))
}

fn download(file: &str) -> Result<Vec<u8>, String> {
    let address = address(file).ok_or("it is not published")?;
    let mut response = ureq::get(address).call().map_err(|error| error.to_string())?;
    response.body_mut().with_config().limit(1 << 30).read_to_vec().map_err(|error| error.to_string())
}

/// A JSON array, or JSON lines: public copies of these files are either, whatever they are called.
///
/// # Errors
/// When the file is missing or not valid.
pub fn read(path: &Path) -> Result<Vec<Row>, DataError> {
    let text = std::fs::read_to_string(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let text = text.trim_start_matches('\u{feff}');
    let error = |line: usize, reason: String| DataError::Parse { path: path.to_owned(), line, reason };
    let rows: Vec<Row> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(|cause| error(cause.line(), words(&cause)))?
    } else {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let parse = |(index, line)| serde_json::from_str(line).map_err(|cause| error(index + 1, words(&cause)));
        lines.map(parse).collect::<Result<_, _>>()?
    };
    match rows.iter().position(|row| row.instruction.is_empty()) {
        None if rows.is_empty() => Err(error(1, "the file has no rows".to_owned())),
        Some(index) => Err(DataError::NoQuestion { path: path.to_owned(), row: index + 1 }),
        None => Ok(rows),
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
    fn a_broken_file_is_named_with_its_line_or_row() {
        let cases = [
            ("{\"question\": \"q\"}\n{\"answer\": ", "a.json:2: EOF while parsing a value: expected"),
            ("{\"question\": \"q\"} {\"question\": \"r\"}\n", "a.json:1: trailing characters: expected"),
            ("[{\"question\": \"q\"},\n{\"question\": 3}]", "a.json:2: invalid type: integer `3`, expected a string: "),
            ("", "a.json:1: the file has no rows: "),
            ("[]", "a.json:1: the file has no rows: "),
            ("{\"question\": \"q\"}\n{\"ans\": \"1\"}", "a.json: row 2 has no instruction: "),
            ("version https://git-lfs", "a.json:1: expected value: "),
        ];
        for (text, expected) in cases {
            let error = rows_of(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn published_files_have_an_address() {
        let end = "openai/grade-school-math/HEAD/grade_school_math/data/train.jsonl";
        assert!(address("grade_school_math/train.jsonl").is_some_and(|address| address.ends_with(end)));
        for file in ["dataset/boolq/test.json", "ft-training_set/math_10k.json", "instruct/ultrafeedback_1k.json"] {
            assert!(address(file).is_some(), "{file}");
        }
        let end = "/tatsu-lab/alpaca_eval/HEAD/results/text_davinci_003/model_outputs.json";
        let outputs = address("instruct/alpaca_eval/text_davinci_003/model_outputs.json");
        assert!(outputs.is_some_and(|address| address.ends_with(end)));
        assert!(address("instruct/alpaca_2k.json").is_some_and(|address| address.ends_with("/alpaca_train.json")));
        assert_eq!(address("instruct/ultrafeedback.json"), None);
        assert_eq!(address("elsewhere/test.json"), None);
    }

    #[test]
    fn a_missing_file_names_the_places_tried() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = Sources::local(folder.path()).rows("dataset/x/test.json").expect_err("missing").to_string();
        assert!(error.contains("dataset/x/test.json: not found in ") && error.contains("REFT_DATA"), "{error}");
    }
}
