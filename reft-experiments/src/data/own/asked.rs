//! Rows that are asked and not learned from: their answers and labels may be missing.

use std::path::Path;

use serde_json::{Value, json};

use super::cell_row::CellRow;
use super::cells;
use super::column_template::unknown_column;
use super::fault::OwnDataError;
use super::folder_rows;
use super::rows::{RowParts, conversation, filled};
use super::set::OwnSet;
use super::turns;
use crate::data::row::Row;

/// A row to be answered.
#[derive(Clone, PartialEq, Debug)]
pub struct AskedRow {
    /// What is asked, and what would be right where that is known.
    pub row: Row,
    /// Whether it is.
    pub answered: bool,
}

impl OwnSet {
    /// The rows of a file, or of all files of a folder, for this data set's templates. The columns of these `named` keys must be
    /// there; those of other keys that say what is right may be missing.
    ///
    /// # Errors
    /// When it cannot be read, lacks a column of what is asked, a row lacks a cell of it, or what would be right is given and
    /// cannot be.
    pub fn asked(&self, path: &Path, named: &[&str]) -> Result<Vec<AskedRow>, OwnDataError> {
        let read = folder_rows(path)?;
        let columns = cells::columns(&read);
        for (key, template) in self.parts.templates() {
            if ANSWERS.contains(&key) && !named.contains(&key) {
                continue;
            }
            if let Some(what) = unknown_column(key, template, &columns) {
                return Err(OwnDataError::file(path, what));
            }
        }
        read.iter().map(|cells| self.asked_row(cells)).collect()
    }

    fn asked_row(&self, cells: &CellRow) -> Result<AskedRow, OwnDataError> {
        let row = self.parts.asked(cells)?;
        let known = self.parts.row(cells).and_then(|row| self.check(cells, &row).map(|()| row));
        let known = if self.parts.is_answered(cells) { Some(known?) } else { None };
        let (answered, place) = (known.is_some(), cells.name());
        Ok(AskedRow { row: Row { place, ..known.unwrap_or(row) }, answered })
    }
}

/// Keys that say what is right.
const ANSWERS: [&str; 3] = ["completion", "answer", "label"];

impl RowParts {
    /// Whether a row has what would be right: none of its cells is missing or blank, and a conversation ends with the
    /// assistant's turn.
    fn is_answered(&self, row: &CellRow) -> bool {
        if let Self::Conversation(messages) = self {
            let turns = turns::written(row, messages).ok().flatten().unwrap_or_default();
            return turns.last().is_some_and(turns::is_assistants);
        }
        let is_there = |name: &String| row.cells.get(name).is_some_and(|cell| !cells::text(cell).trim().is_empty());
        let mut answers = self.templates().into_iter().filter(|(key, _)| ANSWERS.contains(key));
        answers.all(|(_, template)| template.columns().iter().all(is_there))
    }

    /// A row without its answer.
    ///
    /// # Errors
    /// When a cell of what is asked is missing or empty, or is not as it should be.
    fn asked(&self, row: &CellRow) -> Result<Row, OwnDataError> {
        match self {
            Self::Completion { prompt, choices, between, .. } => {
                let instruction = filled(row, "prompt", prompt)?;
                let choices = choices.as_ref().map_or(Ok(Vec::new()), |choices| choices.of(row))?;
                // The first stands for the right one, which shows what stands between prompt and choices.
                let answer = choices.first().cloned().unwrap_or_default();
                let output = if choices.is_empty() { String::new() } else { format!("{between}{answer}") };
                let choices = choices.iter().map(|choice| format!("{between}{choice}")).collect();
                Ok(Row { instruction, output, answer, choices, ..Row::default() })
            }
            Self::Conversation(messages) => {
                let Some(mut turns) = turns::written(row, messages)? else { return conversation(row, messages) };
                // A turn that is to be said.
                if turns.last().is_some_and(|turn| !turns::is_assistants(turn)) {
                    turns.push(json!({"role": "assistant", "content": "…"}));
                }
                let asked = CellRow {
                    cells: messages.columns().iter().map(|name| (name.clone(), Value::Array(turns.clone()))).collect(),
                    ..row.clone()
                };
                let row = conversation(&asked, messages)?;
                Ok(Row { output: String::new(), answer: String::new(), ..row })
            }
            Self::Labelled { text, pair, .. } => {
                let instruction = filled(row, "text", text)?;
                let input = pair.as_ref().map_or(Ok(String::new()), |pair| filled(row, "pair", pair))?;
                Ok(Row { instruction, input, ..Row::default() })
            }
        }
    }
}
