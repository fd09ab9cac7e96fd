//! What a run did without: broken lines of a data file, and files of a folder that hold no rows.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Lines or files so named when there are more.
const NAMED: usize = 12;

/// Lines of one file without the columns of the others, which its publisher left in it; or files of a folder that are in no format of
/// rows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeftOut {
    /// The file, or the folder.
    pub file: PathBuf,
    /// The lines, counted from 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<usize>,
    /// The folder's files, by their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        if !self.files.is_empty() {
            return write!(f, "{file}: not read, since no rows are in them: {}", some(&self.files));
        }
        write!(f, "{file}: {} broken lines are left out ({})", self.lines.len(), some(&self.lines))
    }
}

/// The first of these.
fn some<T: fmt::Display>(all: &[T]) -> String {
    let named: Vec<String> = all.iter().take(NAMED).map(ToString::to_string).collect();
    named.join(", ") + if all.len() > NAMED { ", ..." } else { "" }
}
