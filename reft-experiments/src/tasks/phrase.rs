//! Texts made of a row's columns: a template that cannot fail, and that can be written as the Jinja of a data set's description.

use std::fmt;

use crate::data::row::Row;

/// A part of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PhrasePiece {
    /// Itself.
    Text(&'static str),
    /// The row's instruction.
    Instruction,
    /// The row's further text.
    Input,
    /// The row's completion.
    Output,
    /// The row's answer.
    Answer,
    /// The row's answer with every occurrence of a text replaced by another.
    AnswerWith(&'static str, &'static str),
    /// These, for rows that have a further text.
    IfInput(&'static [PhrasePiece]),
}

/// Parts, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Phrase(pub &'static [PhrasePiece]);

impl Phrase {
    /// The text of a row.
    pub fn of(self, row: &Row) -> String {
        let piece = |piece: &PhrasePiece| match piece {
            PhrasePiece::Text(text) => (*text).to_owned(),
            PhrasePiece::Instruction => row.instruction.clone(),
            PhrasePiece::Input => row.input.clone(),
            PhrasePiece::Output => row.output.clone(),
            PhrasePiece::Answer => row.answer.clone(),
            PhrasePiece::AnswerWith(from, to) => row.answer.replace(from, to),
            PhrasePiece::IfInput(_) if row.input.is_empty() => String::new(),
            PhrasePiece::IfInput(pieces) => Self(pieces).of(row),
        };
        self.0.iter().map(piece).collect()
    }
}

/// As Jinja over the columns `instruction`, `input`, `output` and `answer`.
impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            PhrasePiece::Text(text) => f.write_str(text),
            PhrasePiece::Instruction => f.write_str("{{ instruction }}"),
            PhrasePiece::Input => f.write_str("{{ input }}"),
            PhrasePiece::Output => f.write_str("{{ output }}"),
            PhrasePiece::Answer => f.write_str("{{ answer }}"),
            PhrasePiece::AnswerWith(from, to) => write!(f, "{{{{ answer.replace('{from}', '{to}') }}}}"),
            PhrasePiece::IfInput(pieces) => write!(f, "{{% if input %}}{}{{% endif %}}", Self(pieces)),
        })
    }
}
