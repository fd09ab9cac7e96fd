//! Data that is not to be had, or is not as it should be.

use std::path::PathBuf;

use super::json_rows::RowsError;
use super::own::fault::OwnDataError;
use super::parquet_error::ParquetError;
use super::text::TextError;

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
    /// Not JSON, or rows that are not as they should be.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// Not a text in UTF-8.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A file that was downloaded and is another one now.
    #[error(
        "{path}: changed since it was downloaded (SHA-256 {found} instead of {expected}): delete it with the note beside it to download it again, or give your own file in the folder REFT_DATA"
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// What it has now.
        found: String,
        /// What it had.
        expected: String,
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
        "{path}:{line}: the first of {count} lines of {lines} without {width} columns, more than one in {lines_for_one}: the file is damaged; copy it again"
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
        /// So many lines may hold one of them.
        lines_for_one: usize,
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
    Parquet(#[from] ParquetError),
    /// A user's data set that cannot be used.
    #[error(transparent)]
    Own(#[from] OwnDataError),
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
