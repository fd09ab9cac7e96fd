//! What a configuration says of a user's data set: `{file: faq.jsonl, prompt: "{{ question }}\n", completion: "{{ answer }}"}`.

use std::fmt;
use std::path::Path;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

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

/// A data set. Values of `prompt`, `completion`, `answer`, `choices`, `text`, `pair` and `label` are templates over the columns,
/// or the name of a column.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSpec {
    /// Its name in records and tables; that of the file if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A file or a folder of files. Relative to the working directory, then to
    /// `REFT_DATA`.
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
}

impl DataSpec {
    /// Its name: letters, digits, `.`, `-` and `_`, since files are called by it.
    pub fn name(&self) -> String {
        let stem = || Path::new(&self.file).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = self.name.clone().unwrap_or_else(stem);
        let plain: String =
            name.chars().map(|c| if c.is_alphanumeric() || ".-_".contains(c) { c } else { '_' }).collect();
        if plain.is_empty() { "data".to_owned() } else { plain }
    }
}
