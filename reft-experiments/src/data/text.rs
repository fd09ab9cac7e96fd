//! Text files that people bring: UTF-8, with or without a byte order mark. Every other encoding is named.

use std::path::{Path, PathBuf};

/// A file that is no text in UTF-8.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// Not readable.
    #[error("{path}: {source}: check the path and its permissions")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Another encoding, which its first bytes tell.
    #[error("{path}: not UTF-8 but {encoding}: save it as UTF-8")]
    Encoding {
        /// The file.
        path: PathBuf,
        /// Which.
        encoding: &'static str,
    },
    /// A byte that UTF-8 does not have there.
    #[error("{path}: {place} is not UTF-8 ({found}): save it as UTF-8")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line and the byte in it, counted from 1; of rows the row and the key too.
        place: String,
        /// The byte, and the character that it is in Latin-1.
        found: String,
    },
    /// A byte of value zero, which no text has.
    #[error("{path}: line {line} has a NUL byte: the file is damaged, or UTF-16: save it as UTF-8")]
    Nul {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// Another kind of file.
    #[error("{path}: this is {found}: {remedy}")]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

/// The byte order mark.
pub const MARK: char = '\u{feff}';

/// First bytes of files that are no text, or stand for another file.
const OTHER_KINDS: [(&[u8], &str, &str); 6] = [
    (b"\x1f\x8b", "a gzip archive", "unpack it with `gunzip`"),
    (b"PK\x03\x04", "a zip archive or an Excel file", "unpack it, or save it as text"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it with `unzstd`"),
    (b"PAR1", "a parquet file", "convert it to JSON lines"),
    (b"version https://git-lfs", "a Git LFS pointer and not the file", "fetch the file with `git lfs pull`"),
    (b"<!DOCTYPE html", "a web page", "download the file itself, as raw text"),
];

/// Byte order marks of other encodings. UTF-32's begins with UTF-16's.
const OTHER_ENCODINGS: [(&[u8], &str); 4] = [
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];

/// Where a file stops being UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalid {
    /// Bytes before it, of the file without its byte order mark.
    pub offset: usize,
    /// The byte; none where the file ends in the middle of a character.
    pub byte: Option<u8>,
}

/// The bytes of a text file, without its byte order mark.
///
/// # Errors
/// When it cannot be read, or is of another kind or encoding as a whole.
pub fn bytes(path: &Path) -> Result<Vec<u8>, TextError> {
    let path_of = || path.to_owned();
    let mut bytes = std::fs::read(path).map_err(|source| TextError::Io { path: path_of(), source })?;
    if let Some((_, found, remedy)) = OTHER_KINDS.iter().find(|(start, ..)| bytes.starts_with(start)) {
        return Err(TextError::OtherKind { path: path_of(), found, remedy });
    }
    if let Some((_, encoding)) = OTHER_ENCODINGS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Err(TextError::Encoding { path: path_of(), encoding });
    }
    if let Some(nul) = bytes.iter().position(|&byte| byte == 0) {
        return Err(TextError::Nul { path: path_of(), line: line_and_column(&bytes, nul).0 });
    }
    while bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(..MARK.len_utf8());
    }
    Ok(bytes)
}

/// A file's text, without its byte order mark.
///
/// # Errors
/// When it cannot be read, or is not UTF-8.
pub fn read(path: &Path) -> Result<String, TextError> {
    let bytes = bytes(path)?;
    match valid(&bytes) {
        (_, Some(invalid)) => Err(invalid.error(path, &bytes, "")),
        (text, None) => Ok(text.to_owned()),
    }
}

/// The part of a file that is UTF-8 up to the first byte that is not, and that byte.
pub fn valid(bytes: &[u8]) -> (&str, Option<Invalid>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let offset = error.valid_up_to();
            let byte = error.error_len().map(|_| bytes[offset]);
            (std::str::from_utf8(&bytes[..offset]).unwrap_or_default(), Some(Invalid { offset, byte }))
        }
    }
}

impl Invalid {
    /// What is said of it; `row` names the row and the key, where there are rows.
    pub fn error(self, path: &Path, bytes: &[u8], row: &str) -> TextError {
        let (line, column) = line_and_column(bytes, self.offset);
        let place = if row.is_empty() {
            format!("line {line}, byte {column}")
        } else {
            format!("{row} (line {line}, byte {column})")
        };
        let found = match self.byte {
            None => "the file ends in the middle of a character".to_owned(),
            Some(byte @ 0xa0..) => format!("byte {byte:02x}, `{}` in Latin-1", char::from(byte)),
            Some(byte) => format!("byte {byte:02x}"),
        };
        TextError::NotUtf8 { path: path.to_owned(), place, found }
    }
}

/// The line of a byte and its place there, both counted from 1.
pub fn line_and_column(bytes: &[u8], offset: usize) -> (usize, usize) {
    let before = &bytes[..offset.min(bytes.len())];
    let line = before.split(|&byte| byte == b'\n').count() - 1;
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    (line + 1, before.len() - start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(bytes: &[u8]) -> Result<String, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.txt");
        std::fs::write(&path, bytes).expect("writable");
        read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn texts_lose_their_byte_order_mark_and_nothing_else() {
        for (bytes, text) in [
            (&b"\xef\xbb\xbfone\r\n"[..], "one\r\n"),
            (b"\xef\xbb\xbf\xef\xbb\xbfone", "one"),
            ("gr\u{fc}n \u{1f600}".as_bytes(), "gr\u{fc}n \u{1f600}"),
            (b"", ""),
        ] {
            assert_eq!(read_bytes(bytes).as_deref(), Ok(text));
        }
    }

    #[test]
    fn other_encodings_and_kinds_are_named_with_place_and_remedy() {
        let utf16: Vec<u8> = "a\nb".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, parts) in [
            ([b"\xff\xfe", &utf16[..]].concat(), ["not UTF-8 but UTF-16", "save it as UTF-8"]),
            (b"\xff\xfe\0\0a\0\0\0".to_vec(), ["not UTF-8 but UTF-32", "save it as UTF-8"]),
            (utf16, ["line 1 has a NUL byte", "save it as UTF-8"]),
            (b"one\nstra\xdfe".to_vec(), ["line 2, byte 5 is not UTF-8 (byte df, `\u{df}` in Latin-1)", "save it as"]),
            (b"one\n\x93two\x94".to_vec(), ["line 2, byte 1 is not UTF-8 (byte 93)", "save it as UTF-8"]),
            (b"one \xe2\x82".to_vec(), ["line 1, byte 5", "ends in the middle of a character"]),
            (b"one\ntw\0o".to_vec(), ["line 2 has a NUL byte", "damaged"]),
            (b"\x1f\x8b\x08".to_vec(), ["a gzip archive", "unpack it"]),
            (b"PK\x03\x04..".to_vec(), ["zip archive or an Excel file", "unpack it"]),
            (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), ["a Git LFS pointer", "git lfs pull"]),
        ] {
            let error = read_bytes(&bytes).expect_err("refused");
            assert!(error.contains("a.txt: ") && error.lines().count() == 1, "{error}");
            for part in parts {
                assert!(error.contains(part), "`{part}` is not in: {error}");
            }
        }
    }
}
