//! Typed values out of a tree of settings (YAML or JSON), with errors in the terms of the file.
//!
//! [`read`] is a deserializer that knows what a type asks for before the type sees the value, so it can say what to write
//! instead of naming Rust types. It takes what cannot be misunderstood (`"1e-3"` and `1_000` for numbers, `1.0` where a whole
//! number is wanted, `yes` for a switch, a section without settings) and refuses what can (`010`, `2.5` rows, a list where one
//! value is wanted). Unknown keys and words are answered with those that the type has.

mod error;
mod number;
mod reader;
mod variants;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use error::ValueError;
pub use number::switch;
pub use variants::variants_of;

/// A typed value from a tree.
///
/// # Errors
/// The first value that does not fit, with its key.
pub fn read<T: DeserializeOwned>(tree: &Value) -> Result<T, ValueError> {
    T::deserialize(reader::ValueReader(tree))
}

/// A typed value from the text of a JSON file.
///
/// # Errors
/// When the text is not JSON, or a value does not fit.
pub fn read_json<T: DeserializeOwned>(text: &str) -> Result<T, ValueError> {
    read(&json(text)?)
}

/// The tree of a JSON text.
///
/// # Errors
/// When it is not JSON, with line and column.
pub fn json(text: &str) -> Result<Value, ValueError> {
    serde_json::from_str(text).map_err(|error| {
        let what = if error.is_eof() { "the text ends too early" } else { "not valid JSON" };
        ValueError::new(format!("line {}, column {}: {what}", error.line(), error.column()))
    })
}

#[cfg(test)]
mod tests;
