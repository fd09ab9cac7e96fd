//! Places that are written to: what stands in the way is said before anything is computed.

use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};

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

/// Refuses a file that is there, unless it is to be replaced, and one that cannot be written. A file that is read, `input`, is never
/// replaced.
///
/// # Errors
/// As it says.
pub fn check_new_file(flag: &str, file: &Path, input: &Path, overwrite: bool) -> Result<()> {
    let (place, shown) = (|path: &Path| path.canonicalize().ok(), file.display());
    if place(file).zip(place(input)).is_some_and(|(file, input)| file.starts_with(input)) {
        bail!("{flag} {shown}: {} is read, and would be lost: name another file", input.display());
    }
    if file.is_file() && !overwrite {
        bail!("{flag} {shown}: a file is there: name another one, or give --overwrite to replace it");
    }
    check_file(flag, file)
}

/// Files of an adapter, ours and peft's.
const OF_ADAPTER: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// Files that are beside some adapters: a head, or a task, belongs to no other one.
const BESIDE: [&str; 3] = ["adapter_model.bin", "head.safetensors", "task.json"];

/// Takes the files of an adapter out of a folder that another one is copied into.
///
/// # Errors
/// When one cannot be deleted.
pub fn clear_adapter(folder: &Path) -> Result<()> {
    OF_ADAPTER.into_iter().chain(BESIDE).try_for_each(|name| remove(&folder.join(name)))
}

/// Takes what was beside another adapter out of a folder that an adapter was written into.
///
/// # Errors
/// When a file cannot be deleted.
pub fn clear_beside(folder: &Path) -> Result<()> {
    BESIDE.into_iter().try_for_each(|name| remove(&folder.join(name)))
}

fn remove(path: &Path) -> Result<()> {
    if path.exists() {
        std::fs::remove_file(path).with_context(|| format!("{}: cannot be replaced", path.display()))?;
    }
    Ok(())
}

/// Refuses a folder that holds files of an adapter.
///
/// # Errors
/// With the first of them.
pub fn check_no_adapter(flag: &str, folder: &Path) -> Result<()> {
    match OF_ADAPTER.into_iter().chain(BESIDE).find(|name| folder.join(name).exists()) {
        Some(there) => bail!(
            "{flag} {}: files of another adapter are there ({there}): name another folder, or give --overwrite to replace it",
            folder.display()
        ),
        None => Ok(()),
    }
}

/// Whether a file can be made in a folder.
fn writable(folder: &Path) -> io::Result<()> {
    tempfile::tempfile_in(folder).map(drop)
}
