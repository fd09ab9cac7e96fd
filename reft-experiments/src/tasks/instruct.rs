//! Instruction following (table 3): answers are judged by another model, by preference over a reference's.

use super::embedded::{self, Generate};
use super::{DataKind, Task};
use crate::data::error::DataError;
use crate::data::need::Need;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::{Split, hold_out};

/// A set of instructions in the Alpaca template.
pub struct Instructions {
    key: &'static str,
    /// What is trained on.
    file: &'static str,
    /// What is answered, and how such rows are made here; none for a training set only.
    scored: Option<(&'static str, Generate)>,
}

/// `instruct`: the 1K subset of Ultrafeedback, and the 805 prompts of AlpacaEval.
pub static INSTRUCT: Instructions = Instructions {
    key: "instruct",
    file: "instruct/ultrafeedback_1k.json",
    scored: Some(("instruct/alpaca_eval/text_davinci_003/model_outputs.json", embedded::instructions::request)),
};
/// `ultrafeedback`: all of it.
pub static ULTRAFEEDBACK: Instructions =
    Instructions { key: "ultrafeedback", file: "instruct/ultrafeedback.json", scored: None };
/// `alpaca_2k`: a sample of Alpaca-52K, on which the paper tuned.
pub static ALPACA_2K: Instructions = Instructions { key: "alpaca_2k", file: "instruct/alpaca_2k.json", scored: None };

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

impl Task for Instructions {
    fn key(&self) -> &'static str {
        self.key
    }

    /// What the judge's verdicts come to.
    fn column(&self) -> &'static str {
        "win_rate"
    }

    fn rows(&self, kind: DataKind, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        let none = |remedy| Err(DataError::NoRows { task: self.key, split: split.name(), remedy });
        let train = |need| sources.rows(self.file, need);
        match (kind, split, self.scored) {
            (DataKind::Embedded, split, Some((_, generate))) => Ok(embedded::rows(self.key, generate, split)),
            (DataKind::Embedded, _, None) => none("it has no embedded rows; set data.source: real"),
            (DataKind::Real, Split::Train, _) => train(Need::Output),
            (DataKind::Real, Split::TrainWithoutDev, _) => Ok(hold_out(train(Need::Output)?).1),
            (DataKind::Real, Split::Dev, _) => Ok(hold_out(train(Need::Question)?).0),
            (DataKind::Real, Split::Test(_), Some((file, _))) => sources.rows(file, Need::Question),
            (DataKind::Real, Split::Test(_), None) => none("it is a training set only; test on instruct"),
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

    fn judged(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::split::Selection;

    #[test]
    fn what_is_answered_is_read_from_a_file_of_model_outputs() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (file, _) = INSTRUCT.scored.expect("test rows");
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        let row = json!([{"dataset": "koala", "instruction": "Say hi", "output": "", "generator": "a model"}]);
        std::fs::write(path, row.to_string()).expect("writable");
        let (sources, test) =
            (DataSources::local(folder.path()), Split::Test(Selection { chosen_by: "a test".to_owned() }));
        let rows = INSTRUCT.rows(DataKind::Real, &test, &sources).expect("rows");
        assert_eq!(rows, [Row { instruction: "Say hi".to_owned(), ..Row::default() }]);
        let error = ALPACA_2K.rows(DataKind::Real, &test, &sources).expect_err("no test rows").to_string();
        assert!(error.contains("test on instruct"), "{error}");
    }
}
