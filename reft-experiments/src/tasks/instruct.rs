//! Instruction following (table 3): trained here, judged elsewhere.

use super::{DataKind, Task};
use crate::data::row::Row;
use crate::data::source::{DataError, Sources};
use crate::data::split::Split;

/// `instruct`: Ultrafeedback in the Alpaca template.
pub struct Instruct;

/// `instruct`.
pub static INSTRUCT: Instruct = Instruct;

/// The Alpaca template, with its second form for rows that have an input.
pub fn alpaca(row: &Row) -> String {
    let (further, input) = if row.input.is_empty() {
        ("", String::new())
    } else {
        (", paired with an input that provides further context", format!("### Input:\n{}\n\n", row.input))
    };
    format!(
        "Below is an instruction that describes a task{further}. Write a response that appropriately completes the \
         request.\n\n### Instruction:\n{}\n\n{input}### Response:\n",
        row.instruction
    )
}

impl Task for Instruct {
    fn key(&self) -> &'static str {
        "instruct"
    }

    fn rows(&self, kind: DataKind, split: &Split, sources: &Sources) -> Result<Vec<Row>, DataError> {
        match (kind, split) {
            (DataKind::Real, Split::Train) => sources.rows("instruct/ultrafeedback_1k.json"),
            (DataKind::Embedded, _) | (_, Split::TrainWithoutDev | Split::Dev | Split::Test(_)) => {
                let remedy = "it is a real training set only; its answers are judged, not scored";
                Err(DataError::NoRows { task: self.key(), split: split.name(), remedy })
            }
        }
    }

    fn prompt(&self, row: &Row) -> String {
        alpaca(row)
    }

    fn completion(&self, row: &Row) -> String {
        row.output.clone()
    }

    fn extract(&self, said: &str) -> String {
        said.trim().to_owned()
    }
}
