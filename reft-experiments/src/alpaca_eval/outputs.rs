//! Model outputs: what a model, or the reference, answered (`model_outputs.json` of the official tool).

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::list::{self, ListError};

/// What is said where a file is something else.
const EXPECTED: &str = "instruction, output and generator";

/// One answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ModelOutput {
    /// The set that the instruction is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// What was asked.
    pub instruction: String,
    /// What was answered; may be empty.
    pub output: String,
    /// Who answered.
    pub generator: String,
}

/// The outputs of a file, one for each instruction.
///
/// # Errors
/// When the file is missing or not such a list, or has an instruction twice.
pub fn read(path: &Path) -> Result<Vec<ModelOutput>, ListError> {
    let outputs: Vec<ModelOutput> = list::read(path, EXPECTED)?;
    let mut rows = HashMap::new();
    for (row, output) in (1..).zip(&outputs) {
        if let Some(first) = rows.insert(output.instruction.as_str(), row) {
            return Err(ListError::Twice { path: path.to_owned(), first, row });
        }
    }
    Ok(outputs)
}

/// Writes outputs, complete or not at all.
///
/// # Errors
/// When the file system refuses.
pub fn write(path: &Path, outputs: &[ModelOutput]) -> Result<(), ListError> {
    list::write(path, outputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs_of(text: &str) -> Result<Vec<ModelOutput>, ListError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("outputs.json");
        std::fs::write(&path, text).expect("writable");
        read(&path)
    }

    #[test]
    fn what_is_written_is_read_and_further_keys_are_passed_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("new/outputs.json");
        let text = r#"[{"dataset": "koala", "instruction": "Say \"hi\"", "output": "", "generator": "g", "samples": 2},
                       {"instruction": "ü\n", "output": "o", "generator": "g"}]"#;
        let outputs = outputs_of(text).expect("valid");
        assert_eq!((outputs[0].dataset.as_deref(), outputs[1].dataset.as_deref()), (Some("koala"), None));
        assert_eq!((outputs[0].instruction.as_str(), outputs[0].output.as_str()), ("Say \"hi\"", ""));
        write(&path, &outputs).expect("writable");
        assert_eq!(read(&path).expect("valid"), outputs);
    }

    #[test]
    fn a_broken_file_is_named_with_its_line_or_row() {
        let good = r#"{"instruction": "q", "output": "o", "generator": "g"}"#;
        let cases = [
            ("[\n{\"instruction\": ".to_owned(), "outputs.json:2: EOF while parsing a value: expected a JSON array"),
            (good.to_owned(), "outputs.json:1: invalid type: map, expected a sequence: "),
            ("[]".to_owned(), "outputs.json: the list is empty: expected objects with instruction, output"),
            (format!("[{good}, {{\"instruction\": \"r\"}}]"), "outputs.json: row 2: missing field `output`: "),
            (
                format!("[{}]", good.replace("\"o\"", "null")),
                "row 1: invalid type: null, expected a string: expected an object",
            ),
            (format!("[{good}, {good}]"), "outputs.json: rows 1 and 2 have the same instruction"),
        ];
        for (text, expected) in cases {
            let error = outputs_of(&text).expect_err(&text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
