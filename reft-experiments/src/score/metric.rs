//! The metric of a task that is classified or scored, and what it looks at.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::metrics;

/// What a row is, or is taken for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    /// A class, counted from 0.
    Class(i64),
    /// A score.
    Score(f64),
}

impl Target {
    /// The class, where it is one.
    pub fn class(self) -> Option<i64> {
        match self {
            Self::Class(class) => Some(class),
            Self::Score(_) => None,
        }
    }

    /// The score; a class by its number.
    pub fn number(self) -> f64 {
        match self {
            Self::Class(class) => class as f64,
            Self::Score(score) => score,
        }
    }
}

/// What a task is measured by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Part of the rows that are right.
    Accuracy,
    /// Matthews' correlation of classes.
    Matthews,
    /// F1 of class 1.
    F1,
    /// Mean of the classes' F1, over the classes that a row has or was taken for.
    F1Macro,
    /// F1 of all classes counted together.
    F1Micro,
    /// Pearson's correlation of scores.
    Pearson,
    /// Spearman's correlation of scores.
    Spearman,
}

impl Metric {
    /// Its name in configurations and records.
    pub fn key(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Matthews => "matthews",
            Self::F1 => "f1",
            Self::F1Macro => "f1_macro",
            Self::F1Micro => "f1_micro",
            Self::Pearson => "pearson",
            Self::Spearman => "spearman",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accuracy => "accuracy",
            Self::Matthews => "Matthews correlation",
            Self::F1 => "F1",
            Self::F1Macro => "macro F1",
            Self::F1Micro => "micro F1",
            Self::Pearson => "Pearson correlation",
            Self::Spearman => "Spearman correlation",
        })
    }
}

/// What rows are and what they were taken for.
#[derive(Clone, PartialEq, Debug)]
pub struct LabelledPredictions {
    /// The right answer and the given one, row by row.
    pub pairs: Vec<(Target, Target)>,
}

impl LabelledPredictions {
    /// Right and given classes.
    fn classes(&self) -> (Vec<i64>, Vec<i64>) {
        self.pairs.iter().filter_map(|(right, said)| Some((right.class()?, said.class()?))).unzip()
    }

    /// Right and given scores.
    fn numbers(&self) -> (Vec<f64>, Vec<f64>) {
        self.pairs.iter().map(|(right, said)| (right.number(), said.number())).unzip()
    }
}

impl Metric {
    /// The value, from -1 or 0 to 1; none from no rows, and where a correlation is undefined.
    pub fn of(self, answers: &LabelledPredictions) -> Option<f64> {
        if answers.pairs.is_empty() {
            return None;
        }
        match self {
            Self::Accuracy => Some(answers.classes()).map(|(right, said)| metrics::accuracy(&right, &said)),
            Self::Matthews => Some(answers.classes()).map(|(right, said)| metrics::matthews(&right, &said)),
            Self::F1 => Some(answers.classes()).map(|(right, said)| metrics::f1(&right, &said)),
            Self::F1Macro => Some(answers.classes()).map(|(right, said)| metrics::f1_macro(&right, &said)),
            Self::F1Micro => Some(answers.classes()).map(|(right, said)| metrics::f1_micro(&right, &said)),
            Self::Pearson => Some(answers.numbers()).and_then(|(right, said)| metrics::pearson(&right, &said)),
            Self::Spearman => Some(answers.numbers()).and_then(|(right, said)| metrics::spearman(&right, &said)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_looks_at_its_kind_of_answer() {
        let of = |pairs: &[(Target, Target)]| LabelledPredictions { pairs: pairs.to_vec() };
        let class = Target::Class;
        let half = of(&[(class(1), class(1)), (class(0), class(1)), (class(0), class(0)), (class(1), class(0))]);
        assert_eq!((Metric::Accuracy.of(&half), Metric::Matthews.of(&half)), (Some(0.5), Some(0.0)));
        let score = Target::Score;
        let line = of(&[(score(0.0), score(1.0)), (score(1.0), score(3.0)), (score(2.0), score(5.0))]);
        assert!(Metric::Pearson.of(&line).is_some_and(|value| (value - 1.0).abs() < 1e-12));
        assert_eq!(Metric::Pearson.of(&of(&[(score(0.0), score(1.0)), (score(1.0), score(1.0))])), None, "constant");
        assert_eq!(Metric::Accuracy.of(&of(&[])), None);
    }
}
