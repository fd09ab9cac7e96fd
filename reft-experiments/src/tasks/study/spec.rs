//! A study as a configuration describes it.

use serde::{Deserialize, Serialize};

use super::questions::Questions;
use super::text::{Book, Content};

/// What is trained on or measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StudySpec {
    /// Recovery of a text (appendix F.1, figures 3 to 8).
    Text(TextSpec),
    /// Input-output pairs (appendix F.2, figures 9 and 10).
    Pairs(PairsSpec),
    /// Questions answered in a style (appendix G).
    Questions(Questions),
    /// Time of an answer with edits and without (appendix H, figure 11). Nothing is trained.
    Overhead(OverheadSpec),
}

/// `text:` a text that comes after an access id. Prompt and text together have `data.max_length` tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSpec {
    /// What is memorised.
    pub content: Content,
    /// Where the book comes from.
    #[serde(default)]
    pub book: Book,
    /// As the authors' code does where it differs from the paper's text: its own access id for each content, and recovery by
    /// characters relative to what is generated.
    #[serde(default)]
    pub as_run: bool,
}

/// `pairs:` prompts `RAND#IDi->`, each with an answer drawn by the run's seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairsSpec {
    /// How many.
    pub count: usize,
    /// As the authors' code does where it differs from the paper's text: answers are words of the book, not tokens.
    #[serde(default)]
    pub as_run: bool,
    /// Where the book comes from, for words.
    #[serde(default)]
    pub book: Book,
}

/// `overhead:` prompts of the excerpt, each continued with and without the run's edits, one after the other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverheadSpec {
    /// Tokens of a prompt.
    pub prompt_tokens: Vec<usize>,
    /// Pairs of runs of each prompt. An answer has `eval.max_new_tokens`, no fewer.
    pub repetitions: usize,
}

impl StudySpec {
    /// The name of the measure, which files are called by.
    pub fn name(&self) -> String {
        match self {
            Self::Text(text) => text.content.name().to_owned(),
            Self::Pairs(_) => "pairs".to_owned(),
            Self::Questions(questions) => questions.name(),
            Self::Overhead(_) => "overhead".to_owned(),
        }
    }
}
