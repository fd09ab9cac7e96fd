//! Some rows of a subspace: `0..4`, or `[0..4)`, of the rank's rows (composition, appendix G.1).

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rows `first..end` of `R`, `W` and `b`; at least one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub struct Subspace {
    first: u32,
    end: u32,
}

/// A text that names no rows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("subspace `{0}` is not understood: write the rows as 0..4, the last one excluded")]
pub struct SubspaceError(String);

impl Subspace {
    /// Its first row.
    pub fn first(self) -> i64 {
        i64::from(self.first)
    }

    /// The row after its last.
    pub fn end(self) -> i64 {
        i64::from(self.end)
    }

    /// Whether two have a row in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.first < other.end && other.first < self.end
    }
}

impl FromStr for Subspace {
    type Err = SubspaceError;

    fn from_str(text: &str) -> Result<Self, SubspaceError> {
        let bare = text.trim();
        let bare = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(')')).unwrap_or(bare);
        let rows =
            bare.split_once("..").and_then(|(first, end)| Some((first.trim().parse().ok()?, end.trim().parse().ok()?)));
        match rows {
            Some((first, end)) if first < end => Ok(Self { first, end }),
            _ => Err(SubspaceError(text.to_owned())),
        }
    }
}

impl fmt::Display for Subspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.end)
    }
}

impl From<Subspace> for String {
    fn from(subspace: Subspace) -> Self {
        subspace.to_string()
    }
}

impl TryFrom<String> for Subspace {
    type Error = SubspaceError;

    fn try_from(text: String) -> Result<Self, SubspaceError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_in_both_spellings_and_written_in_one() {
        for text in ["0..4", "[0..4)", " [0 .. 4) "] {
            assert_eq!(text.parse::<Subspace>().expect(text).to_string(), "0..4");
        }
        for text in ["4..4", "4..0", "0-4", "[0..4", "[0..4]", "-1..2", ""] {
            assert_eq!(text.parse::<Subspace>(), Err(SubspaceError(text.to_owned())));
        }
        let parse = |text: &str| text.parse::<Subspace>().expect(text);
        assert!(parse("0..4").overlaps(parse("3..5")) && !parse("0..4").overlaps(parse("4..8")));
    }
}
