//! The files of a folder, and those of a split by the beginning of their names.

use std::path::{Path, PathBuf};

use super::cells::Format;
use super::fault::OwnDataError;

/// Beginnings of names that split a folder without being asked for.
const CUSTOMARY: [(&str, &[&str]); 3] =
    [("train", &["train"]), ("dev", &["dev", "validation", "valid"]), ("test", &["test"])];

/// The files of a folder that hold rows, in the order of their names.
///
/// # Errors
/// When it cannot be read, or holds none.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, OwnDataError> {
    let found: Vec<PathBuf> = all(folder)?.into_iter().filter(|path| Format::of(path).is_some()).collect();
    if found.is_empty() {
        return Err(OwnDataError::file(
            folder,
            format!("no file of rows in this folder: put {} there", Format::endings()),
        ));
    }
    Ok(found)
}

/// The other files of a folder, by their paths in it. Hidden ones are none of the user's.
///
/// # Errors
/// When it cannot be read.
pub(super) fn others(folder: &Path) -> Result<Vec<String>, OwnDataError> {
    let name = |path: &PathBuf| path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let others = all(folder)?.into_iter().filter(|path| Format::of(path).is_none()).map(|path| name(&path));
    Ok(others.filter(|name| !name.split('/').any(|part| part.starts_with('.'))).collect())
}

/// All files of a folder and of those in it, in the order of their names.
fn all(folder: &Path) -> Result<Vec<PathBuf>, OwnDataError> {
    let unreadable = |error: std::io::Error| OwnDataError::file(folder, format!("{error}: check the path"));
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Those of these files whose names begin so, or whose folder has that name.
pub(super) fn named<'f>(files: &'f [PathBuf], beginning: &str) -> Vec<&'f PathBuf> {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let is_of = |path: &&PathBuf| {
        text(path.file_name()).starts_with(beginning) || text(path.parent().and_then(Path::file_name)) == beginning
    };
    files.iter().filter(is_of).collect()
}

/// The customary beginning of a split's files that some of these have.
pub(super) fn customary(files: &[PathBuf], split: &str) -> Option<&'static str> {
    let (_, beginnings) = CUSTOMARY.iter().find(|(name, _)| *name == split)?;
    beginnings.iter().copied().find(|beginning| !named(files, beginning).is_empty())
}
