//! One row of a user's file, its cells by the names of their columns.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::fault::OwnDataError;

/// One row of a file.
#[derive(Clone, PartialEq, Debug)]
pub struct CellRow {
    /// The file.
    pub file: Arc<Path>,
    /// Where in it, in words: `row 3`, or `row 3 (line 4)` where that is another number.
    pub place: String,
    /// Its cells by column, in the order of the file. A null is no cell.
    pub cells: Map<String, Value>,
}

impl CellRow {
    /// Its file's name and its place there.
    pub fn name(&self) -> String {
        format!("{} {}", self.file.file_name().unwrap_or_default().to_string_lossy(), self.place)
    }

    /// A fault of this row.
    pub fn fault(&self, what: impl Into<String>) -> OwnDataError {
        OwnDataError::row(&self.file, &self.place, what)
    }
}

/// The place of a row, counted from 1, in a line.
pub(super) fn place(row: usize, line: usize) -> String {
    if row == line { format!("row {row}") } else { format!("row {row} (line {line})") }
}
