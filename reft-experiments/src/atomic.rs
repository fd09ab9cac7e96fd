//! Atomic writes and copies: a file is complete or not there.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes `bytes` to `path` through a temporary file in the same folder, synced and renamed.
///
/// # Errors
/// When the file system refuses; `path` is then as it was.
pub fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // As for any new file, less the user's umask; a temporary file would be its owner's alone.
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    // Not through the wrapper, whose errors name the temporary file.
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}

/// Copies a file into a folder, under its own name.
///
/// # Errors
/// When it cannot be read, or the copy cannot be written; then there is none.
pub fn copy_into(folder: &Path, file: &Path) -> Result<()> {
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let copy = folder.join(file.file_name().unwrap_or_default());
    write(&copy, &bytes).with_context(|| format!("{}: cannot be written", copy.display()))
}
