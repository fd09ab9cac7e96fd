//! What a task is to the rest of the program: its description, its rows, what the model is shown, and when it is right.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::description::{Description, guessing_rate};
use super::labelled::LabelledTask;
use crate::data::error::DataError;
use crate::data::own::set::OwnSet;
use crate::data::own::spec::DataSpec;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::Split;
use crate::score::metric::Metric;
use crate::score::scoring::Scoring;
use crate::score::verdict::ExpectedAnswer;
use crate::studies::MeasureSpec;

/// Which rows stand behind a task's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataKind {
    /// Made by this project's own code, in the real set's answer format. Its scores are not those of the real set.
    Embedded,
    /// The public data set.
    Real,
}

impl fmt::Display for DataKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Real => "real",
        })
    }
}

/// A task. What follows from its score (which answer is found in a text, when it is right, what guessing reaches) is written
/// here once for all tasks.
pub trait Task: Send + Sync + 'static {
    /// The name in configurations and records.
    fn key(&self) -> &'static str;

    /// What it is, for lists, tables and the schema.
    fn description(&self) -> Description;

    /// How answers are scored.
    fn scoring(&self) -> &Scoring;

    /// A row like its rows.
    fn example(&self) -> Row;

    /// The splits that have rows, of `train`, `dev` and `test`; none of a kind that the task does not have.
    fn splits(&self, kind: DataKind) -> Vec<&'static str>;

    /// The rows of a split, in a fixed order.
    ///
    /// # Errors
    /// When the data is not to be had.
    fn rows(&self, kind: DataKind, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError>;

    /// What the model is given.
    fn prompt(&self, row: &Row) -> String;

    /// What it learns to say, without the end token.
    fn completion(&self, row: &Row) -> String;

    /// Its column in tables, ours and printed ones.
    fn column(&self) -> &'static str {
        self.description().column
    }

    /// The answer inside what it said.
    fn extract(&self, said: &str) -> String {
        self.scoring().extract(said)
    }

    /// Whether an answer that is not empty agrees with the right one.
    fn agrees(&self, row: &Row, answer: &str) -> bool {
        self.scoring().agrees(answer, &row.answer)
    }

    /// Whether an extracted answer is right. Where nothing was found in what the model said it is wrong, whatever the right
    /// answer is.
    fn correct(&self, row: &Row, answer: &str) -> bool {
        !answer.trim().is_empty() && self.agrees(row, answer)
    }

    /// What a right answer must say, where that alone makes it right; none where answers are judged otherwise.
    fn sought<'a>(&'a self, row: &'a Row) -> Option<ExpectedAnswer<'a>> {
        match self.scoring() {
            Scoring::After(trigger) => Some(ExpectedAnswer { trigger, answer: row.answer.trim() }),
            _ => None,
        }
    }

    /// What it is measured by.
    fn metric(&self) -> Metric {
        self.scoring().metric()
    }

    /// Whether answers are judged by an annotator (`reft judge`) instead of compared with the right one.
    fn judged(&self) -> bool {
        *self.scoring() == Scoring::Judge
    }

    /// What blind guessing reaches, as [`Task::metric`] measures it (from 0 to 1): answers drawn at random, all options alike,
    /// whatever the row says. None where there is nothing to draw from.
    fn guessing_rate(&self) -> Option<f64> {
        guessing_rate(self.description().form, self.scoring())
    }

    /// Whether its rows name the answers to choose from ([`crate::data::options`]).
    fn has_options(&self) -> bool {
        false
    }

    /// The task with its labels; none where rows have free answers.
    fn labelled(&self) -> Option<&dyn LabelledTask> {
        None
    }

    /// The task as a configuration describes a data set, over the columns of its files; none where no description says it.
    fn as_data(&self) -> Option<DataSpec> {
        None
    }

    /// What a study measures; none for a task whose rows are answered.
    fn study(&self) -> Option<&MeasureSpec> {
        None
    }

    /// The user's data set behind it; none for a task of a program.
    fn own(&self) -> Option<&OwnSet> {
        None
    }
}
