//! Broken lines of a data file that a run skipped.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Lines so named when there are more.
const NAMED: usize = 12;

/// Lines of one file without the columns of the others, which its publisher left in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeftOut {
    /// The file.
    pub file: PathBuf,
    /// The lines, counted from 1.
    pub lines: Vec<usize>,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.lines.iter().take(NAMED).map(ToString::to_string).collect();
        let more = if self.lines.len() > NAMED { ", ..." } else { "" };
        let (file, count, numbers) = (self.file.display(), self.lines.len(), numbers.join(", "));
        write!(f, "{file}: {count} broken lines are left out ({numbers}{more})")
    }
}
