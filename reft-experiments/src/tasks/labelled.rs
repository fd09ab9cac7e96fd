//! Tasks whose rows have a label from a fixed set, or a score: what an encoder's head is trained on, and what a causal model
//! can learn to say in words.

use reft_core::rng::Seed;

use super::{DataKind, Task};
use crate::data::error::DataError;
use crate::data::halves::ValidationHalves;
use crate::data::labelled::Target;
use crate::data::left_out::LeftOut;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::score::metric::Metric;

/// What the rows of a task are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Labels {
    /// These classes, by the names in the published files, in the order of Hugging Face's copies.
    Classes(&'static [&'static str]),
    /// A score from 0 to this.
    Score(f64),
}

impl Labels {
    /// What a label says; none where it is not one of the task's.
    pub fn target(self, label: &str) -> Option<Target> {
        match self {
            Self::Classes(names) => names.iter().position(|name| *name == label).map(|at| Target::Class(at as i64)),
            Self::Score(most) => {
                let score = label.parse::<f64>().ok().filter(|score| (0.0..=most).contains(score));
                score.map(Target::Score)
            }
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
            Self::Score(_) => name.parse().ok().filter(|score: &f64| score.is_finite()).map(Target::Score),
        }
    }

    /// What an answer in words stands for, by the name that was found in it. Where none was found it counts as a wrong class,
    /// or as the score 0.
    pub fn taken(self, answer: &str, right: Target) -> Target {
        self.named(answer).unwrap_or(match (self, right) {
            (Self::Classes(names), Target::Class(class)) => Target::Class((class + 1) % names.len().max(1) as i64),
            (Self::Classes(_) | Self::Score(_), _) => Target::Score(0.0),
        })
    }

    /// An answer in the words of the published files.
    pub fn name(self, target: Target) -> String {
        match (self, target) {
            (Self::Classes(names), Target::Class(class)) => names[class as usize].to_owned(),
            (Self::Classes(_) | Self::Score(_), target) => format!("{:.3}", target.number()),
        }
    }

    /// Outputs of a head: one a class, or one for a score.
    pub fn outputs(self) -> i64 {
        match self {
            Self::Classes(names) => names.len() as i64,
            Self::Score(_) => 1,
        }
    }

    /// In words.
    pub fn describe(self) -> String {
        match self {
            Self::Classes(names) => format!("the classes {}", names.join(", ")),
            Self::Score(most) => format!("scores from 0 to {most}"),
        }
    }
}

/// A task whose rows have labels. Its validation rows are split by a run's seed into those that epochs and settings are chosen
/// by and those that are reported.
pub trait LabelledTask: Task {
    /// What the rows are.
    fn labels(&self) -> Labels;

    /// What the task's own protocol reports beside [`Task::metric`].
    fn second(&self) -> Option<Metric> {
        None
    }

    /// The rows to learn from.
    ///
    /// # Errors
    /// When the data is not to be had, or damaged.
    fn training(&self, kind: DataKind, sources: &DataSources) -> Result<Vec<Row>, DataError>;

    /// The validation rows, split by a run's seed.
    ///
    /// # Errors
    /// When the data is not to be had or damaged, or one part would be empty.
    fn validation(&self, kind: DataKind, sources: &DataSources, seed: Seed) -> Result<ValidationHalves, DataError>;

    /// Lines of the published files that are known to be broken and were left out.
    ///
    /// # Errors
    /// When the data is not to be had, or damaged.
    fn left_out(&self, _kind: DataKind, _sources: &DataSources) -> Result<Vec<LeftOut>, DataError> {
        Ok(Vec::new())
    }

    /// What a row is. Rows were checked when they were read.
    fn target(&self, row: &Row) -> Target {
        self.labels().target(&row.answer).expect("a label that was checked")
    }
}
