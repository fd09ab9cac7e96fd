//! Pairs of texts that differ in what a steering vector is to mean: `{"positive": ..., "negative": ...}`, a list of them or
//! one a line.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use reft_core::value_reader;
use serde::Deserialize;
use serde_json::Value;

use super::text;

/// Two texts.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextPair {
    /// With what the vector is to mean.
    pub positive: String,
    /// Without.
    pub negative: String,
}

/// The pairs of a file.
///
/// # Errors
/// When it cannot be read, has no pairs, or a row is none: the message names the row and the key.
pub fn read(path: &Path) -> Result<Vec<TextPair>> {
    let text = text::read(path)?;
    let rows = rows(&text).map_err(|fault| anyhow!("{}: {fault}: write {EXAMPLE} on each line", path.display()))?;
    if rows.is_empty() {
        bail!("{}: the file has no pairs: write {EXAMPLE} on each line", path.display());
    }
    let pair = |(row, value): (usize, &Value)| {
        let fault = |fault: String| anyhow!("{}: row {}: {fault}", path.display(), row + 1);
        let pair: TextPair = value_reader::read(value).map_err(|error| fault(error.to_string()))?;
        for (key, text) in [("positive", &pair.positive), ("negative", &pair.negative)] {
            if text.is_empty() {
                return Err(fault(format!("{key} is empty: write a text")));
            }
        }
        Ok(pair)
    };
    rows.iter().enumerate().map(pair).collect()
}

const EXAMPLE: &str = r#"{"positive": "...", "negative": "..."}"#;

/// The rows of a list, or of lines.
fn rows(text: &str) -> Result<Vec<Value>, String> {
    if text.trim_start().starts_with('[') {
        return match value_reader::json(text).map_err(|error| error.to_string())? {
            Value::Array(rows) => Ok(rows),
            _ => Err("not a list".to_owned()),
        };
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(line, text): (usize, &str)| {
        serde_json::from_str(text)
            .map_err(|error| format!("line {}, column {}: not valid JSON", line + 1, error.column()))
    };
    lines.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<TextPair>, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("pairs.jsonl");
        std::fs::write(&path, text).expect("writable");
        read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_and_lines_are_the_same_and_faults_name_the_row() {
        let row = r#"{"positive": "I am glad", "negative": "I am sad"}"#;
        let list = read_text(&format!("[{row},\n{row}]")).expect("a list");
        assert_eq!(list, read_text(&format!("{row}\n\n{row}\n")).expect("lines"));
        assert_eq!((list.len(), list[0].positive.as_str()), (2, "I am glad"));
        for (text, parts) in [
            (String::new(), ["has no pairs", "write {"]),
            ("[]".to_owned(), ["has no pairs", "write {"]),
            (format!("{row}\n{{\"positive\": 1}}"), ["row 2: ", "negative"]),
            (format!("{row}\n{{\"positive\": \"a\", \"negative\": \"\"}}"), ["row 2: ", "negative is empty"]),
            (format!("{row}\n{{\"positive\"}}"), ["line 2, column", "not valid JSON"]),
            (r#"{"positive": "a", "negative": "b", "neutral": "c"}"#.to_owned(), ["row 1: ", "neutral"]),
        ] {
            let error = read_text(&text).expect_err("refused");
            assert!(error.contains("pairs.jsonl: ") && error.lines().count() == 1, "{error}");
            for part in parts {
                assert!(error.contains(part), "`{part}` is not in: {error}");
            }
        }
    }
}
