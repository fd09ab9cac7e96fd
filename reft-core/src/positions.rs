//! Which tokens of a sequence an intervention edits: the set `P` of Def. 3.1, as a user writes it.
//!
//! | text | tokens |
//! |---|---|
//! | `f7+l7`, `f7`, `l1` | first 7 and last 7 of the prompt; either alone (section 4.1) |
//! | `prompt` | the whole prompt |
//! | `all` | the prompt and everything generated after it |
//! | `gen`, `gen[:4]` | generated tokens only; the first four of them |
//! | `l1+gen` | the last token of the prompt and everything generated after it (contrastive activation addition) |
//! | `given` | the tokens that a pass names itself: interchange, where base and source have positions of their own |
//!
//! Positions become row indices once per pass. A token that is not in the pass has no row, so edits of the prompt
//! vanish while decoding without a count of calls, and a prompt that is too short needs no pad token to point at.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::layout::{Layout, Span};

/// The tokens to edit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Positions {
    /// First `prefix` and last `suffix` tokens of the prompt; at least one of the two is not 0.
    Ends {
        /// `p` of section 4.1.
        prefix: u32,
        /// `s` of section 4.1.
        suffix: u32,
    },
    /// Every token of the prompt.
    Prompt,
    /// Every token, generated ones included.
    All,
    /// Tokens after the prompt; the first `first` of them if given.
    Generated {
        /// How many, counted from the end of the prompt.
        first: Option<u32>,
    },
    /// The last `suffix` tokens of the prompt, at least one, and every token after it.
    Tail {
        /// How many, counted from the end of the prompt.
        suffix: u32,
    },
    /// Those that a pass names for itself ([`Layout::links`]); none where it names none.
    Given,
}

/// A text that names no positions.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("positions `{0}` is not understood: write f7+l7, f1, l1, prompt, all, gen, gen[:4], l1+gen or given")]
pub struct PositionsError(pub String);

impl FromStr for Positions {
    type Err = PositionsError;

    fn from_str(text: &str) -> Result<Self, PositionsError> {
        let error = || PositionsError(text.to_owned());
        let count = |part: &str| part.parse::<u32>().ok().filter(|&n| n > 0).ok_or_else(error);
        match text {
            "prompt" => return Ok(Self::Prompt),
            "all" => return Ok(Self::All),
            "gen" => return Ok(Self::Generated { first: None }),
            "given" => return Ok(Self::Given),
            _ => {}
        }
        if let Some(n) = text.strip_prefix("gen[:").and_then(|rest| rest.strip_suffix(']')) {
            return Ok(Self::Generated { first: Some(count(n)?) });
        }
        if let Some(n) = text.strip_prefix('l').and_then(|rest| rest.strip_suffix("+gen")) {
            return Ok(Self::Tail { suffix: count(n)? });
        }
        let (prefix, suffix) = match text.split_once('+') {
            Some((first, last)) => (Some(first), Some(last)),
            None if text.starts_with('l') => (None, Some(text)),
            None => (Some(text), None),
        };
        let end = |part: Option<&str>, letter: char| match part {
            Some(part) => part.strip_prefix(letter).ok_or_else(error).and_then(count),
            None => Ok(0),
        };
        Ok(Self::Ends { prefix: end(prefix, 'f')?, suffix: end(suffix, 'l')? })
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ends { prefix, suffix: 0 } => write!(f, "f{prefix}"),
            Self::Ends { prefix: 0, suffix } => write!(f, "l{suffix}"),
            Self::Ends { prefix, suffix } => write!(f, "f{prefix}+l{suffix}"),
            Self::Prompt => f.write_str("prompt"),
            Self::All => f.write_str("all"),
            Self::Generated { first: None } => f.write_str("gen"),
            Self::Generated { first: Some(n) } => write!(f, "gen[:{n}]"),
            Self::Tail { suffix } => write!(f, "l{suffix}+gen"),
            Self::Given => f.write_str("given"),
        }
    }
}

impl From<Positions> for String {
    fn from(positions: Positions) -> Self {
        positions.to_string()
    }
}

impl TryFrom<String> for Positions {
    type Error = PositionsError;

    fn try_from(text: String) -> Result<Self, PositionsError> {
        text.parse()
    }
}

/// What can be written, each with what it means.
pub const SPELLINGS: [(&str, &str); 9] = [
    ("f7+l7", "the first 7 and the last 7 tokens of the prompt"),
    ("f7", "the first 7 tokens of the prompt"),
    ("l1", "the last token of the prompt"),
    ("prompt", "every token of the prompt"),
    ("all", "every token, generated ones included"),
    ("gen", "every generated token"),
    ("gen[:4]", "the first 4 generated tokens"),
    ("l1+gen", "the last token of the prompt and every generated token"),
    ("given", "the tokens that a pass names itself: interchange (dii), and nothing else"),
];

impl JsonSchema for Positions {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Positions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let spellings = SPELLINGS.map(|(text, meaning)| format!("{text}: {meaning}")).join("; ");
        json_schema!({
            "type": "string",
            "description": format!("The tokens to edit. {spellings}."),
            "pattern": r"^(f[1-9][0-9]*|l[1-9][0-9]*|f[1-9][0-9]*\+l[1-9][0-9]*|l[1-9][0-9]*\+gen|prompt|all|given|gen|gen\[:[1-9][0-9]*\])$"
        })
    }
}

/// How many parameter sets the positions of one layer share.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tying {
    /// One `Φ` per layer for all positions (`I_tied`).
    #[default]
    Tied,
    /// One `Φ` for the prefix and one for the suffix, as in the published runs.
    Untied,
    /// One `Φ` per position, as in the formula of section 4.1.
    PerPosition,
}

