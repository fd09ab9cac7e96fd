//! The choices of a row, and which of them is right.

use serde_json::Value;

use super::cell_row::CellRow;
use super::cells;
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

/// The number of the right choice, from 0: its text, its letter (`A` is the first), or its number. A number that the file or the
/// template has as one is never taken for a text.
///
/// # Errors
/// When the answer is none of them.
pub fn right(row: &CellRow, choices: &[String], answer: &Value) -> Result<usize, OwnDataError> {
    let text = cells::text(answer);
    let text = text.trim();
    let by_text = || choices.iter().position(|choice| choice.trim() == text);
    let by_number = || text.parse().ok();
    let by_letter = || match text.as_bytes() {
        [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')),
        _ => None,
    };
    let found = if answer.is_number() { by_number() } else { by_text().or_else(by_number).or_else(by_letter) };
    found.filter(|&at| at < choices.len()).ok_or_else(|| {
        let last = choices.len() - 1;
        row.fault(format!(
            "the answer `{text}` is none of the {} choices: write the text of one, its number from 0 to {last}, or its letter",
            choices.len()
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn an_integer_is_an_index_and_a_string_is_matched_with_the_choices_first() {
        let row = CellRow { file: Path::new("a.csv").into(), place: "row 1".to_owned(), cells: serde_json::Map::new() };
        let choices = ["2", "1", "0"].map(str::to_owned);
        for (answer, expected) in [(json!("2"), 0), (json!(2), 2), (json!("A"), 0), (json!(" 0 "), 2), (json!(0), 0)] {
            assert_eq!(right(&row, &choices, &answer).expect("one of them"), expected, "{answer}");
        }
        for answer in [json!("3"), json!(3), json!("D"), json!(-1), json!(0.5), json!("two")] {
            let error = right(&row, &choices, &answer).expect_err("none of them").to_string();
            assert!(error.contains("is none of the 3 choices") && error.contains("its letter"), "{error}");
        }
    }
}
