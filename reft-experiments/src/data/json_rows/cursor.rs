//! Where the parser of rows is, and what it refuses.

use super::{Fault, Need};

/// Where the parser is.
pub(super) struct Cursor {
    /// What every row must have.
    pub need: Need,
    /// The row, counted from 1; 0 before the first.
    pub row: usize,
    /// The key whose value is read.
    pub key: Option<String>,
    /// What is wrong with a row that is valid JSON.
    pub fault: Option<Fault>,
}

impl Cursor {
    /// The row and the key: ``row 3, key `input` ``.
    pub fn name(&self) -> String {
        match (self.row, &self.key) {
            (0, _) => String::new(),
            (row, None) => format!("row {row}"),
            (row, Some(key)) => format!("row {row}, key `{}`", shortened(key)),
        }
    }

    /// The same before what is wrong there, with the line where that is another number.
    pub fn place(&self, line: usize) -> String {
        match self.name() {
            name if name.is_empty() && line > 1 => format!("line {line}: "),
            name if name.is_empty() => name,
            name if line == self.row || line <= 1 => format!("{name}: "),
            name => format!("{name} (line {line}): "),
        }
    }

    /// Notes what is wrong; the parser is told that something is.
    pub fn refuse<E: serde::de::Error>(&mut self, fault: Fault) -> E {
        self.fault = Some(fault);
        E::custom("refused")
    }
}

/// At most this many characters of a user's text in a message.
const SHOWN: usize = 40;

/// A text from a file, short enough for a message and on one line.
pub(super) fn shortened(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() { shown + "…" } else { shown }
}
