//! What the labels of rows are: classes with names, or numbers.

use std::collections::BTreeSet;
use std::num::ParseIntError;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::labelled::Target;
use super::row::Row;

/// What the rows of a task are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Labels {
    /// These classes, by the names in the published files, in the order of Hugging Face's copies.
    Classes(&'static [&'static str]),
    /// A score from 0 to this.
    Score(f64),
    /// Any finite number.
    Number,
}

/// What the column of labels holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LabelColumn {
    /// Classes, by their number: whole numbers.
    Classes,
    /// Scores: floating-point numbers.
    Scores,
}

/// Labels as files beside a trained model keep them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SavedLabels {
    /// The names of the classes, in the order of the head's outputs.
    Classes(Vec<String>),
    /// A score from 0 to this.
    Score(f64),
    /// Any finite number.
    Number,
}

impl From<Labels> for SavedLabels {
    fn from(labels: Labels) -> Self {
        match labels {
            Labels::Classes(names) => Self::Classes(names.iter().map(|name| (*name).to_owned()).collect()),
            Labels::Score(most) => Self::Score(most),
            Labels::Number => Self::Number,
        }
    }
}

impl From<&SavedLabels> for Labels {
    fn from(kept: &SavedLabels) -> Self {
        match kept {
            SavedLabels::Classes(names) => Self::classes(names.iter().cloned()),
            SavedLabels::Score(most) => Self::Score(*most),
            SavedLabels::Number => Self::Number,
        }
    }
}

impl Labels {
    /// These classes. Equal lists are kept once, as long as the process lives: tasks and their labels are copied by reference.
    pub fn classes(names: impl IntoIterator<Item = String>) -> Self {
        static KNOWN: Mutex<BTreeSet<&'static [&'static str]>> = Mutex::new(BTreeSet::new());
        let names: Vec<String> = names.into_iter().collect();
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(classes) = known.iter().find(|classes| **classes == names.as_slice()) {
            return Self::Classes(classes);
        }
        let kept = names.into_iter().map(|name| -> &'static str { Box::leak(name.into_boxed_str()) });
        let classes: &'static [&'static str] = kept.collect::<Vec<_>>().leak();
        known.insert(classes);
        Self::Classes(classes)
    }

    /// The classes that occur among these names: in the order of their numbers where all are whole numbers, else of their
    /// letters.
    pub fn among<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: BTreeSet<&str> = names.into_iter().collect();
        let mut names: Vec<&str> = names.into_iter().collect();
        if let Ok(mut numbers) =
            names.iter().map(|name| Ok((name.parse()?, *name))).collect::<Result<Vec<(i64, &str)>, ParseIntError>>()
        {
            numbers.sort_unstable();
            names = numbers.into_iter().map(|(_, name)| name).collect();
        }
        Self::classes(names.into_iter().map(str::to_owned))
    }

    /// What a label says; none where it is not one of the task's.
    pub fn target(self, label: &str) -> Option<Target> {
        match self {
            Self::Classes(names) => names.iter().position(|name| *name == label).map(|at| Target::Class(at as i64)),
            Self::Score(most) => {
                let score = label.parse::<f64>().ok().filter(|score| (0.0..=most).contains(score));
                score.map(Target::Score)
            }
            Self::Number => label.trim().parse().ok().filter(|number: &f64| number.is_finite()).map(Target::Score),
        }
    }

    /// What a row is, whose label was checked when it was read.
    pub fn of(self, row: &Row) -> Target {
        self.target(&row.answer).expect("a label that was checked")
    }

    /// What stands in the place of a label that is not known.
    pub fn placeholder(self) -> Target {
        match self {
            Self::Classes(_) => Target::Class(0),
            Self::Score(_) | Self::Number => Target::Score(0.0),
        }
    }

    /// Whether rows are classified, not scored.
    pub fn are_classes(self) -> bool {
        matches!(self, Self::Classes(_))
    }

    /// An answer by the name that [`Labels::name`] gave it; a score may lie outside those of the task.
    pub fn named(self, name: &str) -> Option<Target> {
        match self {
            Self::Classes(_) => self.target(name),
            Self::Score(_) | Self::Number => {
                name.parse().ok().filter(|score: &f64| score.is_finite()).map(Target::Score)
            }
        }
    }

    /// What an answer in words stands for, by the name that was found in it. Where none was found it counts as a wrong class,
    /// or as the score 0.
    pub fn taken(self, answer: &str, right: Target) -> Target {
        self.named(answer).unwrap_or(match (self, right) {
            (Self::Classes(names), Target::Class(class)) => Target::Class((class + 1) % names.len().max(1) as i64),
            (Self::Classes(_) | Self::Score(_) | Self::Number, _) => Target::Score(0.0),
        })
    }

    /// An answer in the words of the published files.
    pub fn name(self, target: Target) -> String {
        match (self, target) {
            (Self::Classes(names), Target::Class(class)) => names[class as usize].to_owned(),
            (Self::Classes(_) | Self::Score(_) | Self::Number, target) => format!("{:.3}", target.number()),
        }
    }

    /// Outputs of a head: one a class, or one for a score.
    pub fn outputs(self) -> i64 {
        match self {
            Self::Classes(names) => names.len() as i64,
            Self::Score(_) | Self::Number => 1,
        }
    }

    /// In words.
    pub fn describe(self) -> String {
        match self {
            Self::Classes(names) => format!("the classes {}", names.join(", ")),
            Self::Score(most) => format!("scores from 0 to {most}"),
            Self::Number => "numbers".to_owned(),
        }
    }
}
