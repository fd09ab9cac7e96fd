//! Figures as the paper prints them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One printed row.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct PrintedRow {
    /// Base model.
    pub model: String,
    /// Method; the ablations' column is called `variant`.
    pub method: String,
    /// Trained numbers in percent of the model's, where printed.
    pub params_percent: Option<f64>,
    /// Where the figure comes from: the ReFT paper's own runs, or another paper.
    pub origin: String,
    /// Accuracy by task, in percent, and `avg`.
    #[serde(flatten)]
    pub scores: BTreeMap<String, f64>,
}

/// A file of printed figures that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}: restore the file from the repository")]
pub struct PrintedError {
    path: PathBuf,
    reason: String,
}

/// All rows of a file of printed figures.
///
/// # Errors
/// When it is missing or not valid.
pub fn read(path: &Path) -> Result<Vec<PrintedRow>, PrintedError> {
    let error = |error: csv::Error| PrintedError { path: path.to_owned(), reason: error.to_string() };
    let mut reader = csv::Reader::from_path(path).map_err(error)?;
    let headers = reader.headers().map_err(error)?.clone();
    let parse = |record: Result<csv::StringRecord, csv::Error>| -> Result<PrintedRow, csv::Error> {
        let record = record?;
        let fields: BTreeMap<&str, &str> = headers.iter().zip(record.iter()).collect();
        let text = |name: &str| fields.get(name).copied().unwrap_or_default().to_owned();
        let method = if fields.contains_key("variant") { text("variant") } else { text("method") };
        let number = |(name, value): (&&str, &&str)| Some(((*name).to_owned(), value.parse().ok()?));
        let scores = fields.iter().filter(|(name, _)| **name != "params_percent").filter_map(number).collect();
        let params_percent = text("params_percent").parse().ok();
        Ok(PrintedRow { model: text("model"), method, params_percent, origin: text("origin"), scores })
    };
    reader.records().map(|record| parse(record).map_err(error)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(name: &str) -> Vec<PrintedRow> {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../paper"));
        read(&folder.join(name)).expect("in the repository")
    }

    #[test]
    fn the_printed_table_1_is_read_as_it_stands() {
        let rows = printed("table1_commonsense.csv");
        let row = rows.iter().find(|row| row.model == "LLaMA-7B" && row.method == "LoReFT").expect("printed");
        assert_eq!((row.params_percent, row.scores["hellaswag"], row.scores["avg"]), (Some(0.031), 93.1, 80.2));
        assert_eq!(row.origin, "ReFT paper");
    }

    #[test]
    fn the_variants_of_table_17_are_its_methods() {
        let rows = printed("table17_ablation_arithmetic.csv");
        let methods: Vec<&str> = rows[..6].iter().map(|row| row.method.as_str()).collect();
        assert_eq!(methods, ["LobiReFT", "ConsReFT", "OrthoDiReFT", "NoReFT", "DiReFT", "LoReFT"]);
        assert_eq!((rows[0].params_percent, rows[0].scores["gsm8k"]), (Some(0.016), 14.2));
    }
}
