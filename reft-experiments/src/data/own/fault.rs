//! What can be wrong with a user's data set: each in one line with the file, the row and the remedy.

use std::path::{Path, PathBuf};

use reft_models::hub::DatasetError;

use crate::data::parquet_error::ParquetError;
use crate::data::text::TextError;

/// A data set that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OwnDataError {
    /// Not readable, or not UTF-8.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A parquet file that cannot be read.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// A data set of the hub that is not to be had.
    #[error(transparent)]
    Hub(#[from] DatasetError),
    /// A fault in a file or in one of its rows.
    #[error("{path}: {place}{what}")]
    At {
        /// The file.
        path: PathBuf,
        /// The row, with `: ` behind it; empty for the file as a whole.
        place: String,
        /// What is wrong, and the remedy.
        what: String,
    },
    /// A fault of the data set as a whole, or of what a configuration says of it.
    #[error("data set {name}: {what}")]
    Set {
        /// Its name.
        name: String,
        /// What is wrong, and the remedy.
        what: String,
    },
}

impl OwnDataError {
    /// A fault of a file as a whole.
    pub fn file(path: &Path, what: impl Into<String>) -> Self {
        Self::At { path: path.to_owned(), place: String::new(), what: what.into() }
    }

    /// A fault of a row, whose place is in words.
    pub fn row(path: &Path, place: &str, what: impl Into<String>) -> Self {
        Self::At { path: path.to_owned(), place: format!("{place}: "), what: what.into() }
    }

    /// A fault of the whole data set.
    pub fn set(name: &str, what: impl Into<String>) -> Self {
        Self::Set { name: name.to_owned(), what: what.into() }
    }
}
