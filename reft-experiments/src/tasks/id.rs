//! A task as configurations name it.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::own::OwnTask;
use super::study::StudyTask;
use super::{Task, find, registry};
use crate::data::own::spec::DataSpec;
use crate::studies::MeasureSpec;

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
        if let Some(task) = find(text) {
            return Ok(Self(task));
        }
        if let Some(own) = OwnTask::named(text) {
            return own.map(|task| Self(task)).map_err(TaskError::Description);
        }
        let names = OwnTask::names();
        let keys = || registry().keys().iter().copied().chain(names.iter().map(String::as_str));
        Err(TaskError::Unknown {
            given: text.to_owned(),
            suggestion: crate::suggest::did_you_mean(text, keys()),
            known: keys().collect::<Vec<_>>().join(", "),
        })
    }
}

/// A study as a configuration has it.
#[derive(Serialize)]
struct StudyReference<'a> {
    study: &'a MeasureSpec,
}

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0.study(), self.0.own()) {
            (Some(study), _) => StudyReference { study }.serialize(serializer),
            (None, None) => serializer.serialize_str(self.key()),
            (None, Some(set)) => DataSpec { name: Some(set.name.clone()), ..set.spec.clone() }.serialize(serializer),
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
                let mut spec = DataSpec::deserialize(MapAccessDeserializer::new(map))?;
                let Some(study) = spec.study.take() else {
                    return OwnTask::of(spec).map(|task| TaskId(task)).map_err(A::Error::custom);
                };
                if spec != DataSpec::default() {
                    return Err(A::Error::custom("study: it has rows of its own: leave file and all other keys out"));
                }
                let study =
                    MeasureSpec::read(&study).map_err(|error| A::Error::custom(format_args!("study: {error}")))?;
                Ok(TaskId(StudyTask::of(study)))
            }
        }
        deserializer.deserialize_any(TaskIdVisitor)
    }
}

impl JsonSchema for TaskId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Task".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let task = |task: &dyn Task| {
            let said = task.description();
            json!({ "const": task.key(), "title": said.title, "description": said.about })
        };
        let tasks: Vec<Value> = registry().entries().iter().map(|entry| task(entry.task())).collect();
        json_schema!({
            "description": "A task by its name, a data set by that of its file in configs/data, a data set's description, or what a study \
                measures.",
            "anyOf": [
                { "oneOf": tasks },
                { "type": "object", "properties": { "study": generator.subschema_for::<MeasureSpec>() }, "required": ["study"] },
                { "type": ["string", "object"] }
            ]
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
        let written = |id: &Self| serde_json::to_string(id).expect("plain data");
        let described = |id: &Self| (id.0.own().is_some() || id.0.study().is_some()).then(|| written(id));
        self.key().cmp(other.key()).then_with(|| described(self).cmp(&described(other)))
    }
}
