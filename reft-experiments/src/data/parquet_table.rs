//! Parquet files, as the hub distributes GLUE: columns of texts, and one of labels as numbers.

use std::path::Path;

use super::labels::LabelColumn;
#[cfg(feature = "parquet")]
use super::parquet_columns;
use super::parquet_error::ParquetError;
use super::table::TableRecord;

/// The rows of a file: these columns of texts, then the label as text (a score by the fewest digits that tell it).
///
/// # Errors
/// When it cannot be read, a column is missing or holds something else, or a cell is empty.
#[cfg(feature = "parquet")]
pub fn read(path: &Path, texts: &[&'static str], stored: LabelColumn) -> Result<Vec<TableRecord>, ParquetError> {
    parquet_columns::read(path, texts, stored)
}

/// Refuses the file: this build has no reader.
///
/// # Errors
/// Always.
#[cfg(not(feature = "parquet"))]
pub fn read(path: &Path, _: &[&'static str], _: LabelColumn) -> Result<Vec<TableRecord>, ParquetError> {
    Err(ParquetError::NoReader { path: path.to_owned() })
}
