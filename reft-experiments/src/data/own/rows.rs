//! From cells to rows: texts, answers, choices, conversations.

use serde_json::Value;

use super::cell_row::CellRow;
use super::cells;
use super::choices::{self, Choices};
use super::column_template::ColumnTemplate;
use super::fault::OwnDataError;
use crate::data::row::Row;

/// What the rows of a data set are made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RowParts {
    /// A prompt and what follows it.
    Completion {
        /// The prompt.
        prompt: ColumnTemplate,
        /// What is learned; of choices the right one, if it is left out.
        completion: Option<ColumnTemplate>,
        /// What there is to choose from.
        choices: Option<Choices>,
        /// What stands between prompt and choice.
        between: String,
        /// The right answer.
        answer: Option<ColumnTemplate>,
    },
    /// A conversation in the usual format.
    Conversation(ColumnTemplate),
    /// A text, perhaps a second one, and a label.
    Labelled {
        /// The text.
        text: ColumnTemplate,
        /// The second text.
        pair: Option<ColumnTemplate>,
        /// The label.
        label: ColumnTemplate,
    },
}

impl RowParts {
    /// The templates with the keys that they are given by.
    pub fn templates(&self) -> Vec<(&'static str, &ColumnTemplate)> {
        match self {
            Self::Completion { prompt, completion, choices, answer, .. } => {
                let choices = choices.iter().flat_map(Choices::templates).map(|template| ("choices", template));
                let completion = completion.iter().map(|template| ("completion", template));
                let answer = answer.iter().map(|template| ("answer", template));
                [("prompt", prompt)].into_iter().chain(completion).chain(choices).chain(answer).collect()
            }
            Self::Conversation(messages) => vec![("messages", messages)],
            Self::Labelled { text, pair, label } => {
                let pair = pair.iter().map(|template| ("pair", template));
                [("text", text), ("label", label)].into_iter().chain(pair).collect()
            }
        }
    }

    /// A row.
    ///
    /// # Errors
    /// When a cell is missing or empty, or is not as it should be.
    pub fn row(&self, row: &CellRow) -> Result<Row, OwnDataError> {
        match self {
            Self::Completion { prompt, completion, choices, between, answer } => {
                let instruction = filled(row, "prompt", prompt)?;
                match choices {
                    None => {
                        let completion = completion.as_ref().unwrap_or(prompt);
                        let output = filled(row, "completion", completion)?;
                        let answer =
                            answer.as_ref().map_or(Ok(output.clone()), |answer| filled(row, "answer", answer))?;
                        Ok(Row { instruction, output, answer, ..Row::default() })
                    }
                    Some(choices) => {
                        let choices = choices.of(row)?;
                        let given = answer.as_ref().or(completion.as_ref()).unwrap_or(prompt);
                        let given = match given.value(row)? {
                            Some(value) => value,
                            None => filled(row, "answer", given)?.into(),
                        };
                        let right = choices::right(row, &choices, &given)?;
                        let answer = choices[right].clone();
                        let output = match completion {
                            Some(completion) => filled(row, "completion", completion)?,
                            None => format!("{between}{answer}"),
                        };
                        let choices = choices.iter().map(|choice| format!("{between}{choice}")).collect();
                        Ok(Row { instruction, output, answer, choices, right, ..Row::default() })
                    }
                }
            }
            Self::Conversation(messages) => conversation(row, messages),
            Self::Labelled { text, pair, label } => {
                let instruction = filled(row, "text", text)?;
                let input = pair.as_ref().map_or(Ok(String::new()), |pair| filled(row, "pair", pair))?;
                let answer = filled(row, "label", label)?.trim().to_owned();
                Ok(Row { instruction, input, answer, ..Row::default() })
            }
        }
    }
}

/// A text that is not blank.
pub(super) fn filled(row: &CellRow, key: &str, template: &ColumnTemplate) -> Result<String, OwnDataError> {
    let text = template.render(row)?;
    if text.trim().is_empty() {
        return Err(row.fault(format!("the {key} is empty: fill it in, or take the row out")));
    }
    Ok(text)
}

/// A row of a conversation: what is asked and said is the assistant's last turn. Turns that follow are kept: some templates write a last
/// turn without its end.
pub(super) fn conversation(row: &CellRow, messages: &ColumnTemplate) -> Result<Row, OwnDataError> {
    let cell = messages.value(row)?;
    // A table of text holds it as JSON.
    let read: Option<Value> = cell.as_ref().and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok());
    let Some(turns) = read.as_ref().or(cell.as_ref()).and_then(Value::as_array) else {
        return Err(row.fault("messages is no list of turns: write [{\"role\": \"user\", \"content\": \"…\"}, …]"));
    };
    if turns.is_empty() {
        return Err(row.fault("messages is empty: write turns of the user and the assistant, or take the row out"));
    }
    (1..)
        .zip(turns)
        .try_for_each(|(number, turn)| check_turn(turn).map_err(|what| row.fault(format!("turn {number} {what}"))))?;
    let Some(last) = turns.iter().rposition(|turn| turn["role"] == "assistant") else {
        return Err(row.fault("the conversation has no turn of the assistant: add one, or take the row out"));
    };
    if last == 0 {
        return Err(
            row.fault("the conversation begins with the assistant and goes no further: add a turn of the user before")
        );
    }
    let said = content(&turns[last]);
    if said.trim().is_empty() {
        return Err(
            row.fault(format!("turn {}, the assistant's last, is empty: fill it in, or take the row out", last + 1))
        );
    }
    let instruction = match &turns[..last] {
        [only] => content(only),
        several => several
            .iter()
            .map(|turn| format!("{}: {}", cells::text(&turn["role"]), content(turn)))
            .collect::<Vec<_>>()
            .join("\n"),
    };
    let conversation = Value::Array(turns.clone()).to_string();
    Ok(Row { instruction, output: said.clone(), answer: said, conversation, ..Row::default() })
}

/// Who speaks in conversations that chat templates know.
const ROLES: [&str; 7] = ["system", "developer", "user", "assistant", "tool", "function", "ipython"];

/// Whether a turn is one.
///
/// # Errors
/// What is wrong with it, and the remedy.
fn check_turn(turn: &Value) -> Result<(), String> {
    let Some(role) = turn.get("role").and_then(Value::as_str) else {
        return Err("has no role: write {\"role\": \"user\", \"content\": \"…\"}".to_owned());
    };
    if !ROLES.contains(&role) {
        return Err(format!("has the role `{role}`: the roles are {}", ROLES.join(", ")));
    }
    let kind = match turn.get("content") {
        // What calls a function has none.
        None | Some(Value::Null | Value::String(_)) => return Ok(()),
        Some(Value::Array(parts)) if parts.iter().all(Value::is_object) => return Ok(()),
        Some(Value::Array(_)) => "a list of other things than parts",
        Some(Value::Bool(_) | Value::Number(_)) => "a number or truth value",
        Some(Value::Object(_)) => "an object",
    };
    Err(format!(
        "has {kind} as its content: write a text, or a list of parts such as {{\"type\": \"text\", \"text\": \"…\"}}"
    ))
}

/// What a turn says: a text, or the texts among its parts.
fn content(turn: &Value) -> String {
    match turn.get("content") {
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| part.get("text").map(cells::text)).collect(),
        Some(content) => cells::text(content),
        None => String::new(),
    }
}
