//! A task that is data: files in LLM-Adapters' format (`instruction`, `input`, `output`, `answer`), two phrases, a score and
//! splits. Most tasks are one of these, and so can be those of an outside program.

use std::collections::HashSet;

use super::description::{AnswerForm, Description};
use super::embedded::{self, Generate};
use super::phrase::Phrase;
use super::{DataKind, Task, find};
use crate::data::error::DataError;
use crate::data::need::Need;
use crate::data::overlap::normalised;
use crate::data::own::spec::DataSpec;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::{Split, hold_out};
use crate::score::scoring::Scoring;

/// The rows to choose settings by, which the training rows then lack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dev {
    /// A part of the training file ([`hold_out`]).
    HeldOut,
    /// So many rows at the end of the training file.
    Last(usize),
    /// Those of another task, by its key: their questions are no training rows here, and this task itself has no dev rows.
    Of(&'static str),
    /// None.
    Nowhere,
}

/// Rows that need no download.
#[derive(Clone, Copy, Debug)]
pub enum Made {
    /// In every split, by this function.
    By(Generate),
    /// None. This is a row of the real set's form.
    Not(Sample),
}

/// The columns of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    /// The question.
    pub instruction: &'static str,
    /// Further text.
    pub input: &'static str,
    /// The whole completion.
    pub output: &'static str,
    /// The answer alone.
    pub answer: &'static str,
}

impl From<Sample> for Row {
    fn from(sample: Sample) -> Self {
        Self {
            instruction: sample.instruction.to_owned(),
            input: sample.input.to_owned(),
            output: sample.output.to_owned(),
            answer: sample.answer.to_owned(),
            ..Self::default()
        }
    }
}

/// A file of rows, relative to a folder of data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct File {
    /// Its path.
    pub path: &'static str,
    /// What every row must have.
    pub need: Need,
}

/// A task over such files.
#[derive(Debug)]
pub struct Described {
    /// The name in configurations and records.
    pub key: &'static str,
    /// What it is.
    pub description: Description,
    /// What the model is given.
    pub prompt: Phrase,
    /// What it learns to say.
    pub completion: Phrase,
    /// How answers are scored.
    pub scoring: Scoring,
    /// The rows to learn from; none for a test set only.
    pub train: Option<File>,
    /// The rows to choose by.
    pub dev: Dev,
    /// What every dev row must have.
    pub dev_need: Need,
    /// The rows to report; none for a training set only.
    pub test: Option<File>,
    /// What to do where a split has no rows.
    pub remedy: &'static str,
    /// Rows that need no download.
    pub made: Made,
}

impl Described {
    fn none<T>(&self, split: &Split, remedy: &'static str) -> Result<T, DataError> {
        Err(DataError::NoRows { task: self.key, split: split.name(), remedy })
    }

    fn real(&self, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        let train = |need: Option<Need>| match self.train {
            Some(file) => sources.rows(file.path, need.unwrap_or(file.need)),
            None => self.none(split, self.remedy),
        };
        match (split, self.dev) {
            (Split::Train, _) => train(None),
            (Split::TrainWithoutDev, Dev::HeldOut) => Ok(hold_out(train(None)?).1),
            (Split::TrainWithoutDev, Dev::Last(count)) => train(None).map(|mut rows| {
                rows.truncate(rows.len().saturating_sub(count));
                rows
            }),
            (Split::TrainWithoutDev, Dev::Of(other)) => {
                let mut rows = train(None)?;
                let dev = find(other).map_or(Ok(Vec::new()), |task| task.rows(DataKind::Real, &Split::Dev, sources))?;
                let dev: HashSet<String> = dev.iter().map(|row| normalised(&row.instruction)).collect();
                rows.retain(|row| !dev.contains(&normalised(&row.instruction)));
                Ok(rows)
            }
            (Split::Dev, Dev::HeldOut) => Ok(hold_out(train(Some(self.dev_need))?).0),
            (Split::Dev, Dev::Last(count)) => {
                train(Some(self.dev_need)).map(|mut rows| rows.split_off(rows.len().saturating_sub(count)))
            }
            (Split::TrainWithoutDev, Dev::Nowhere) | (Split::Dev, Dev::Of(_) | Dev::Nowhere) => {
                self.none(split, self.remedy)
            }
            (Split::Test(_), _) => match self.test {
                Some(file) => sources.rows(file.path, file.need),
                None => self.none(split, self.remedy),
            },
        }
    }
}

impl Task for Described {
    fn key(&self) -> &'static str {
        self.key
    }

    fn description(&self) -> Description {
        self.description
    }

    fn scoring(&self) -> &Scoring {
        &self.scoring
    }

    fn example(&self) -> Row {
        match self.made {
            Made::By(generate) => embedded::example(self.key, generate),
            Made::Not(sample) => sample.into(),
        }
    }

    fn splits(&self, kind: DataKind) -> Vec<&'static str> {
        let dev = self.train.is_some() && matches!(self.dev, Dev::HeldOut | Dev::Last(_));
        let real = [("train", self.train.is_some()), ("dev", dev), ("test", self.test.is_some())];
        let has = |(_, there): &(&str, bool)| match kind {
            DataKind::Embedded => matches!(self.made, Made::By(_)),
            DataKind::Real => *there,
        };
        real.iter().filter(|split| has(split)).map(|(name, _)| *name).collect()
    }

    fn rows(&self, kind: DataKind, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        match (kind, self.made) {
            (DataKind::Real, _) => self.real(split, sources),
            (DataKind::Embedded, Made::By(generate)) => Ok(embedded::rows(self.key, generate, split)),
            (DataKind::Embedded, Made::Not(_)) => self.none(split, "it has no embedded rows; set data.source: real"),
        }
    }

    fn prompt(&self, row: &Row) -> String {
        self.prompt.of(row)
    }

    fn completion(&self, row: &Row) -> String {
        self.completion.of(row)
    }

    /// LLM-Adapters writes them at the end of the instructions whose answer follows a text.
    fn has_options(&self) -> bool {
        matches!((&self.scoring, self.description.form), (Scoring::After(_), AnswerForm::OneOf(_)))
    }

    fn as_data(&self) -> Option<DataSpec> {
        Some(DataSpec {
            name: Some(self.key.to_owned()),
            prompt: Some(self.prompt.to_string()),
            completion: Some(self.completion.to_string()),
            answer: Some("answer".to_owned()),
            score: Some(self.scoring.clone()),
            ..DataSpec::default()
        })
    }
}