/// What happens when a prompt is shorter than the prefix and the suffix together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// Section 4.1: `p <- min(p, floor(n/2))`, `s <- min(s, ceil(n/2))`.
    #[default]
    Paper,
    /// The reference library: each end takes at most `floor(n/2)`, whenever an end alone exceeds that.
    Library,
}

/// The positions that share one parameter set. Orders as they stand in the prompt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TyingGroup {
    /// All positions (tied).
    Both,
    /// The first tokens (untied).
    Prefix,
    /// The last tokens (untied).
    Suffix,
    /// One token counted from the beginning of the prompt, from 0 (per position).
    First(u32),
    /// One token counted from the end of the prompt, from 0 (per position).
    Last(u32),
}

impl fmt::Display for TyingGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Both => f.write_str("both"),
            Self::Prefix => f.write_str("prefix"),
            Self::Suffix => f.write_str("suffix"),
            Self::First(index) => write!(f, "first{index}"),
            Self::Last(index) => write!(f, "last{index}"),
        }
    }
}

/// Positions that cannot be tied in the way asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("positions `{positions}` have no prefix and suffix to untie: use tying: tied, or positions such as f7+l7")]
pub struct TyingError {
    /// The positions in question.
    pub positions: Positions,
}

impl Positions {
    /// The parameter sets these positions need, in order.
    ///
    /// # Errors
    /// When positions without ends are to be untied.
    pub fn groups(self, tying: Tying) -> Result<Vec<TyingGroup>, TyingError> {
        match (tying, self) {
            (Tying::Tied, _) => Ok(vec![TyingGroup::Both]),
            (Tying::Untied, Self::Ends { prefix, suffix }) => {
                let ends = [(prefix, TyingGroup::Prefix), (suffix, TyingGroup::Suffix)];
                Ok(ends.into_iter().filter(|(n, _)| *n > 0).map(|(_, group)| group).collect())
            }
            (Tying::PerPosition, Self::Ends { prefix, suffix }) => {
                Ok((0..prefix).map(TyingGroup::First).chain((0..suffix).map(TyingGroup::Last)).collect())
            }
            (
                Tying::Untied | Tying::PerPosition,
                Self::Prompt | Self::All | Self::Generated { .. } | Self::Tail { .. } | Self::Given,
            ) => Err(TyingError { positions: self }),
        }
    }

    /// The token positions that `group` edits in a sequence with this prompt, ascending, up to `end` (exclusive).
    fn in_sequence(self, group: TyingGroup, span: &Span, rule: Truncation) -> Vec<i64> {
        let (prompt, end) = (span.prompt, span.past + span.len);
        match self {
            Self::Ends { prefix, suffix } => {
                let (p, s) = truncate(i64::from(prefix), i64::from(suffix), prompt, rule);
                match group {
                    TyingGroup::Both => (0..p).chain(prompt - s..prompt).collect(),
                    TyingGroup::Prefix => (0..p).collect(),
                    TyingGroup::Suffix => (prompt - s..prompt).collect(),
                    TyingGroup::First(i) => (0..p).filter(|&at| at == i64::from(i)).collect(),
                    TyingGroup::Last(i) => (prompt - s..prompt).filter(|&at| at == prompt - 1 - i64::from(i)).collect(),
                }
            }
            Self::Prompt => (0..prompt).collect(),
            Self::All => (0..end).collect(),
            Self::Generated { first: None } => (prompt..end).collect(),
            Self::Generated { first: Some(n) } => (prompt..end.min(prompt + i64::from(n))).collect(),
            Self::Tail { suffix } => ((prompt - i64::from(suffix)).max(0)..end).collect(),
            Self::Given => Vec::new(),
        }
    }

    /// The rows of this pass that each group edits, one entry per group of [`Positions::groups`], in that order.
    /// Groups of one specification never share a row (Def. 3.2).
    pub fn resolve(self, layout: &Layout, groups: &[TyingGroup], rule: Truncation) -> Vec<Vec<i64>> {
        let rows_of = |&group: &TyingGroup| {
            let sequences = layout.spans().iter().enumerate();
            sequences
                .flat_map(|(index, span)| {
                    let positions = self.in_sequence(group, span, rule);
                    positions.into_iter().filter_map(move |position| layout.row(index, position))
                })
                .collect()
        };
        groups.iter().map(rows_of).collect()
    }

    /// The first position of a sequence that can be edited, for a prompt of this length.
    /// Everything left of it is the same with and without the edits in a causal model.
    pub fn first_edited(self, prompt: i64, rule: Truncation) -> Option<i64> {
        let whole = Span { row: 0, past: 0, past_row: 0, len: i64::MAX / 2, prompt, adaptation: 0 };
        match self {
            Self::Ends { .. } => self.in_sequence(TyingGroup::Both, &whole, rule).first().copied(),
            Self::Prompt | Self::All | Self::Given => Some(0),
            Self::Generated { .. } => Some(prompt),
            Self::Tail { suffix } => Some((prompt - i64::from(suffix)).max(0)),
        }
    }
}

/// How many tokens each end edits in a prompt of `n` tokens (section 4.1).
fn truncate(prefix: i64, suffix: i64, n: i64, rule: Truncation) -> (i64, i64) {
    match rule {
        Truncation::Paper if n < prefix + suffix => (prefix.min(n / 2), suffix.min(n - n / 2)),
        Truncation::Paper => (prefix, suffix),
        Truncation::Library => (prefix.min(n / 2), suffix.min(n / 2)),
    }
}
