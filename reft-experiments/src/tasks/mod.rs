//! What a model is trained for and measured on. A new task is a file and a line in [`TASKS`].

pub mod arithmetic;
pub mod commonsense;
pub mod embedded;
pub mod glue;
pub mod instruct;
pub mod labelled;
pub mod own;
pub mod template;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::labelled::LabelledTask;
use self::own::OwnTask;

use crate::data::error::DataError;
use crate::data::own::set::OwnSet;
use crate::data::own::spec::DataSpec;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::Split;
use crate::score::metric::Metric;
use crate::score::verdict::ExpectedAnswer;

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

/// A task: rows, what the model is shown, and when it is right.
pub trait Task: Sync {
    /// The name in configurations and tables.
    fn key(&self) -> &'static str;

    /// Its column in tables, ours and printed ones.
    fn column(&self) -> &'static str {
        self.key()
    }

    /// The rows of a split, in a fixed order.
    ///
    /// # Errors
    /// When the data is not to be had.
    fn rows(&self, kind: DataKind, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError>;

    /// What the model is given.
    fn prompt(&self, row: &Row) -> String;

    /// What it learns to say, without the end token.
    fn completion(&self, row: &Row) -> String;

    /// The answer inside what it said.
    fn extract(&self, said: &str) -> String;

    /// What a right answer must say, where that alone makes it right; none where answers are judged otherwise.
    fn sought<'a>(&self, _row: &'a Row) -> Option<ExpectedAnswer<'a>> {
        None
    }

    /// What it is measured by.
    fn metric(&self) -> Metric {
        Metric::Accuracy
    }

    /// The task with its labels; none where rows have free answers.
    fn labelled(&self) -> Option<&dyn LabelledTask> {
        None
    }

    /// Whether answers are judged by an annotator (`reft judge`) instead of compared with the right one.
    fn judged(&self) -> bool {
        false
    }

    /// The user's data set behind it; none for a task of this program.
    fn own(&self) -> Option<&OwnSet> {
        None
    }

    /// Whether an extracted answer is right. Where nothing was found in what the model said it is wrong, whatever the right
    /// answer is.
    fn correct(&self, row: &Row, answer: &str) -> bool {
        !answer.trim().is_empty() && self.agrees(row, answer)
    }

    /// Whether an answer that is not empty agrees with the right one.
    fn agrees(&self, row: &Row, answer: &str) -> bool {
        answer == row.answer.trim()
    }
}

/// Every task.
pub static TASKS: &[&dyn Task] = &[
    &commonsense::BOOLQ,
    &commonsense::PIQA,
    &commonsense::SIQA,
    &commonsense::HELLASWAG,
    &commonsense::WINOGRANDE,
    &commonsense::ARC_E,
    &commonsense::ARC_C,
    &commonsense::OBQA,
    &commonsense::JOINT,
    &arithmetic::MATH,
    &arithmetic::MATH_PART,
    &arithmetic::GSM8K,
    &arithmetic::AQUA,
    &arithmetic::GSM8K_ALPACA,
    &arithmetic::MAWPS,
    &arithmetic::SVAMP,
    &instruct::INSTRUCT,
    &instruct::ULTRAFEEDBACK,
    &instruct::ALPACA_2K,
    &glue::COLA,
    &glue::SST2,
    &glue::MRPC,
    &glue::QQP,
    &glue::STSB,
    &glue::MNLI,
    &glue::QNLI,
    &glue::RTE,
    &glue::WNLI,
];

/// A task by its name, or by the description of a data set.
#[derive(Clone, Copy)]
pub struct TaskId(&'static dyn Task);

/// A name that no task has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TaskError {
    /// No task and no file.
    #[error(
        "task `{given}` is unknown{suggestion}: there is {known}; a data set of your own is described in configs/data/{given}.yaml"
    )]
    Unknown {
        /// The name.
        given: String,
        /// The nearest one.
        suggestion: String,
        /// All of them.
        known: String,
    },
    /// A description that cannot be used.
    #[error("{0}")]
    Description(String),
}

impl TaskId {
    /// The task itself.
    pub fn task(self) -> &'static dyn Task {
        self.0
    }

    /// The name in configurations.
    pub fn key(self) -> &'static str {
        self.0.key()
    }

    /// The column in tables.
    pub fn column(self) -> &'static str {
        self.0.column()
    }
}

impl FromStr for TaskId {
    type Err = TaskError;

    fn from_str(text: &str) -> Result<Self, TaskError> {
        if let Some(&task) = TASKS.iter().find(|task| task.key() == text) {
            return Ok(Self(task));
        }
        if let Some(own) = OwnTask::named(text) {
            return own.map(|task| Self(task)).map_err(TaskError::Description);
        }
        let names = OwnTask::names();
        let keys = || TASKS.iter().map(|task| task.key()).chain(names.iter().map(String::as_str));
        Err(TaskError::Unknown {
            given: text.to_owned(),
            suggestion: crate::suggest::did_you_mean(text, keys()),
            known: keys().collect::<Vec<_>>().join(", "),
        })
    }
}

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.own() {
            None => serializer.serialize_str(self.key()),
            Some(set) => DataSpec { name: Some(set.name.clone()), ..set.spec.clone() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TaskIdVisitor;
        impl<'de> Visitor<'de> for TaskIdVisitor {
            type Value = TaskId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a task's name, or a data set such as {file: faq.jsonl, prompt: .., completion: ..}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TaskId, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TaskId, A::Error> {
                let spec = DataSpec::deserialize(MapAccessDeserializer::new(map))?;
                OwnTask::of(spec).map(|task| TaskId(task)).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(TaskIdVisitor)
    }
}

impl JsonSchema for TaskId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Task".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let keys: Vec<&str> = TASKS.iter().map(|task| task.key()).collect();
        json_schema!({
            "description": "A task by its name, a data set by that of its file in configs/data, or a data set's description.",
            "anyOf": [{ "enum": keys }, { "type": ["string", "object"] }]
        })
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

impl PartialEq for TaskId {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for TaskId {}

impl PartialOrd for TaskId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TaskId {
    fn cmp(&self, other: &Self) -> Ordering {
        let described = |id: &Self| id.0.own().map(|set| serde_json::to_string(&set.spec).expect("plain data"));
        self.key().cmp(other.key()).then_with(|| described(self).cmp(&described(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::labelled::Labels;
    use super::*;

    #[test]
    fn every_task_finds_its_own_gold_answer() {
        for task in TASKS.iter().filter(|task| !task.judged()) {
            let (answer, said) = match task.key() {
                "boolq" => ("true", "true"),
                "aqua" => ("B", "B"),
                "gsm8k" => ("a\n#### 18", "18"),
                key => match task.labelled().map(LabelledTask::labels) {
                    Some(Labels::Classes(names)) => (*names.last().unwrap_or_else(|| panic!("{key} has classes")), ""),
                    Some(Labels::Score(_)) => ("3.8", ""),
                    None => ("18", "18"),
                },
            };
            let output = format!("14 + 9 - 5 = 18. The answer is {said}.");
            let row = Row { answer: answer.to_owned(), output, ..Row::default() };
            assert!(task.correct(&row, &task.extract(&task.completion(&row))), "{}", task.key());
        }
    }

    #[test]
    fn an_unknown_task_is_answered_with_a_suggestion() {
        let error = "acr_e".parse::<TaskId>().expect_err("unknown").to_string();
        assert!(error.contains("did you mean `arc_e`?"), "{error}");
    }
}
