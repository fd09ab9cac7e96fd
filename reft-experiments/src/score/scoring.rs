//! `score:` how the answers to a user's data set are scored.

use std::borrow::Cow;
use std::fmt;

use regex::Regex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::answers;
use super::grade::{Grade, Unit};
use super::metric::Metric;

/// How answers are scored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// What is said is the answer, white space around both left out.
    Exact,
    /// What is said contains the answer.
    Contains,
    /// What is said after the first occurrence of this text is the answer, white space around both left out.
    After(Cow<'static, str>),
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
    /// What its figures are measured in.
    pub fn unit(&self) -> Unit {
        match self {
            Self::Nll => Unit::Loss(Grade::Nll),
            Self::Perplexity => Unit::Loss(Grade::Perplexity),
            _ => Unit::Percent,
        }
    }

    /// What it needs.
    pub fn kind(&self) -> ScoringKind {
        match self {
            Self::Exact
            | Self::Contains
            | Self::After(_)
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

impl Scoring {
    /// The answer inside what was said; empty where there is none.
    pub fn extract(&self, said: &str) -> String {
        match self {
            Self::After(trigger) => answers::after(said, trigger).trim().to_owned(),
            Self::Regex(expression) => expression.find(said).unwrap_or_default().trim().to_owned(),
            Self::Number => answers::number(said).map_or(String::new(), |number| number.to_string()),
            Self::Letter => answers::letter(said).to_owned(),
            _ => said.trim().to_owned(),
        }
    }

    /// Whether an answer that was found agrees with the right one. Numbers do when they are equal to a thousandth.
    pub fn agrees(&self, answer: &str, right: &str) -> bool {
        let right = right.trim();
        match self {
            Self::Contains => answer.contains(right),
            Self::Regex(expression) if expression.has_group() => {
                answer == expression.find(right).unwrap_or(right).trim()
            }
            Self::Regex(_) => true,
            Self::Number => match (answers::number(answer), answers::number(right)) {
                (Some(said), Some(right)) => (said - right).abs() <= 1e-3,
                _ => false,
            },
            Self::Letter => answer == answers::letter(right),
            _ => answer == right,
        }
    }

    /// The metric of labels; accuracy of answers that are right or wrong.
    pub fn metric(&self) -> Metric {
        match self {
            Self::F1Macro => Metric::F1Macro,
            Self::F1Micro => Metric::F1Micro,
            Self::Matthews => Metric::Matthews,
            Self::Pearson => Metric::Pearson,
            Self::Spearman => Metric::Spearman,
            _ => Metric::Accuracy,
        }
    }
}

impl Metric {
    /// The same as a data set's `score`.
    pub fn scoring(self) -> &'static Scoring {
        match self {
            Self::Accuracy => &Scoring::Accuracy,
            Self::Matthews => &Scoring::Matthews,
            // Of two classes; where there are more, of all of them.
            Self::F1 | Self::F1Macro => &Scoring::F1Macro,
            Self::F1Micro => &Scoring::F1Micro,
            Self::Pearson => &Scoring::Pearson,
            Self::Spearman => &Scoring::Spearman,
        }
    }
}

impl fmt::Display for Scoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = serde_json::to_value(self).expect("plain data");
        match written.as_str() {
            Some(name) => f.write_str(name),
            None => f.write_str(if matches!(self, Self::After(_)) { "after" } else { "regex" }),
        }
    }
}
