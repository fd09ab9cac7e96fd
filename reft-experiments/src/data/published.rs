//! A set in one of the two forms in which GLUE is published: a table of tab-separated lines in its archive's layout, or
//! parquet files in the hub's.

use std::path::{Path, PathBuf};
use std::sync::Once;

use super::error::DataError;
use super::parquet_error::ParquetError;
use super::source::DataSources;

/// Where a set's rows are looked for, relative to a data folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishedLocation {
    /// The table, such as `glue_data/CoLA/train.tsv`.
    pub table: String,
    /// The folder of parquet files, such as `glue/cola`.
    pub folder: String,
    /// How their names begin, such as `train` for `train-00000-of-00001.parquet`.
    pub stem: String,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PublishedFiles {
    /// A table.
    Table(PathBuf),
    /// Parquet files, in order.
    Parquet(Vec<PathBuf>),
}

impl PublishedLocation {
    /// The set in the first folder that has it; there the table, if it is in both forms. `how` says how to get it.
    ///
    /// # Errors
    /// When it is nowhere, or some of its parquet files are missing.
    pub fn find(&self, sources: &DataSources, how: &str) -> Result<PublishedFiles, DataError> {
        for folder in sources.folders() {
            let table = folder.join(&self.table);
            let parquet = self.shards(&folder.join(&self.folder));
            if table.exists() {
                if !matches!(parquet, Ok(None)) {
                    self.note();
                }
                return Ok(PublishedFiles::Table(table));
            }
            if let Some(files) = parquet? {
                return Ok(PublishedFiles::Parquet(files));
            }
        }
        let files = [self.table.clone(), format!("{}/{}-*.parquet", self.folder, self.stem)];
        let folders = sources.folders();
        Err(DataError::Nowhere {
            file: files.join(" or "),
            tried: folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", "),
            reason: how.to_owned(),
            place: folders.last().map(|folder| folder.join(&self.table)).unwrap_or_default(),
        })
    }

    /// Says which of two forms is read, once for all sets.
    fn note(&self) {
        static SAID: Once = Once::new();
        let (table, folder) = (&self.table, &self.folder);
        SAID.call_once(|| eprintln!("{table} is read; {folder} is there too and is not: tables come first"));
    }

    /// All parquet files of the set; none when there is not one.
    fn shards(&self, folder: &Path) -> Result<Option<Vec<PathBuf>>, ParquetError> {
        let listed = match std::fs::read_dir(folder) {
            Ok(listed) => listed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ParquetError::Io { path: folder.to_owned(), source }),
        };
        let mut files: Vec<(usize, PathBuf)> = listed
            .filter_map(Result::ok)
            .filter_map(|entry| Some((self.shards_of(entry.file_name().to_str()?)?, entry.path())))
            .collect();
        let Some(all) = files.iter().map(|(all, _)| *all).max() else { return Ok(None) };
        files.retain(|(of, _)| *of == all);
        if files.len() != all {
            let (folder, stem, found) = (folder.to_owned(), self.stem.clone(), files.len());
            return Err(ParquetError::Shards { folder, stem, found, all });
        }
        // Their numbers are padded with zeros: the order of names is the order of rows.
        let mut files: Vec<PathBuf> = files.into_iter().map(|(_, path)| path).collect();
        files.sort();
        Ok(Some(files))
    }

    /// How many files there are of a set that this name belongs to.
    fn shards_of(&self, name: &str) -> Option<usize> {
        let numbers = name.strip_prefix(&self.stem)?.strip_prefix('-')?.strip_suffix(".parquet")?;
        let (number, all) = numbers.split_once("-of-")?;
        let (number, all): (usize, usize) = (number.parse().ok()?, all.parse().ok()?);
        (number < all).then_some(all)
    }
}
