//! Annotations: which of two outputs an annotator prefers (`annotations.json` of the official tool).

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::list::{self, ListError};

/// What is said where a file is something else.
const EXPECTED: &str = "instruction, output_1, generator_1, output_2, generator_2, annotator and preference";

/// One comparison. The first output is the reference's, the second the model's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Annotation {
    /// The set that the instruction is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// What was asked.
    pub instruction: String,
    /// The reference's answer.
    pub output_1: String,
    /// Whose answer that is.
    pub generator_1: String,
    /// The model's answer.
    pub output_2: String,
    /// Whose answer that is.
    pub generator_2: String,
    /// Who compared them.
    pub annotator: String,
    /// 1: the reference's is better, 2: the model's, 1.5 or 0: neither; none where the annotator was not understood.
    #[serde(default)]
    pub preference: Option<f64>,
    /// The annotator's reply as it came: text here, and whatever the official tool puts in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_completion: Option<Value>,
}

/// The annotations of a file.
///
/// # Errors
/// When the file is missing or not such a list.
pub fn read(path: &Path) -> Result<Vec<Annotation>, ListError> {
    list::read(path, EXPECTED)
}

/// Writes annotations, complete or not at all.
///
/// # Errors
/// When the file system refuses.
pub fn write(path: &Path, annotations: &[Annotation]) -> Result<(), ListError> {
    list::write(path, annotations)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFICIAL: &str = r#"[
    {"dataset": "koala", "instruction": "NaN or not?", "output_1": "r", "generator_1": "text_davinci_003",
     "output_2": "m", "generator_2": "x", "annotator": "alpaca_eval_gpt4", "preference": NaN, "time_per_example": 1.5,
     "raw_completion": null},
    {"instruction": "q", "output_1": "r", "generator_1": "text_davinci_003", "output_2": "m", "generator_2": "x",
     "annotator": "alpaca_eval_gpt4", "preference": 2, "raw_completion": {"name": "make_leaderboard"}}]"#;

    #[test]
    fn files_of_the_official_tool_are_read_and_written_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("annotations.json");
        std::fs::write(&path, OFFICIAL).expect("writable");
        let annotations = read(&path).expect("valid");
        assert_eq!(annotations[0].instruction, "NaN or not?");
        let preferences: Vec<_> = annotations.iter().map(|annotation| annotation.preference).collect();
        assert_eq!(preferences, [None, Some(2.0)]);
        write(&path, &annotations).expect("writable");
        assert_eq!(read(&path).expect("valid"), annotations);
    }

    #[test]
    fn a_preference_of_another_type_is_named_with_its_row() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("annotations.json");
        std::fs::write(&path, OFFICIAL.replace("\"preference\": 2", "\"preference\": \"m\"")).expect("writable");
        let error = read(&path).expect_err("no number").to_string();
        assert!(error.contains("annotations.json: row 2: invalid type: string \"m\", expected f64"), "{error}");
    }
}
