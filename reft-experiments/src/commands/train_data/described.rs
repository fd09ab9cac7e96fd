//! The description of a data set that the flags of `reft train --data` stand for.

use anyhow::{Result, anyhow, bail};
use reft_core::value_reader;
use serde_json::{Map, Value, json};

use super::{DataArgs, yaml_value};
use crate::commands::unescaped;
use crate::data::own;
use crate::data::own::column_template::ColumnTemplate;
use crate::data::own::portion::Splits;
use crate::data::source::DataSources;
use crate::score::scoring::Scoring;

/// Pairs of columns that are taken for prompt and completion.
const CUSTOMARY: [(&str, &str); 5] = [
    ("prompt", "completion"),
    ("question", "answer"),
    ("instruction", "output"),
    ("input", "output"),
    ("prompt", "response"),
];

/// Columns that are taken for conversations.
const CONVERSATIONS: [&str; 3] = ["messages", "conversations", "conversation"];

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
        set.extend(self.described()?);
        if !is_complete(&set) {
            let columns = own::columns(data, sources)?;
            let guessed = customary(data, &columns, &set)?;
            say(&guessed);
            set.extend(guessed.into_iter().map(|guess| (guess.key.to_owned(), Value::String(guess.template))));
            if is_complete(&set) {
                say_unused(&columns, &set);
            }
        }
        Ok(Value::Object(set))
    }

    /// Refuses flags that say how rows are used, where a description of the data has said it.
    pub(super) fn check_named(&self, name: &str) -> Result<()> {
        match self.described()?.keys().next() {
            None => Ok(()),
            Some(key) => bail!(
                "--{key}: configs/data/{name}.yaml says how the rows of `{name}` are used: leave the flag out, change a copy of that \
                 file, or give --data the rows' own file"
            ),
        }
    }

    /// What the flags say of how rows are used, by the keys of a description.
    pub(super) fn described(&self) -> Result<Map<String, Value>> {
        let mut set = Map::new();
        let flags = [
            ("prompt", &self.prompt),
            ("completion", &self.completion),
            ("messages", &self.messages),
            ("answer", &self.answer),
            ("text", &self.text),
            ("pair", &self.pair),
            ("label", &self.label),
            ("turns", &self.turns),
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
            let classes: Vec<&str> = self.classes.iter().map(|class| class.trim()).collect();
            set.insert("classes".to_owned(), json!(classes));
        }
        if !self.split.is_empty() {
            let splits = self.split.iter().map(|text| match text.split_once('=') {
                Some((split, rows)) if !rows.trim().is_empty() => Ok((split.trim().to_owned(), yaml_value(rows))),
                Some(_) | None => {
                    bail!("--split {text}: write which split has how many rows, such as dev=0.1 or test=200")
                }
            });
            let splits: Vec<(String, Value)> = splits.collect::<Result<_>>()?;
            let given = self.split.join(",");
            let twice =
                splits.iter().enumerate().find(|(at, (name, _))| splits[..*at].iter().any(|(other, _)| other == name));
            if let Some((_, (name, _))) = twice {
                bail!("--split {given}: {name} stands there twice");
            }
            let splits = Value::Object(splits.into_iter().collect());
            value_reader::read::<Splits>(&splits).map_err(|error| anyhow!("--split {given}: {error}"))?;
            set.insert("split".to_owned(), splits);
        }
        if let Some(score) = &self.score {
            let written = yaml_value(score);
            value_reader::read::<Scoring>(&written).map_err(|error| anyhow!("--score {score}: {error}"))?;
            set.insert("score".to_owned(), written);
        }
        Ok(set)
    }
}

/// Whether a description says what is read and what is learned.
fn is_complete(set: &Map<String, Value>) -> bool {
    let said = |key: &str| set.contains_key(key);
    let second = if said("choices") { "answer" } else { "completion" };
    said("messages") || said("text") || (said("prompt") && said(second))
}

