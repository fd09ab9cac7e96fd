//! What a task came to, as records keep it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::grade::{Grade, Graded, Unit};
use super::metric::{LabelledPredictions, Metric};

/// What a task came to.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Score {
    /// Right answers.
    Counts {
        /// Rows answered rightly.
        correct: usize,
        /// Rows scored.
        n: usize,
        /// Those among them whose prompt was longer than `data.max_length` and lost its end.
        #[serde(default, skip_serializing_if = "is_zero")]
        cut: usize,
    },
    /// A metric of all answers together.
    Measured {
        /// Which.
        metric: Metric,
        /// Its value, at most 1; a correlation that is undefined counts as 0.
        value: f64,
        /// Rows scored.
        n: usize,
        /// Those among them whose texts were longer than `data.max_length` and were cut.
        #[serde(default, skip_serializing_if = "is_zero")]
        cut: usize,
        /// What the task's own protocol reports beside it, where that is a second metric.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        second: Option<Measure>,
    },
    /// A grade of all answers to a user's data set.
    Graded {
        /// Which.
        grade: Grade,
        /// From 0 to 1; of a loss any.
        value: f64,
        /// Rows scored.
        n: usize,
        /// Those among them that were cut.
        #[serde(default, skip_serializing_if = "is_zero")]
        cut: usize,
        /// What is reported beside it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        second: Option<Graded>,
    },
    /// What edits add to the time of an answer: quantiles of the differences within pairs of runs, one with edits and one
    /// without.
    Timed {
        /// Their median, in milliseconds.
        added_ms: f64,
        /// First and third quartile, in milliseconds.
        quartiles_ms: [f64; 2],
        /// Median time of an answer without edits, in milliseconds.
        plain_ms: f64,
        /// Pairs of runs.
        n: usize,
    },
}

/// Whether a count says nothing.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A metric's value.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Measure {
    /// Which.
    pub metric: Metric,
    /// At most 1; a correlation that is undefined counts as 0.
    pub value: f64,
}

impl Score {
    /// Of these answers, by a metric and perhaps a second one; the texts of `cut` rows were cut.
    pub fn measured(metric: Metric, second: Option<Metric>, answers: &LabelledPredictions, cut: usize) -> Self {
        let value = |metric: Metric| metric.of(answers).unwrap_or(0.0);
        let second = second.map(|metric| Measure { metric, value: value(metric) });
        Self::Measured { metric, value: value(metric), n: answers.pairs.len(), cut, second }
    }

    /// Words for a metric that these answers do not define, and that counts as 0 then; nothing for one that they do.
    pub fn undefined(metric: Metric, answers: &LabelledPredictions) -> Option<String> {
        let undefined = !answers.pairs.is_empty() && metric.of(answers).is_none();
        undefined.then(|| {
            format!(
                "{metric} is not defined for these {} rows (all labels, or all answers, are the same): it counts as 0",
                answers.pairs.len()
            )
        })
    }

    /// The second metric.
    pub fn second(self) -> Option<Measure> {
        match self {
            Self::Counts { .. } | Self::Graded { .. } | Self::Timed { .. } => None,
            Self::Measured { second, .. } => second,
        }
    }

    /// What its figure is measured in.
    pub fn unit(self) -> Unit {
        match self {
            Self::Graded { grade, .. } if grade.is_loss() => Unit::Loss(grade),
            Self::Timed { .. } => Unit::AddedTime,
            Self::Counts { .. } | Self::Measured { .. } | Self::Graded { .. } => Unit::Percent,
        }
    }

    /// Accuracy or another metric in percent, a loss as it is, or added time in percent of the time without edits.
    pub fn figure(self) -> f64 {
        match (self, self.unit()) {
            (Self::Counts { correct, n, .. }, _) => 100.0 * correct as f64 / n.max(1) as f64,
            (Self::Timed { added_ms, plain_ms, .. }, _) => 100.0 * added_ms / plain_ms,
            (Self::Measured { value, .. } | Self::Graded { value, .. }, Unit::Loss(_)) => value,
            (Self::Measured { value, .. } | Self::Graded { value, .. }, _) => 100.0 * value,
        }
    }

    /// Rows whose prompts or texts were longer than `data.max_length` and were cut.
    pub fn cut(self) -> usize {
        match self {
            Self::Counts { cut, .. } | Self::Measured { cut, .. } | Self::Graded { cut, .. } => cut,
            Self::Timed { .. } => 0,
        }
    }

    /// Rows scored.
    pub fn n(self) -> usize {
        match self {
            Self::Counts { n, .. } | Self::Measured { n, .. } | Self::Graded { n, .. } | Self::Timed { n, .. } => n,
        }
    }
}

/// Mean over tasks of their figures, which must be of one unit to mean anything; NaN without tasks.
pub fn mean_figure(scores: &BTreeMap<String, Score>) -> f64 {
    scores.values().map(|score| score.figure()).sum::<f64>() / scores.len() as f64
}
