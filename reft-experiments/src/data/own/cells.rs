//! Rows of cells by the names of their columns, whatever the format of the file.

use std::path::Path;

use serde_json::Value;

use super::cell_row::CellRow;
use super::fault::OwnDataError;
use super::{csv_cells, json_cells};
#[cfg(not(feature = "parquet"))]
use crate::data::parquet_error::ParquetError;

/// The formats, by the endings of their files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A JSON array of objects, one object a line, or an object that holds one list of objects.
    Json,
    /// Values separated by commas, in double quotes where they hold one; the first line names the columns.
    Csv,
    /// Values separated by tabs, quotes being plain characters; the first line names the columns.
    Tsv,
    /// Columns in Apache Parquet.
    Parquet,
}

/// Endings of files and their formats.
const ENDINGS: [(&str, Format); 6] = [
    ("jsonl", Format::Json),
    ("ndjson", Format::Json),
    ("json", Format::Json),
    ("csv", Format::Csv),
    ("tsv", Format::Tsv),
    ("parquet", Format::Parquet),
];

impl Format {
    /// The format of a file by its name; none for another ending.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, format)| *format)
    }

    /// The endings in words.
    pub fn endings() -> String {
        ENDINGS.map(|(ending, _)| format!(".{ending}")).join(", ")
    }
}

/// The rows of a file.
///
/// # Errors
/// When it cannot be read, is of an unknown or another format, has no rows, or a row is broken.
pub fn read(path: &Path) -> Result<Vec<CellRow>, OwnDataError> {
    let format = Format::of(path).ok_or_else(|| {
        let endings = Format::endings();
        OwnDataError::file(path, format!("the format is not known: name the file with one of {endings}"))
    })?;
    let rows = match format {
        Format::Json => json_cells::read(path)?,
        Format::Csv => csv_cells::read_csv(path)?,
        Format::Tsv => csv_cells::read_tsv(path)?,
        #[cfg(feature = "parquet")]
        Format::Parquet => super::parquet_cells::read(path)?,
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => return Err(ParquetError::NoReader { path: path.to_owned() }.into()),
    };
    if rows.is_empty() {
        return Err(OwnDataError::file(path, "the file has no rows: write one row for each example"));
    }
    Ok(rows)
}

/// Every column that a row has, in the order in which they come.
pub fn columns(rows: &[CellRow]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for name in rows.iter().flat_map(|row| row.cells.keys()) {
        if !seen.contains(name.as_str()) {
            seen.insert(name.as_str());
            columns.push(name.clone());
        }
    }
    columns
}

/// The text of a cell: texts as they are, numbers and booleans as JSON writes them.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
