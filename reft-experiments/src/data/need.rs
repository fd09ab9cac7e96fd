//! Which fields of a row are required beside its question, by the use that is made of it.

use std::fmt;

use crate::score::answers;

/// What is needed of every row of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// The question alone: answers are judged by another model, or not at all.
    Question,
    /// `output`, which the model learns to say.
    Output,
    /// `answer`, which is compared with what the model said, or learnt.
    Answer(AnswerNeed),
}

/// What an answer must contain so that anything can equal it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerNeed {
    /// Any text.
    Text,
    /// A number.
    Number,
    /// A number after `####`, as GSM8K ends its solutions.
    FinalNumber,
    /// One of the letters A to E.
    Letter,
}

impl Need {
    /// The key that must have a value.
    pub fn key(self) -> Option<&'static str> {
        match self {
            Self::Question => None,
            Self::Output => Some("output"),
            Self::Answer(_) => Some("answer"),
        }
    }

    /// What a value under this key lacks; none when it will do.
    pub fn lacks(self, value: &str) -> Option<AnswerNeed> {
        match self {
            Self::Answer(form) if !form.is_in(value) => Some(form),
            Self::Question | Self::Output | Self::Answer(_) => None,
        }
    }
}

impl AnswerNeed {
    fn is_in(self, answer: &str) -> bool {
        match self {
            Self::Text => !answer.trim().is_empty(),
            Self::Number => answers::number(answer).is_some(),
            Self::FinalNumber => answers::number(answers::after(answer, "####")).is_some(),
            Self::Letter => matches!(answer.trim(), "A" | "B" | "C" | "D" | "E"),
        }
    }
}

impl fmt::Display for AnswerNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::FinalNumber => "number after ####",
            Self::Letter => "letter A to E alone",
        })
    }
}
