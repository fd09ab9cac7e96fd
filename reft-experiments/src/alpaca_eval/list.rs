//! JSON lists of objects, in which outputs and annotations are kept.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::data::source::words;
use crate::data::text::{self, TextError};

/// A whole string, or Python's word for a number that is missing.
static STRING_OR_NAN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?s)"(?:[^"\\]|\\.)*"|\bNaN\b"#).expect("a fixed pattern"));

/// A file that is not the list it should be.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Not readable or not writable.
    #[error("{path}: {reason}: check the path, its permissions and the space left")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        reason: std::io::Error,
    },
    /// Not a text in UTF-8.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Not JSON, or no array.
    #[error("{path}:{line}: {reason}: expected a JSON array of objects with {expected}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The parser's words.
        reason: String,
        /// The keys of an object.
        expected: &'static str,
    },
    /// Nothing in it.
    #[error("{path}: the list is empty: expected objects with {expected}")]
    Empty {
        /// The file.
        path: PathBuf,
        /// The keys of an object.
        expected: &'static str,
    },
    /// An object with a key missing or of the wrong type.
    #[error("{path}: row {row}: {reason}: expected an object with {expected}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1.
        row: usize,
        /// The parser's words.
        reason: String,
        /// The keys of an object.
        expected: &'static str,
    },
    /// Two outputs for one instruction.
    #[error("{path}: rows {first} and {row} have the same instruction, by which outputs are paired: keep one of them")]
    Twice {
        /// The file.
        path: PathBuf,
        /// The first of the two rows, counted from 1.
        first: usize,
        /// The other.
        row: usize,
    },
}

/// The rows of a list, at least one.
pub(super) fn read<T: DeserializeOwned>(path: &Path, expected: &'static str) -> Result<Vec<T>, ListError> {
    let text = nan_to_null(&text::read(path)?);
    let rows: Vec<Value> = serde_json::from_str(&text).map_err(|cause| ListError::Parse {
        path: path.to_owned(),
        line: cause.line(),
        reason: words(&cause),
        expected,
    })?;
    if rows.is_empty() {
        return Err(ListError::Empty { path: path.to_owned(), expected });
    }
    let row = |(index, value)| {
        serde_json::from_value(value).map_err(|cause| ListError::Row {
            path: path.to_owned(),
            row: index + 1,
            reason: words(&cause),
            expected,
        })
    };
    rows.into_iter().enumerate().map(row).collect()
}

/// Writes the rows, complete or not at all.
pub(super) fn write<T: Serialize>(path: &Path, rows: &[T]) -> Result<(), ListError> {
    let mut text = serde_json::to_vec_pretty(rows).expect("plain data");
    text.push(b'\n');
    crate::atomic::write(path, &text).map_err(|reason| ListError::Io { path: path.to_owned(), reason })
}

/// Python writes a number that is missing as a bare `NaN`, which is no JSON. Lines keep their numbers.
fn nan_to_null(text: &str) -> String {
    let replace = |found: &Captures<'_>| if &found[0] == "NaN" { "null".to_owned() } else { found[0].to_owned() };
    STRING_OR_NAN.replace_all(text, replace).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_nan_becomes_null() {
        let cases = [
            (r#"[{"preference": NaN}]"#, r#"[{"preference": null}]"#),
            (r#"["NaN", NaN, "a \" NaN, \\", NaN]"#, r#"["NaN", null, "a \" NaN, \\", null]"#),
            ("[\"two\nlines NaN\",\nNaN]", "[\"two\nlines NaN\",\nnull]"),
            (r#"[NaNs, "Naan"]"#, r#"[NaNs, "Naan"]"#),
        ];
        for (text, expected) in cases {
            assert_eq!(nan_to_null(text), expected);
        }
    }
}