/// Columns that are taken for what a key of a description names.
struct GuessedColumn {
    key: &'static str,
    /// What the description says: a column, or a template.
    template: String,
}

impl GuessedColumn {
    /// The column as it is.
    fn plain(key: &'static str, column: &str) -> Self {
        Self { key, template: column.to_owned() }
    }

    /// The column as a template, with what stands behind it.
    fn before(key: &'static str, column: &str, behind: &str) -> Self {
        Self { key, template: format!("{{{{ {column} }}}}{behind}") }
    }

    /// An instruction and the input that it is about, where a row has one, as files of Alpaca's form have them.
    fn with_input(key: &'static str, column: &str) -> Self {
        Self { key, template: format!("{{{{ {column} }}}}{{% if {INPUT} %}}\n\n{{{{ {INPUT} }}}}{{% endif %}}\n") }
    }
}

/// The column that stands beside an instruction.
const INPUT: &str = "input";

/// Says what is taken for what.
fn say(guessed: &[GuessedColumn]) {
    let keys: Vec<_> = guessed.iter().map(|guess| format!("{}: {:?}", guess.key, guess.template)).collect();
    if !keys.is_empty() {
        eprintln!("{} (by the customary names of columns)", keys.join("; "));
    }
}

/// Names the columns that no key of a description reads.
fn say_unused(columns: &[String], set: &Map<String, Value>) {
    let texts =
        set.values().flat_map(|value| value.as_array().map_or_else(|| vec![value], |list| list.iter().collect()));
    let templates: Vec<ColumnTemplate> =
        texts.filter_map(Value::as_str).filter_map(|text| ColumnTemplate::parse(text).ok()).collect();
    let reads = |column: &str, template: &ColumnTemplate| template.columns().iter().any(|named| named == column);
    let unused = columns.iter().filter(|column| !templates.iter().any(|template| reads(column, template)));
    let unused: Vec<&str> = unused.map(String::as_str).collect();
    if !unused.is_empty() {
        eprintln!("not read: {} (--prompt '{{{{ .. }}}}' names what is)", unused.join(", "));
    }
}

/// What is taken for prompt and completion (of choices, for the right one), or for texts and label, where it is not given.
fn customary(data: &str, columns: &[String], given: &Map<String, Value>) -> Result<Vec<GuessedColumn>> {
    let has = |name: &str| columns.iter().any(|column| column == name);
    let said = |key: &str| given.contains_key(key);
    if let Some(column) = CONVERSATIONS.into_iter().find(|name| has(name) && !said("prompt")) {
        return Ok(vec![GuessedColumn::plain("messages", column)]);
    }
    let mut guessed = Vec::new();
    let fits = |(prompt, completion): &&(&str, &str)| (said("prompt") || has(prompt)) && has(completion);
    if let Some((prompt, completion)) = CUSTOMARY.iter().find(fits) {
        guessed.push(if *prompt == "instruction" && has(INPUT) {
            GuessedColumn::with_input("prompt", prompt)
        } else {
            GuessedColumn::before("prompt", prompt, "\n")
        });
        guessed.push(if said("choices") {
            GuessedColumn::plain("answer", completion)
        } else {
            GuessedColumn::before("completion", completion, "")
        });
    } else if said("prompt") {
        // What is missing beside it is said where the description is read.
    } else if let Some((text, pair, label)) =
        LABELLED.iter().find(|(text, pair, label)| has(text) && pair.is_none_or(has) && has(label))
    {
        guessed.push(GuessedColumn::plain("text", text));
        guessed.extend(pair.map(|pair| GuessedColumn::plain("pair", pair)));
        guessed.push(GuessedColumn::plain("label", label));
    } else {
        bail!(
            "{data}: none of its columns ({}) are customary names for prompt and completion, or for text and label: give \
             --prompt and --completion, or --messages, or --text and --label",
            columns.join(", ")
        );
    }
    guessed.retain(|guess| !given.contains_key(guess.key));
    Ok(guessed)
}
