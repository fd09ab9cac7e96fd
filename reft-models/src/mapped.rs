//! Files of weights, mapped into memory.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::container::{WeightsError, open_error};

/// A file's bytes, read when they are asked for.
pub(crate) struct Mapped {
    file: File,
    map: Mmap,
}

impl Mapped {
    /// All bytes. Refuses a file that has become shorter since it was opened, whose pages would end the process.
    pub(crate) fn bytes(&self) -> Result<&[u8], String> {
        let length = self.file.metadata().map_err(|error| error.to_string())?.len();
        if length < self.map.len() as u64 {
            return Err(format!("the file shrank from {} to {length} bytes since it was opened", self.map.len()));
        }
        Ok(&self.map)
    }
}

/// Opens a file of weights.
pub(crate) fn mapped(path: &Path) -> Result<Mapped, WeightsError> {
    let io = |error: std::io::Error| open_error(path, format!("{error}: is the download complete?"));
    let file = File::open(path).map_err(io)?;
    // Safe as long as the file does not change meanwhile; `bytes` looks for the change that would do harm.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    check_not_placeholder(path, &map)?;
    Ok(Mapped { file, map })
}

/// Refuses a file that stands for another: a pointer of Git LFS, or an answer of a server that is no file.
pub(crate) fn check_not_placeholder(path: &Path, bytes: &[u8]) -> Result<(), WeightsError> {
    if bytes.starts_with(b"version https://git-lfs") {
        let reason = "a pointer of Git LFS, not the weights: run `git lfs pull` in its folder, or download it again";
        return Err(open_error(path, reason));
    }
    if bytes.starts_with(b"<!DOCTYPE") || bytes.starts_with(b"<html") {
        return Err(open_error(path, "a page of a web server, not the weights: download it again"));
    }
    Ok(())
}
