//! Journal of requests and replies. A line is added as soon as a reply comes, so that nothing is paid for twice.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A question's name: a hash of everything that the reply depends on.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuestionId(String);

impl QuestionId {
    /// The id of a question that is made of these parts.
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(format!("{:.32x}", hash.finalize()))
    }
}

/// A line of the journal. The reply is kept as it came: what it means can be read from it anew.
#[derive(Serialize, Deserialize)]
struct JournalEntry {
    question: QuestionId,
    reply: String,
}

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Not readable or not writable.
    #[error("{path}: {reason}: check the path, its permissions and the space left")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        reason: std::io::Error,
    },
    /// A whole line that is no entry.
    #[error(
        "{path}:{line}: no question with its reply: remove the line (its question is then asked again), or the file if it is \
         none of ours"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
}

/// The replies to all questions asked so far, in memory and on disk.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    kept: Mutex<StoredReplies>,
}

#[derive(Debug)]
struct StoredReplies {
    file: File,
    /// Bytes of all whole lines.
    length: u64,
    replies: HashMap<QuestionId, String>,
}

impl Journal {
    /// Opens the journal of this path, or begins it. A last line without its end was being written when the program was
    /// killed; it is cut off.
    ///
    /// # Errors
    /// When the file system refuses, or a line is no entry.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let io = |reason| JournalError::Io { path: path.to_owned(), reason };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        // Appended to, not truncated: what is there was paid for.
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(io)?;
        let bytes = std::fs::read(path).map_err(io)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let mut replies = HashMap::new();
        for (line, text) in (1..).zip(bytes[..whole].split_inclusive(|&byte| byte == b'\n')) {
            let none = |_| JournalError::Line { path: path.to_owned(), line };
            let entry: JournalEntry = serde_json::from_slice(text).map_err(none)?;
            replies.insert(entry.question, entry.reply);
        }
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(io)?;
        }
        let kept = StoredReplies { file, length: whole as u64, replies };
        Ok(Self { path: path.to_owned(), kept: Mutex::new(kept) })
    }

    /// The reply to a question, if it was asked before.
    pub fn reply(&self, question: &QuestionId) -> Option<String> {
        self.kept().replies.get(question).cloned()
    }

    /// Keeps a reply; it is on disk when this returns.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn record(&self, question: QuestionId, reply: String) -> Result<(), JournalError> {
        let entry = JournalEntry { question, reply };
        let line = serde_json::to_string(&entry).expect("plain data") + "\n";
        let mut kept = self.kept();
        let written = kept.file.write_all(line.as_bytes()).and_then(|()| kept.file.sync_data());
        if let Err(reason) = written {
            // Other threads still write: their lines must not be glued to a part of this one.
            let _ = kept.file.set_len(kept.length);
            return Err(JournalError::Io { path: self.path.clone(), reason });
        }
        kept.length += line.len() as u64;
        kept.replies.insert(entry.question, entry.reply);
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, StoredReplies> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> QuestionId {
        QuestionId::of(&["judge", name])
    }

    #[test]
    fn parts_of_a_question_do_not_run_into_each_other() {
        assert_ne!(QuestionId::of(&["ab", "c"]), QuestionId::of(&["a", "bc"]));
        assert_eq!(id("x"), id("x"));
    }

    #[test]
    fn a_half_written_line_is_cut_off_and_the_rest_is_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("new/a.journal.jsonl");
        let journal = Journal::open(&path).expect("writable");
        for name in ["one", "two", "three"] {
            journal.record(id(name), format!("\"{name}\"\nü")).expect("writable");
        }
        drop(journal);
        let bytes = std::fs::read(&path).expect("written");
        // From the line break alone to the whole line but its first byte: a kill may come at any byte.
        let line = bytes.split_inclusive(|&byte| byte == b'\n').next_back().expect("three lines").len();
        for lost in 1..line {
            std::fs::write(&path, &bytes[..bytes.len() - lost]).expect("writable");
            let journal = Journal::open(&path).expect("two whole lines");
            assert_eq!(journal.reply(&id("two")).as_deref(), Some("\"two\"\nü"), "{lost} bytes lost");
            assert_eq!(journal.reply(&id("three")), None, "{lost} bytes lost");
            journal.record(id("three"), "again".to_owned()).expect("writable");
            let journal = Journal::open(&path).expect("three whole lines");
            assert_eq!(journal.reply(&id("three")).as_deref(), Some("again"), "{lost} bytes lost");
        }
    }

    #[test]
    fn a_line_that_is_no_entry_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.journal.jsonl");
        std::fs::write(&path, "{\"question\": \"0\", \"reply\": \"a\"}\n{\"reply\": \"b\"}\n").expect("writable");
        let error = Journal::open(&path).expect_err("no entry").to_string();
        assert!(error.contains("a.journal.jsonl:2: no question with its reply: remove the line"), "{error}");
    }
}
