//! What a configuration says of a user's data set: `{file: faq.jsonl, prompt: "{{ question }}\n", completion: "{{ answer }}"}`.

use std::fmt;
use std::path::Path;

use reft_models::hub::is_dataset_id;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::cells::Format;
use super::portion::Splits;
use crate::score::scoring::Scoring;

/// Which of the assistant's turns of a conversation are trained on. Each is an example of its own, whose prompt is all that
/// precedes it: positions are those of that prompt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainedTurns {
    /// The last one.
    #[default]
    Last,
    /// All of them.
    All,
}

/// What there is to choose from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum ChoiceTexts {
    /// A column that holds a list.
    Column(String),
    /// A template for each choice.
    Each(Vec<String>),
}

impl<'de> Deserialize<'de> for ChoiceTexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ChoiceTextsVisitor;
        impl<'de> Visitor<'de> for ChoiceTextsVisitor {
            type Value = ChoiceTexts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column that holds a list, or a list of templates")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ChoiceTexts, E> {
                Ok(ChoiceTexts::Column(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ChoiceTexts, A::Error> {
                let mut each = Vec::new();
                while let Some(text) = list.next_element()? {
                    each.push(text);
                }
                Ok(ChoiceTexts::Each(each))
            }
        }
        deserializer.deserialize_any(ChoiceTextsVisitor)
    }
}

/// The name of a class. Numbers and truth values stand for their texts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct ClassName(pub String);

impl<'de> Deserialize<'de> for ClassName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ClassNameVisitor;
        impl Visitor<'_> for ClassNameVisitor {
            type Value = ClassName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a class")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<ClassName, E> {
                Ok(ClassName(name.to_owned()))
            }

            fn visit_bool<E: Error>(self, name: bool) -> Result<ClassName, E> {
                Ok(ClassName(name.to_string()))
            }

            fn visit_i64<E: Error>(self, name: i64) -> Result<ClassName, E> {
                Ok(ClassName(name.to_string()))
            }

            fn visit_u64<E: Error>(self, name: u64) -> Result<ClassName, E> {
                Ok(ClassName(name.to_string()))
            }

            fn visit_f64<E: Error>(self, name: f64) -> Result<ClassName, E> {
                Ok(ClassName(name.to_string()))
            }
        }
        deserializer.deserialize_any(ClassNameVisitor)
    }
}

/// A data set. Values of `prompt`, `completion`, `answer`, `choices`, `text`, `pair` and `label` are templates over the columns,
/// or the name of a column.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSpec {
    /// Its name in records and tables; that of the file if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A file or a folder of files, relative to the working directory, then to `REFT_DATA`; or the id of a data set of the
    /// hub: `org/name`, `org/name/subset`, with `@revision` where one is meant.
    pub file: String,
    /// What the model is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// What it learns to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
    /// The column of a conversation, instead of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// Which turns of it are trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<TrainedTurns>,
    /// What an encoder reads, instead of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The second of two texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// What an encoder says of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The classes, in the order of the head's outputs; those of the training rows if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<ClassName>>,
    /// What there is to choose from; the completion is then the right choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choices: Option<ChoiceTexts>,
    /// What stands between prompt and choice: a space if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between: Option<String>,
    /// The right answer: the completion if it is left out; of choices the text, the number from 0, or the letter of the right one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// How answers are scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<Scoring>,
    /// Which rows are held out.
    pub split: Splits,
    /// A study of the paper's instead of a data set, as [`TaskId`](crate::tasks::TaskId) reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub study: Option<serde_json::Value>,
}

impl DataSpec {
    /// Its name: letters, digits, `.`, `-` and `_`, since files are called by it.
    pub fn name(&self) -> String {
        let stem = || {
            let path = Path::new(&self.file);
            let named = if Format::of(path).is_some() { path.file_stem() } else { path.file_name() };
            let named = named.unwrap_or_default().to_string_lossy().into_owned();
            // Of an id of the hub without its revision.
            if is_dataset_id(&self.file) { named.split('@').next().unwrap_or_default().to_owned() } else { named }
        };
        let name = self.name.clone().unwrap_or_else(stem);
        let plain: String =
            name.chars().map(|c| if c.is_alphanumeric() || ".-_".contains(c) { c } else { '_' }).collect();
        if plain.is_empty() { "data".to_owned() } else { plain }
    }
}
