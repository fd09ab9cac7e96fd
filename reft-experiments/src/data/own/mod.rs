//! Data sets that a user brings: a file or a folder of rows, templates over their columns, a score.
//!
//! [`cells`] reads every format into rows of cells, [`column_template`] makes texts of them, [`spec`] is what a configuration
//! says of a data set, and [`set`] is the data set itself: rows of each split.

pub mod cells;
pub mod choices;
pub mod column_template;
pub mod conversation;
pub mod fault;
mod folder;
pub mod portion;
pub mod rows;
pub mod set;
pub mod spec;

use std::path::Path;

use self::cells::CellRow;
use self::fault::OwnDataError;

/// The rows of a file, or of all files of a folder.
///
/// # Errors
/// When it cannot be read, or a row is broken.
pub fn folder_rows(path: &Path) -> Result<Vec<CellRow>, OwnDataError> {
    if path.is_dir() { folder::read(&folder::files(path)?) } else { cells::read(path) }
}
