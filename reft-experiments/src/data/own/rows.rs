//! From cells to rows: texts, answers, choices, conversations.

use serde_json::Value;

use super::cell_row::CellRow;
use super::cells;
use super::choices::{self, Choices};
use super::column_template::ColumnTemplate;
use super::fault::OwnDataError;
use super::turns::{self, content};
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
    let Some(turns) = turns::written(row, messages)? else {
        return Err(row.fault("messages is no list of turns: write [{\"role\": \"user\", \"content\": \"…\"}, …]"));
    };
    if turns.is_empty() {
        return Err(row.fault("messages is empty: write turns of the user and the assistant, or take the row out"));
    }
    let usual = |(number, turn)| turns::usual(turn).map_err(|what| row.fault(format!("turn {number} {what}")));
    let turns: Vec<Value> = (1..).zip(&turns).map(usual).collect::<Result<_, _>>()?;
    let Some(last) = turns.iter().rposition(turns::is_assistants) else {
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
    let conversation = Value::Array(turns).to_string();
    Ok(Row { instruction, output: said.clone(), answer: said, conversation, ..Row::default() })
}
