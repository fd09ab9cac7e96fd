//! The answers that a row's own answer format allows: `Answer format: answer1/answer2/answer3` at the end of its instruction, as
//! LLM-Adapters writes it.

use crate::data::row::Row;

/// What the format begins with.
const FORMAT: &str = "Answer format: ";

/// What can be answered, and what is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// In the order of the format.
    pub answers: Vec<String>,
    /// The number of the right one, from 0.
    pub right: usize,
}

/// A row that has no options.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionsError {
    /// The instruction names none.
    #[error(
        "the instruction does not end in `Answer format: a/b`: only tasks whose rows say so are scored by likelihood"
    )]
    NoFormat,
    /// The answer is another one.
    #[error("the answer `{answer}` is none of {format}: correct the row")]
    OtherAnswer {
        /// The answer.
        answer: String,
        /// The format.
        format: String,
    },
}

/// The options of a row.
///
/// # Errors
/// When its instruction names no format, or the format lacks its answer.
pub fn of(row: &Row) -> Result<Options, OptionsError> {
    let (_, format) = row.instruction.rsplit_once(FORMAT).ok_or(OptionsError::NoFormat)?;
    let answers: Vec<String> = format.split('/').map(|answer| answer.trim().to_owned()).collect();
    if answers.len() < 2 || answers.iter().any(|answer| answer.is_empty() || answer.contains(char::is_whitespace)) {
        return Err(OptionsError::NoFormat);
    }
    let answer = row.answer.trim();
    let right = answers
        .iter()
        .position(|option| option == answer)
        .ok_or_else(|| OptionsError::OtherAnswer { answer: answer.to_owned(), format: format.trim().to_owned() })?;
    Ok(Options { answers, right })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(instruction: &str, answer: &str) -> Row {
        Row { instruction: instruction.to_owned(), answer: answer.to_owned(), ..Row::default() }
    }

    #[test]
    fn the_format_names_the_options() {
        let options = of(&row("Is it? Answer format: x\n\nAnswer format: true/false", "false")).expect("a format");
        assert_eq!(options, Options { answers: vec!["true".to_owned(), "false".to_owned()], right: 1 });
    }

    #[test]
    fn a_row_without_options_or_with_another_answer_is_refused() {
        assert_eq!(of(&row("What is 2 + 2?", "4")), Err(OptionsError::NoFormat));
        assert_eq!(of(&row("Which?\n\nAnswer format: answer1 or answer2", "answer1")), Err(OptionsError::NoFormat));
        let error = of(&row("Which?\n\nAnswer format: answer1/answer2", "answer3")).expect_err("no option");
        assert_eq!(error.to_string(), "the answer `answer3` is none of answer1/answer2: correct the row");
    }
}
