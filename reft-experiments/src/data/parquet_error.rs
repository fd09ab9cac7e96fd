//! What can be wrong with a parquet file.

use std::path::PathBuf;

/// A parquet file that is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum ParquetError {
    /// Not readable.
    #[error("{path}: {source}: check the path and its permissions")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Built without the reader.
    #[error(
        "{path}: this build has no reader of parquet files: build with the feature parquet, or give the task's tables"
    )]
    NoReader {
        /// The file.
        path: PathBuf,
    },
    /// Not parquet, or not whole.
    #[error(
        "{path}: not readable as parquet ({reason}): the file is truncated, damaged or packed by another codec than snappy; copy it again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reader's words.
        reason: String,
    },
    /// A column is missing.
    #[error("{path}: there is no column `{column}` among {found}: expected the file as the hub publishes it")]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// The columns there are.
        found: String,
    },
    /// A column holds something else.
    #[error("{path}: column `{column}` holds {found}, not {expected}: the file is another task's")]
    Type {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A cell without a value.
    #[error("{path}: row {row}, column `{column}`: {reason}: the file is damaged; copy it again")]
    Cell {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1.
        row: usize,
        /// The column.
        column: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// A label that the task does not have.
    #[error(
        "{path}: row {row}, column `label`: {label} is not one of {task}, which has {known}: the file is damaged or another task's, or of a test set, whose labels (-1) are not published"
    )]
    Label {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1.
        row: usize,
        /// The label.
        label: String,
        /// The task.
        task: &'static str,
        /// The labels there are.
        known: String,
    },
    /// Some of a set's files are missing.
    #[error("{folder}: {found} of the {all} files {stem}-*-of-{all:05}.parquet are there: copy the others beside them")]
    Shards {
        /// Where they are.
        folder: PathBuf,
        /// How their names begin.
        stem: String,
        /// How many are there.
        found: usize,
        /// How many there should be.
        all: usize,
    },
}
