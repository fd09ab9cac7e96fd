//! Where a data set lies: a file, a folder of files, or the hub.

use std::path::{Path, PathBuf};

use reft_models::hub::{Dataset, is_dataset_id};

use super::cells::Format;
use super::fault::OwnDataError;
use super::folder;
use crate::data::error::DataError;
use crate::data::source::DataSources;

/// The place behind the name that a description gives.
pub(super) enum Place {
    /// One file.
    File(PathBuf),
    /// A folder, with those of its files that hold rows.
    Folder(PathBuf, Vec<PathBuf>),
    /// A data set of the hub, with the paths that its files have in the cache, where they need not be yet.
    Hub(Box<Dataset>, Vec<PathBuf>),
}

impl Place {
    /// A path relative to the working directory, then to the folders of data; else a data set's id.
    ///
    /// # Errors
    /// When there is no such thing, or it is not to be had.
    pub fn find(given: &str, sources: &DataSources) -> Result<Self, OwnDataError> {
        let path = Path::new(given);
        let mut places = [Path::new("")].into_iter().chain(sources.folders()).map(|folder| folder.join(path));
        if let Some(path) = places.find(|place| place.exists()) {
            return if path.is_dir() {
                let files = folder::files(&path)?;
                Ok(Self::Folder(path, files))
            } else {
                Ok(Self::File(path))
            };
        }
        if Format::of(path).is_none() && is_dataset_id(given) {
            let dataset = Dataset::find(given)?;
            let files = dataset.files().iter().map(|file| dataset.folder().join(file)).collect();
            return Ok(Self::Hub(Box::new(dataset), files));
        }
        Err(OwnDataError::file(
            path,
            "there is no such file or folder here, nor in REFT_DATA: check the path, or give the id of a data set of the hub \
             (org/name, org/name/subset, org/name@revision)",
        ))
    }

    /// Makes a file of the data set available and notes that it is read.
    ///
    /// # Errors
    /// When it cannot be downloaded or read.
    pub fn fetch(&self, file: &Path, sources: &DataSources) -> Result<(), DataError> {
        match self {
            Self::File(_) | Self::Folder(..) => sources.note(&file.display().to_string(), file),
            Self::Hub(dataset, _) => {
                let name = file.strip_prefix(dataset.folder()).unwrap_or(file);
                dataset.fetch(name).map_err(OwnDataError::from)?;
                sources.note_at(&name.display().to_string(), file, dataset.pinned())
            }
        }
    }

    /// What messages call it.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Folder(path, _) => path,
            Self::Hub(dataset, _) => Path::new(dataset.pinned()),
        }
    }
}
