//! Grades of answers that are more than right or wrong, and their units.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::overlap_of_words::{bleu, rouge_l, words_f1};
use super::scoring::Scoring;
use crate::run::prediction::{Prediction, count};
use crate::store::record::Score;

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
}

impl Unit {
    /// Whether the first figure is better than the second.
    pub fn better(self, one: f64, other: f64) -> bool {
        match self {
            Self::Percent => one > other,
            Self::Loss(_) => one < other,
        }
    }

    /// A figure without its unit, with as many digits as it is read with.
    pub fn digits(self, figure: f64) -> String {
        match self {
            Self::Percent => format!("{figure:.1}"),
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

/// What these predictions of a user's data set come to.
pub fn score(scoring: &Scoring, predictions: &[Prediction]) -> Score {
    let n = predictions.len();
    let mean = |of: fn(&str, &str) -> f64| {
        predictions.iter().map(|one| of(&one.said, &one.expected)).sum::<f64>() / n.max(1) as f64
    };
    let part = |right: usize| right as f64 / n.max(1) as f64;
    let nll = || {
        let by = || predictions.iter().filter_map(|one| one.likelihood.as_ref());
        let tokens: usize = by().map(|by| by.tokens).sum();
        -by().flat_map(|by| &by.logs).sum::<f64>() / tokens.max(1) as f64
    };
    let graded = |grade, value, second| {
        let cut = predictions.iter().filter(|one| one.cut).count();
        Score::Graded { grade, value, n, cut, second }
    };
    match scoring {
        Scoring::WordsF1 => graded(Grade::WordsF1, mean(words_f1), None),
        Scoring::RougeL => graded(Grade::RougeL, mean(rouge_l), None),
        Scoring::Bleu => {
            let pairs = predictions.iter().map(|one| (one.said.as_str(), one.expected.as_str()));
            graded(Grade::Bleu, bleu(pairs), None)
        }
        Scoring::Nll => graded(Grade::Nll, nll(), None),
        Scoring::Perplexity => graded(Grade::Perplexity, nll().exp(), None),
        Scoring::Choices => {
            let right = predictions.iter().filter(|one| one.correct == Some(true)).count();
            let by_length =
                |one: &&Prediction| one.likelihood.as_ref().is_some_and(|by| by.chosen_by_length == Some(true));
            let value = part(predictions.iter().filter(by_length).count());
            graded(Grade::Acc, part(right), Some(Graded { grade: Grade::AccNorm, value }))
        }
        Scoring::Exact
        | Scoring::Contains
        | Scoring::After(_)
        | Scoring::Regex(_)
        | Scoring::Number
        | Scoring::Letter
        | Scoring::Judge
        | Scoring::Accuracy
        | Scoring::F1Macro
        | Scoring::F1Micro
        | Scoring::Matthews
        | Scoring::Pearson
        | Scoring::Spearman => count(predictions),
    }
}
