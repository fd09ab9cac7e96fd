//! Grades of answers that are more than right or wrong, and their units.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a user's data set is measured by, beside right answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Mean F1 of words.
    WordsF1,
    /// Mean ROUGE-L.
    RougeL,
    /// BLEU of all answers.
    Bleu,
    /// Mean negative log-likelihood of a token, in nats.
    Nll,
    /// Its exponential.
    Perplexity,
    /// Right choices by likelihood: lm-evaluation-harness' `acc`.
    Acc,
    /// Right choices by likelihood for each character: its `acc_norm`.
    AccNorm,
}

impl Grade {
    /// Whether less is better, and the value no part of 1.
    pub fn is_loss(self) -> bool {
        match self {
            Self::Nll | Self::Perplexity => true,
            Self::WordsF1 | Self::RougeL | Self::Bleu | Self::Acc | Self::AccNorm => false,
        }
    }

    /// Its name in records.
    pub fn key(self) -> &'static str {
        match self {
            Self::WordsF1 => "words_f1",
            Self::RougeL => "rouge_l",
            Self::Bleu => "bleu",
            Self::Nll => "nll",
            Self::Perplexity => "perplexity",
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// What a figure is measured in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Percent; more is better.
    Percent,
    /// A loss, which is no part of anything; less is better.
    Loss(Grade),
    /// Time that is added, in percent of the time without; less is better.
    AddedTime,
}

impl Unit {
    /// Whether the first figure is better than the second.
    pub fn better(self, one: f64, other: f64) -> bool {
        match self {
            Self::Percent => one > other,
            Self::Loss(_) | Self::AddedTime => one < other,
        }
    }

    /// A figure without its unit, with as many digits as it is read with.
    pub fn digits(self, figure: f64) -> String {
        match self {
            Self::Percent | Self::AddedTime => format!("{figure:.1}"),
            Self::Loss(_) => format!("{figure:.3}"),
        }
    }

    /// A figure with its unit.
    pub fn with(self, figure: f64) -> String {
        format!("{} {self}", self.digits(figure))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent => f.write_str("%"),
            Self::Loss(grade) => grade.fmt(f),
            Self::AddedTime => f.write_str("% more time"),
        }
    }
}

/// A grade with its value.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Graded {
    /// Which.
    pub grade: Grade,
    /// From 0 to 1; of a loss any.
    pub value: f64,
}
