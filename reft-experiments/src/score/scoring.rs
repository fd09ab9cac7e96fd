//! `score:` how the answers to a user's data set are scored.

use std::fmt;

use regex::Regex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How answers are scored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// What is said is the answer, white space around both left out.
    Exact,
    /// What is said contains the answer.
    Contains,
    /// What the expression's first group finds in what is said is what it finds in the answer (or the answer itself, where it
    /// finds nothing there); an expression without a group must be found in what is said.
    Regex(Expression),
    /// The last numbers of both are equal.
    Number,
    /// The first letters A to E of both are equal.
    Letter,
    /// F1 of the words that both have (`SQuAD`'s).
    WordsF1,
    /// ROUGE-L, its F-measure.
    RougeL,
    /// BLEU of all answers together.
    Bleu,
    /// Mean negative log-likelihood of a completion's token, in nats; nothing is generated.
    Nll,
    /// The exponential of that.
    Perplexity,
    /// Which of the choices is likeliest; nothing is generated.
    Choices,
    /// A judge model compares outputs: the answers are written to a file for `reft judge`.
    Judge,
    /// Part of the labels that are right.
    Accuracy,
    /// Mean over classes of their F1.
    F1Macro,
    /// F1 of all classes counted together: the accuracy, where every row has one label.
    F1Micro,
    /// Matthews' correlation of classes.
    Matthews,
    /// Pearson's correlation of numbers.
    Pearson,
    /// Spearman's correlation of numbers.
    Spearman,
}

/// A regular expression, by its text.
#[derive(Clone, Debug)]
pub struct Expression(Regex);

impl Expression {
    /// What its first group finds in a text, or the whole of what it finds where it has no group; none where it finds nothing.
    pub fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        let found = self.0.captures(text)?;
        found.get(1).or_else(|| found.get(0)).map(|found| found.as_str())
    }

    /// Whether it has a group, whose text is then compared.
    pub fn has_group(&self) -> bool {
        self.0.captures_len() > 1
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The library's message has several lines, of which the last says what is wrong.
        let reason = |error: regex::Error| error.to_string().lines().last().unwrap_or_default().trim().to_owned();
        Regex::new(&text).map(Self).map_err(|error| {
            D::Error::custom(format!("`{text}` is no regular expression ({}): correct it", reason(error)))
        })
    }
}

/// What a scoring needs of a data set and of a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScoringKind {
    /// Answers that are generated.
    Answers,
    /// Likelihoods of completions.
    Likelihood,
    /// Likelihoods of choices.
    Choices,
    /// Labels of an encoder: classes.
    Classes,
    /// Labels of an encoder: numbers.
    Numbers,
}

impl Scoring {
    /// What it needs.
    pub fn kind(&self) -> ScoringKind {
        match self {
            Self::Exact
            | Self::Contains
            | Self::Regex(_)
            | Self::Number
            | Self::Letter
            | Self::WordsF1
            | Self::RougeL
            | Self::Bleu
            | Self::Judge => ScoringKind::Answers,
            Self::Nll | Self::Perplexity => ScoringKind::Likelihood,
            Self::Choices => ScoringKind::Choices,
            Self::Accuracy | Self::F1Macro | Self::F1Micro | Self::Matthews => ScoringKind::Classes,
            Self::Pearson | Self::Spearman => ScoringKind::Numbers,
        }
    }
}

impl fmt::Display for Scoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = serde_json::to_value(self).expect("plain data");
        match written.as_str() {
            Some(name) => f.write_str(name),
            None => f.write_str("regex"),
        }
    }
}
