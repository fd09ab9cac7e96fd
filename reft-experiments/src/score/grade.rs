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

/// A grade with its value.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Graded {
    /// Which.
    pub grade: Grade,
    /// From 0 to 1; of a loss any.
    pub value: f64,
}
