//! Arithmetic with a chain of thought: the last number counts, or the first letter (tables 2, 15, 17; tuning on GSM8K).

use std::collections::HashSet;

use super::embedded::{self, Generate};
use super::instruct::alpaca;
use super::{DataKind, Task};
use crate::data::error::DataError;
use crate::data::need::{AnswerNeed, Need};
use crate::data::overlap::normalised;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::Split;
use crate::score::answers;

/// Training rows of GSM8K that are the dev set.
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

/// The last number of a text; empty when there is none.
fn last_number(said: &str) -> String {
    answers::number(said).map_or(String::new(), |number| number.to_string())
}

/// Right when the numbers are equal; a missing number is wrong.
fn same_number(said: &str, expected: &str) -> bool {
    match (answers::number(said), answers::number(expected)) {
        (Some(said), Some(expected)) => (said - expected).abs() <= 1e-3,
        _ => false,
    }
}

/// MATH10K, prompts in the Alpaca template; for training only.
pub struct Math {
    key: &'static str,
    file: &'static str,
}

/// `math`: all of it.
pub static MATH: Math = Math { key: "math", file: "ft-training_set/math_10k.json" };
/// `math_part`: the part of it that pyreft's history holds.
pub static MATH_PART: Math = Math { key: "math_part", file: "ft-training_set/math_10k_part.json" };

