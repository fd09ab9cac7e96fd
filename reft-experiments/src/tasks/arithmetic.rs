//! Arithmetic with a chain of thought: the last number counts (tables 2, 15, 17; tuning on GSM8K).

use super::instruct::alpaca;
use super::{DataKind, Task};
use crate::data::row::Row;
use crate::data::source::{DataError, Sources};
use crate::data::split::Split;
use crate::score::answers;

/// `math`: MATH10K, prompts in the Alpaca template.
pub struct Math;

/// `gsm8k`: grade-school problems, on whose last 300 training rows the paper tuned.
pub struct Gsm8k;

/// `math`.
pub static MATH: Math = Math;
/// `gsm8k`.
pub static GSM8K: Gsm8k = Gsm8k;

/// Training rows that are the dev set.
const DEV_ROWS: usize = 300;

fn real(task: &'static str, kind: DataKind, split: &Split) -> Result<(), DataError> {
    match kind {
        DataKind::Real => Ok(()),
        DataKind::Embedded => {
            let remedy = "it has no embedded rows; set data.source: real";
            Err(DataError::NoRows { task, split: split.name(), remedy })
        }
    }
}

/// Right when the numbers are equal; a missing number is wrong.
fn same_number(said: &str, expected: &str) -> bool {
    match (answers::number(said), answers::number(expected)) {
        (Some(said), Some(expected)) => (said - expected).abs() <= 1e-3,
        _ => false,
    }
}

impl Task for Math {
    fn key(&self) -> &'static str {
        "math"
    }

    fn rows(&self, kind: DataKind, split: &Split, sources: &Sources) -> Result<Vec<Row>, DataError> {
        real(self.key(), kind, split)?;
        match split {
            Split::Train => sources.rows("ft-training_set/math_10k.json"),
            Split::TrainWithoutDev | Split::Dev | Split::Test(_) => {
                let remedy = "it is a training set only; evaluate on gsm8k";
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

    fn correct(&self, row: &Row, answer: &str) -> bool {
        same_number(answer, &row.answer)
    }
}

impl Task for Gsm8k {
    fn key(&self) -> &'static str {
        "gsm8k"
    }

    fn rows(&self, kind: DataKind, split: &Split, sources: &Sources) -> Result<Vec<Row>, DataError> {
        real(self.key(), kind, split)?;
        let train = || sources.rows("grade_school_math/train.jsonl");
        match split {
            Split::Train => train(),
            Split::TrainWithoutDev => train().map(|mut rows| {
                rows.truncate(rows.len().saturating_sub(DEV_ROWS));
                rows
            }),
            Split::Dev => train().map(|mut rows| rows.split_off(rows.len().saturating_sub(DEV_ROWS))),
            Split::Test(_) => sources.rows("grade_school_math/test.jsonl"),
        }
    }

    fn prompt(&self, row: &Row) -> String {
        let question = &row.instruction;
        format!("{question}\nAnswer the above question. First think step by step and then answer the final number.\n")
    }

    fn completion(&self, row: &Row) -> String {
        row.answer.replace("####", "The final answer is: ")
    }

    fn extract(&self, said: &str) -> String {
        said.trim().to_owned()
    }

    fn correct(&self, row: &Row, answer: &str) -> bool {
        same_number(answer, answers::after(&row.answer, "####"))
    }
}
