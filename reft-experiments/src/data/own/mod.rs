//! Data sets that a user brings: a file, a folder of rows or a data set of the hub, templates over its columns, a score.
//!
//! [`cells`] reads every format into rows of cells, [`column_template`] makes texts of them, [`spec`] is what a configuration
//! says of a data set, and [`set`] is the data set itself: rows of each split.

pub mod asked;
pub mod cell_row;
pub mod cells;
pub mod choices;
mod classes;
pub mod column_template;
pub mod conversation;
mod csv_cells;
pub mod fault;
mod folder;
mod json_cells;
mod labelled_set;
#[cfg(feature = "parquet")]
mod parquet_cells;
mod parts;
mod place;
pub mod portion;
pub mod rows;
pub mod set;
pub mod spec;
mod split_files;
mod strata;
mod turns;

use std::path::Path;

use self::cell_row::CellRow;
use self::fault::OwnDataError;
use self::place::Place;
use self::portion::Splits;
use self::split_files::SplitFiles;
use super::error::DataError;
use super::source::DataSources;

/// The rows of a file, or of all files of a folder.
///
/// # Errors
/// When it cannot be read, or a row is broken.
pub fn folder_rows(path: &Path) -> Result<Vec<CellRow>, OwnDataError> {
    let files = if path.is_dir() { folder::files(path)? } else { vec![path.to_owned()] };
    Ok(files.iter().map(|file| cells::read(file)).collect::<Result<Vec<_>, _>>()?.concat())
}

/// The columns of a data set: a file's, a folder's, or those of a hub data set's first training file.
///
/// # Errors
/// When it is not to be had, or a row is broken.
pub fn columns(given: &str, sources: &DataSources) -> Result<Vec<String>, DataError> {
    let place = Place::find(given, sources)?;
    let files = SplitFiles::of(&place, &Splits::default())?.train;
    let looked_at = match place {
        Place::File(_) | Place::Folder(..) => files.len(),
        Place::Hub(..) => 1,
    };
    let mut rows = Vec::new();
    for file in files.iter().take(looked_at) {
        place.fetch(file, sources)?;
        rows.extend(cells::read(file)?);
    }
    Ok(cells::columns(&rows))
}
