//! The description of a data set that the flags of `reft train --data` stand for.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::{DataArgs, yaml_value};
use crate::commands::unescaped;
use crate::data::own;
use crate::data::source::DataSources;

/// Pairs of columns that are taken for prompt and completion.
const CUSTOMARY: [(&str, &str); 5] = [
    ("prompt", "completion"),
    ("question", "answer"),
    ("instruction", "output"),
    ("input", "output"),
    ("prompt", "response"),
];

/// Columns that are taken for an encoder's text, its second text, and the label.
const LABELLED: [(&str, Option<&str>, &str); 6] = [
    ("text", None, "label"),
    ("sentence", None, "label"),
    ("sentence1", Some("sentence2"), "label"),
    ("premise", Some("hypothesis"), "label"),
    ("question1", Some("question2"), "label"),
    ("question", Some("sentence"), "label"),
];

impl DataArgs {
    /// The description of the file by the flags, or by the customary names of its columns.
    pub(super) fn description(&self, data: &str, sources: &DataSources) -> Result<Value> {
        let mut set = Map::from_iter([("file".to_owned(), json!(data))]);
        let flags = [
            ("prompt", &self.prompt),
            ("completion", &self.completion),
            ("messages", &self.messages),
            ("answer", &self.answer),
            ("text", &self.text),
            ("pair", &self.pair),
            ("label", &self.label),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                set.insert(key.to_owned(), json!(unescaped(value)));
            }
        }
        if !self.choices.is_empty() {
            let choices = if let [only] = self.choices.as_slice() { json!(only) } else { json!(self.choices) };
            set.insert("choices".to_owned(), choices);
        }
        if !self.classes.is_empty() {
            set.insert("classes".to_owned(), json!(self.classes));
        }
        if let Some(score) = &self.score {
            set.insert("score".to_owned(), yaml_value(score));
        }
        if self.prompt.is_none() && self.messages.is_none() && self.text.is_none() {
            let columns = own::columns(data, sources)?;
            set.extend(customary(data, &columns, set.contains_key("completion"))?);
        }
        Ok(Value::Object(set))
    }
}

/// What is taken for prompt and completion, or for texts and label.
fn customary(data: &str, columns: &[String], completed: bool) -> Result<Vec<(String, Value)>> {
    let has = |name: &str| columns.iter().any(|column| column == name);
    let keyed = |key: &str, value: String| (key.to_owned(), Value::String(value));
    if has("messages") {
        return Ok(vec![keyed("messages", "messages".to_owned())]);
    }
    if let Some((prompt, completion)) = CUSTOMARY.iter().find(|(prompt, completion)| has(prompt) && has(completion)) {
        let completion = (!completed).then(|| keyed("completion", format!("{{{{ {completion} }}}}")));
        return Ok([keyed("prompt", format!("{{{{ {prompt} }}}}\n"))].into_iter().chain(completion).collect());
    }
    let labelled = |(text, pair, label): &&(&str, Option<&str>, &str)| has(text) && pair.is_none_or(has) && has(label);
    match LABELLED.iter().find(labelled) {
        Some((text, pair, label)) => {
            let pair = pair.map(|pair| keyed("pair", pair.to_owned()));
            Ok([keyed("text", (*text).to_owned()), keyed("label", (*label).to_owned())]
                .into_iter()
                .chain(pair)
                .collect())
        }
        None => bail!(
            "{data}: none of its columns ({}) are customary names for prompt and completion, or for text and label: give \
             --prompt and --completion, or --messages, or --text and --label",
            columns.join(", ")
        ),
    }
}
