//! Rows that are longer than `data.max_length`, and what became of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What rows are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowUse {
    /// They are trained on.
    Training,
    /// They are scored.
    Scoring,
}

/// What became of rows that are too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthAction {
    /// The prompt alone fills the maximum length: nothing to learn is left of the row.
    LeftOut,
    /// The tokens beyond the maximum length are cut off, as in the reference library.
    Cut,
    /// The beginning of the prompt is left out, as in lm-evaluation-harness: nothing is generated.
    BeginningCut,
    /// Of two texts, the longer one is cut until both fit, as in the reference library.
    PairCut,
}

/// Rows of one use and one fate. A record lists those that there are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TooLong {
    /// The tasks that the rows are of, joined by `+`.
    pub task: String,
    /// What they are for.
    #[serde(rename = "use")]
    pub purpose: RowUse,
    /// What became of them.
    pub fate: LengthAction,
    /// How many there are.
    pub rows: usize,
    /// Rows of this use in all.
    pub of: usize,
    /// Tokens a row may have: `data.max_length`.
    pub max_length: usize,
    /// What the first of them are called, [`NAMED`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<String>,
    /// How the first of them ended before it was cut; empty where that is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub end: String,
}

/// Rows that are named.
pub const NAMED: usize = 20;

impl TooLong {
    /// With the names of those of some rows that are too long.
    #[must_use]
    pub fn naming(self, names: impl Iterator<Item = String>) -> Self {
        Self { named: names.take(NAMED).collect(), ..self }
    }

    /// Which rows they are, with what comes before the list; nothing where that is not known.
    fn names(&self, before: &str) -> String {
        let more = match self.rows.saturating_sub(self.named.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        if self.named.is_empty() { String::new() } else { format!("{before}{}{more}", self.named.join(", ")) }
    }

    /// Rows of which some may be too long; none if none is.
    pub fn some(self) -> Option<Self> {
        (self.rows > 0).then_some(self)
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, purpose, fate, rows, of, max_length, end, .. } = self;
        let names = self.names("; they are ");
        let what = match purpose {
            RowUse::Training => "training rows",
            RowUse::Scoring if *fate == LengthAction::PairCut => "scored rows",
            RowUse::Scoring => "prompts",
        };
        match fate {
            LengthAction::LeftOut => {
                write!(f, "{task}: {rows} of {of} {what} are longer than data.max_length and left out")?;
            }
            LengthAction::Cut => {
                write!(f, "{task}: {rows} of {of} {what} cut to {max_length} tokens (their ends are lost")?;
            }
            LengthAction::BeginningCut => {
                write!(
                    f,
                    "{task}: {rows} of {of} {what} with what follows them cut to {max_length} tokens (the beginning is lost"
                )?;
            }
            LengthAction::PairCut => {
                write!(f, "{task}: {rows} of {of} {what} cut to {max_length} tokens (the longer text loses its end")?;
            }
        }
        match (fate, end.as_str()) {
            (LengthAction::LeftOut, _) => write!(f, " ({max_length} tokens){names}"),
            (_, "") => write!(f, "); raise data.max_length to keep them whole{names}"),
            (_, end) => write!(f, ": {end}); raise data.max_length to keep them whole{names}"),
        }
    }
}

/// Characters of a lost end that are shown.
const SHOWN: usize = 40;

/// The end of a text on one line.
pub fn ending(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let count = words.chars().count();
    if count <= SHOWN { words } else { format!("…{}", words.chars().skip(count - SHOWN).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_too_long_are_told_with_their_number_and_what_they_lose() {
        let cut = TooLong {
            task: "arc_e".to_owned(),
            purpose: RowUse::Scoring,
            fate: LengthAction::Cut,
            rows: 1,
            of: 3,
            max_length: 256,
            named: Vec::new(),
            end: ending(&format!("{}\n\n### Response:\n", "word ".repeat(20))),
        };
        assert_eq!(
            cut.to_string(),
            "arc_e: 1 of 3 prompts cut to 256 tokens (their ends are lost: …d word word word word word ### Response:); \
             raise data.max_length to keep them whole"
        );
        let left_out =
            TooLong { purpose: RowUse::Training, fate: LengthAction::LeftOut, end: String::new(), ..cut.clone() };
        assert_eq!(
            left_out.to_string(),
            "arc_e: 1 of 3 training rows are longer than data.max_length and left out (256 tokens)"
        );
        let named = TooLong { rows: 22, of: 30, ..left_out }.naming((1..=22).map(|row| format!("faq.jsonl row {row}")));
        assert!(named.to_string().contains("; they are faq.jsonl row 1, faq.jsonl row 2, "), "{named}");
        assert!(named.to_string().ends_with("faq.jsonl row 20 and 2 more"), "{named}");
        assert_eq!(TooLong { rows: 0, ..cut }.some(), None);
    }
}
