//! Files of weights, mapped into memory.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::Path;

use memmap2::{Mmap, UncheckedAdvice};

use crate::container::{PageCache, WeightsError, open_error};

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

impl Mapped {
    /// Says that these bytes have been read, so that they no longer count as memory of this process. They can be read again.
    pub(crate) fn release(&self, bytes: Range<usize>, cache: PageCache) {
        let Some(length) = bytes.end.checked_sub(bytes.start).filter(|_| bytes.end <= self.map.len()) else { return };
        // Hints: a system that does not take them holds the pages as long as it likes. Safe: pages of a file that is mapped to be
        // read are read from it again, and the second hint is about the system's cache alone.
        #[allow(unsafe_code)]
        unsafe {
            let _ = self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, bytes.start, length);
            #[cfg(target_os = "linux")]
            if cache == PageCache::Dropped {
                let (from, length) = (bytes.start as libc::off_t, length as libc::off_t);
                libc::posix_fadvise(self.file.as_raw_fd(), from, length, libc::POSIX_FADV_DONTNEED);
            }
        }
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