impl Task for Math {
    fn key(&self) -> &'static str {
        self.key
    }

    fn rows(&self, kind: DataKind, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        real(self.key, kind, split)?;
        match split {
            Split::Train => sources.rows(self.file, Need::Output),
            Split::TrainWithoutDev => {
                // Questions of GSM8K are among the rows, those of its dev set too.
                let dev = GSM8K.rows(kind, &Split::Dev, sources)?;
                let dev: HashSet<String> = dev.iter().map(|row| normalised(&row.instruction)).collect();
                let mut rows = sources.rows(self.file, Need::Output)?;
                rows.retain(|row| !dev.contains(&normalised(&row.instruction)));
                Ok(rows)
            }
            Split::Dev | Split::Test(_) => {
                let remedy = "it is a training set only; tune on gsm8k, test on aqua, gsm8k_alpaca, mawps and svamp";
                Err(DataError::NoRows { task: self.key, split: split.name(), remedy })
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
        last_number(said)
    }

    fn agrees(&self, row: &Row, answer: &str) -> bool {
        same_number(answer, &row.answer)
    }
}

/// `gsm8k`: grade-school problems with a prompt of their own, on whose last 300 training rows the paper tuned.
pub struct Gsm8k;

/// `gsm8k`.
pub static GSM8K: Gsm8k = Gsm8k;

/// A solution that ends with `####` and the number, for training and for scoring.
const NEED: Need = Need::Answer(AnswerNeed::FinalNumber);

impl Task for Gsm8k {
    fn key(&self) -> &'static str {
        "gsm8k"
    }

    fn rows(&self, kind: DataKind, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        real(self.key(), kind, split)?;
        let train = || sources.rows("grade_school_math/train.jsonl", NEED);
        match split {
            Split::Train => train(),
            Split::TrainWithoutDev => train().map(|mut rows| {
                rows.truncate(rows.len().saturating_sub(DEV_ROWS));
                rows
            }),
            Split::Dev => train().map(|mut rows| rows.split_off(rows.len().saturating_sub(DEV_ROWS))),
            Split::Test(_) => sources.rows("grade_school_math/test.jsonl", NEED),
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
        last_number(said)
    }

    fn agrees(&self, row: &Row, answer: &str) -> bool {
        same_number(answer, answers::after(&row.answer, "####"))
    }
}

/// What an answer is.
enum AnswerForm {
    Number,
    Letter,
}

impl AnswerForm {
    /// What the right answer must contain.
    fn form(&self) -> AnswerNeed {
        match self {
            Self::Number => AnswerNeed::Number,
            Self::Letter => AnswerNeed::Letter,
        }
    }
}

/// A test set of LLM-Adapters, prompts in the Alpaca template as in [`Math`], which is trained on. The `output` of its
/// rows is some model's attempt: `answer` counts.
pub struct Arithmetic {
    key: &'static str,
    column: &'static str,
    /// Its folder in LLM-Adapters.
    folder: &'static str,
    answer: AnswerForm,
    /// Makes rows in its format.
    embedded: Generate,
}

/// `aqua`: multiple choice.
pub static AQUA: Arithmetic = Arithmetic {
    key: "aqua",
    column: "aqua",
    folder: "AQuA",
    answer: AnswerForm::Letter,
    embedded: embedded::arithmetic::aqua,
};
/// `gsm8k_alpaca`: the test problems of GSM8K.
pub static GSM8K_ALPACA: Arithmetic = Arithmetic {
    key: "gsm8k_alpaca",
    column: "gsm8k",
    folder: "gsm8k",
    answer: AnswerForm::Number,
    embedded: embedded::arithmetic::gsm8k,
};
/// `mawps`: problems of one or two steps.
pub static MAWPS: Arithmetic = Arithmetic {
    key: "mawps",
    column: "mawps",
    folder: "mawps",
    answer: AnswerForm::Number,
    embedded: embedded::arithmetic::mawps,
};
/// `svamp`: problems with numbers that do not matter.
pub static SVAMP: Arithmetic = Arithmetic {
    key: "svamp",
    column: "svamp",
    folder: "SVAMP",
    answer: AnswerForm::Number,
    embedded: embedded::arithmetic::svamp,
};

impl Task for Arithmetic {
    fn key(&self) -> &'static str {
        self.key
    }

    fn column(&self) -> &'static str {
        self.column
    }

    fn rows(&self, kind: DataKind, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        match (kind, split) {
            (DataKind::Embedded, split) => Ok(embedded::rows(self.key, self.embedded, split)),
            (DataKind::Real, Split::Test(_)) => {
                sources.rows(&format!("dataset/{}/test.json", self.folder), Need::Answer(self.answer.form()))
            }
            (DataKind::Real, Split::Train | Split::TrainWithoutDev | Split::Dev) => {
                let remedy = "it is a test set only; train on math, math_part or gsm8k, and tune on gsm8k";
                Err(DataError::NoRows { task: self.key, split: split.name(), remedy })
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
        match self.answer {
            AnswerForm::Number => last_number(said),
            AnswerForm::Letter => answers::letter(said).to_owned(),
        }
    }

    fn agrees(&self, row: &Row, answer: &str) -> bool {
        match self.answer {
            AnswerForm::Number => same_number(answer, &row.answer),
            AnswerForm::Letter => answer == row.answer.trim(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::data::split::Selection;

    fn test() -> Split {
        Split::Test(Selection { chosen_by: "a test".to_owned() })
    }

    /// A folder with these files.
    fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, rows) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            std::fs::write(path, rows.to_string()).expect("writable");
        }
        folder
    }

    #[test]
    fn dev_questions_of_gsm8k_leave_the_training_set_however_they_are_written() {
        let known: Vec<Value> =
            (0..310).map(|n| json!({"question": format!("Has Ann {n} eggs?"), "answer": "#### 1"})).collect();
        let asked = ["has ann 9 eggs", "Has Ann 10 eggs?\n ", "has Ann 309, eggs", "Has Ann 310 eggs?"];
        let rows: Vec<Value> =
            asked.iter().map(|text| json!({"instruction": text, "output": "It is 1.", "answer": "1"})).collect();
        let files = [("grade_school_math/train.jsonl", json!(known)), (MATH_PART.file, json!(rows))];
        let folder = folder(&files);
        let sources = DataSources::local(folder.path());
        let rows = |split| MATH_PART.rows(DataKind::Real, &split, &sources).expect("rows");
        let kept: Vec<String> = rows(Split::TrainWithoutDev).into_iter().map(|row| row.instruction).collect();
        assert_eq!(kept, [asked[0], asked[3]]);
        assert_eq!(rows(Split::Train).len(), 4);
        let error = MATH_PART.rows(DataKind::Real, &test(), &sources).expect_err("no test rows").to_string();
        assert!(error.contains("test on aqua, gsm8k_alpaca, mawps and svamp"), "{error}");
    }

    #[test]
    fn test_sets_are_scored_against_the_answer() {
        let row = json!([{"instruction": "q", "input": "", "output": "The answer is 5.", "answer": "12.5"}]);
        let folder = folder(&[("dataset/SVAMP/test.json", row)]);
        let sources = DataSources::local(folder.path());
        let rows = SVAMP.rows(DataKind::Real, &test(), &sources).expect("rows");
        let right = |said: &str| SVAMP.correct(&rows[0], &SVAMP.extract(said));
        assert!(right("5 + 7.5 = 12.5005. The answer is 12.5005.") && right("It is 12.50"));
        assert!(!right("The answer is 5.") && !right("12.502") && !right(""));
        let error = SVAMP.rows(DataKind::Real, &Split::Train, &sources).expect_err("no training rows").to_string();
        assert!(error.contains("train on math, math_part or gsm8k"), "{error}");
    }

    #[test]
    fn the_first_letter_is_the_choice() {
        let row = Row { answer: "B".to_owned(), ..Row::default() };
        let right = |said: &str| AQUA.correct(&row, &AQUA.extract(said));
        assert!(right("2 * 3 = 6. The answer is B.") && right("(B) not C"));
        assert!(!right("The answer is C, not B") && !right("the answer is b"));
    }
}
