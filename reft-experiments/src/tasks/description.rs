//! What lists, tables and the schema say of a task.

use std::fmt;

use crate::score::scoring::Scoring;

/// What an answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerForm {
    /// A text that is not limited.
    Text,
    /// A number.
    Number,
    /// One of so many options (texts, letters, classes).
    OneOf(usize),
    /// One of several options; how many they are differs between rows, or is found in the data.
    OneOfSeveral,
}

impl fmt::Display for AnswerForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a text"),
            Self::Number => f.write_str("a number"),
            Self::OneOf(options) => write!(f, "one of {options}"),
            Self::OneOfSeveral => f.write_str("one of several"),
        }
    }
}

/// What a task is: the same for tasks of this program, tasks that a program registers, and data sets of the user's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Description {
    /// As its authors write it.
    pub title: &'static str,
    /// Its column in tables, ours and printed ones.
    pub column: &'static str,
    /// What the model has to do.
    pub about: &'static str,
    /// Where its rows come from.
    pub origin: &'static str,
    /// What an answer is.
    pub form: AnswerForm,
}

/// What blind guessing reaches where answers have this form: the expected value of the score.
pub(super) fn guessing_rate(form: AnswerForm, scoring: &Scoring) -> Option<f64> {
    match (scoring, form) {
        // Guesses that do not depend on the row are not correlated with anything.
        (Scoring::Matthews | Scoring::Pearson | Scoring::Spearman, _) => Some(0.0),
        (
            Scoring::Exact
            | Scoring::After(_)
            | Scoring::Letter
            | Scoring::Choices
            | Scoring::Accuracy
            | Scoring::F1Micro,
            AnswerForm::OneOf(options),
        ) => Some(1.0 / options.max(1) as f64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_reaches_an_equal_part_of_the_options_and_no_correlation() {
        assert_eq!(guessing_rate(AnswerForm::OneOf(4), &Scoring::Letter), Some(0.25));
        assert_eq!(guessing_rate(AnswerForm::OneOf(2), &Scoring::Matthews), Some(0.0));
        assert_eq!(guessing_rate(AnswerForm::Number, &Scoring::Number), None);
        assert_eq!(guessing_rate(AnswerForm::OneOf(2), &Scoring::F1Macro), None, "it depends on the classes' sizes");
    }
}
