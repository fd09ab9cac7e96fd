//! Places that are written to: what stands in the way is said before anything is computed.

use std::io;
use std::path::Path;

use anyhow::{Result, bail};

/// Refuses a folder that cannot be made or written in. `flag` names it in the error.
///
/// # Errors
/// When it is a file, below one, or where nothing can be written.
pub fn check_folder(flag: &str, folder: &Path) -> Result<()> {
    let shown = folder.display();
    match folder.ancestors().find(|place| place.exists()) {
        Some(place) if !place.is_dir() => bail!("{flag} {shown}: {} is a file: name a folder", place.display()),
        Some(place) => match writable(place) {
            Ok(()) => Ok(()),
            Err(error) => {
                bail!("{flag} {shown}: nothing can be written in {} ({error}): name another folder", place.display())
            }
        },
        None => match writable(Path::new(".")) {
            Ok(()) => Ok(()),
            Err(error) => bail!("{flag} {shown}: nothing can be written in this folder ({error}): name another folder"),
        },
    }
}

/// Refuses a file that cannot be written.
///
/// # Errors
/// When it is a folder or no plain file, or cannot be written where it is named.
pub fn check_file(flag: &str, file: &Path) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let there = folder.ancestors().find(|place| place.exists()).unwrap_or(folder);
    let reason = match writable(there) {
        Ok(()) if file.is_dir() => "it is a folder".to_owned(),
        Ok(()) if file.exists() && !file.is_file() => "it is no plain file".to_owned(),
        Ok(()) => return Ok(()),
        Err(error) => error.to_string(),
    };
    bail!("{flag} {}: cannot be written ({reason}): name another file", file.display())
}

/// Whether a file can be made in a folder.
fn writable(folder: &Path) -> io::Result<()> {
    tempfile::tempfile_in(folder).map(drop)
}
