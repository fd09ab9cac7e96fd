//! The choices of a row, and which of them is right.

use serde_json::Value;

use super::cells::{self, CellRow};
use super::column_template::ColumnTemplate;
use super::fault::OwnDataError;

/// What there is to choose from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choices {
    /// A column that holds a list.
    Column(ColumnTemplate),
    /// A template for each.
    Each(Vec<ColumnTemplate>),
}

impl Choices {
    /// The templates.
    pub fn templates(&self) -> &[ColumnTemplate] {
        match self {
            Self::Column(template) => std::slice::from_ref(template),
            Self::Each(templates) => templates,
        }
    }

    /// The choices of a row: at least two, none of them empty.
    ///
    /// # Errors
    /// When there are fewer, or a cell is missing.
    pub fn of(&self, row: &CellRow) -> Result<Vec<String>, OwnDataError> {
        let texts: Vec<String> = match self {
            Self::Each(templates) => templates.iter().map(|template| template.render(row)).collect::<Result<_, _>>()?,
            Self::Column(template) => match template.value(row)? {
                Some(Value::Array(list)) => list.iter().map(cells::text).collect(),
                _ => {
                    return Err(row.fault(
                        "choices is no list: name a column that holds one, or write [\"{{ a }}\", \"{{ b }}\"]",
                    ));
                }
            },
        };
        match texts.iter().position(|text| text.trim().is_empty()) {
            Some(at) => Err(row.fault(format!("choice {at} is empty: fill it in, or take the row out"))),
            None if texts.len() < 2 => {
                Err(row.fault(format!("{} choice is none: give two at least, or take the row out", texts.len())))
            }
            None => Ok(texts),
        }
    }
}

/// The number of the right choice, from 0: its text, its number, or its letter (`A` is the first).
///
/// # Errors
/// When the answer is none of them.
pub fn right(row: &CellRow, choices: &[String], answer: &str) -> Result<usize, OwnDataError> {
    let answer = answer.trim();
    let by_text = choices.iter().position(|choice| choice.trim() == answer);
    let by_number = || answer.parse().ok();
    let by_letter = || match answer.as_bytes() {
        [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')),
        _ => None,
    };
    by_text.or_else(by_number).or_else(by_letter).filter(|&at| at < choices.len()).ok_or_else(|| {
        let last = choices.len() - 1;
        row.fault(format!(
            "the answer `{answer}` is none of the {} choices: write the text of one, its number from 0 to {last}, or its letter",
            choices.len()
        ))
    })
}
