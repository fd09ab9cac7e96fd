//! Every shape of tokenizer, chat template and end token of the golden fixtures against transformers.

mod chats;
mod ids;
mod stops;

use std::fs;
use std::path::{Path, PathBuf};

use reft_core::testing::golden_dir;
use serde_json::Value;

/// Differences of a whole folder of fixtures; a test names them all.
#[derive(Default)]
pub struct Differences {
    found: Vec<String>,
    compared: usize,
}

impl Differences {
    /// Notes what is not as expected.
    #[allow(clippy::needless_pass_by_value)] // callers have temporaries
    pub fn check<T: PartialEq + std::fmt::Debug>(&mut self, what: impl FnOnce() -> String, got: T, expected: T) {
        self.compared += 1;
        if got != expected {
            self.found.push(format!("{}:\n     got {got:?}\nexpected {expected:?}", what()));
        }
    }

    /// Notes what cannot be compared.
    pub fn add(&mut self, what: String) {
        self.found.push(what);
    }

    /// Fails if something differs, or if nothing was compared.
    pub fn none(self) {
        assert!(self.compared > 0, "nothing was compared");
        let (number, shown) = (self.found.len(), self.found.iter().take(40).cloned().collect::<Vec<_>>());
        assert!(number == 0, "{number} of {} differ:\n{}", self.compared, shown.join("\n"));
    }
}

/// A folder of tokenizer fixtures with its `cases.json`.
pub fn fixtures(kind: &str) -> (PathBuf, Value) {
    let folder = golden_dir().join("tokenizers").join(kind);
    let cases = read(&folder.join("cases.json"));
    (folder, cases)
}

/// A JSON file.
pub fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A list; none where there is no list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A list of ids.
pub fn integers(value: &Value) -> Vec<i64> {
    list(value).iter().map(|id| id.as_i64().expect("an id")).collect()
}
