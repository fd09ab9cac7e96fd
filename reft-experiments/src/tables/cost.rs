//! What the rows of a table cost.

use super::spec::RowPlan;
use crate::score::stats::estimate;
use crate::store::record::Record;

/// A row: means over its runs, where a run has the figure.
#[derive(Clone, PartialEq, Debug)]
pub struct CostRow {
    /// Base model.
    pub model: String,
    /// Method.
    pub method: String,
    /// Numbers trained, without a classification head; none for a base model.
    pub trainable: Option<i64>,
    /// Bytes of the adapter's file; none where nothing was saved, or by records that do not have it.
    pub adapter_bytes: Option<u64>,
    /// Seconds of training.
    pub train_seconds: Option<f64>,
    /// Seconds of answering.
    pub eval_seconds: Option<f64>,
    /// Most memory of the process, MiB.
    pub peak_memory_mib: Option<f64>,
    /// Runs.
    pub n: usize,
}

/// A table of costs, ready to be rendered.
#[derive(Clone, PartialEq, Debug)]
pub struct CostTable {
    /// Caption.
    pub title: String,
    /// What the figures depend on, line by line.
    pub notes: Vec<String>,
    /// Rows.
    pub rows: Vec<CostRow>,
}

/// Column titles.
pub const TITLES: [&str; 8] =
    ["model", "method", "parameters", "adapter bytes", "train s", "answer s", "peak MiB", "n"];

impl CostRow {
    /// A row from the records of its runs.
    pub fn of(row: &RowPlan, records: &[&Record]) -> Self {
        let mean = |of: &dyn Fn(&Record) -> Option<f64>| {
            let values: Vec<f64> = records.iter().filter_map(|record| of(record)).collect();
            estimate(&values).map(|estimate| estimate.mean)
        };
        let positive = |value: f64| Some(value).filter(|&value| value > 0.0);
        let trainable = records.first().map(|record| record.parameters.trainable).filter(|&trainable| trainable > 0);
        Self {
            model: row.model.name.clone(),
            method: row.method.clone(),
            trainable,
            adapter_bytes: records.iter().find_map(|record| record.cost.adapter_bytes),
            train_seconds: mean(&|record| positive(record.cost.train_seconds)),
            eval_seconds: mean(&|record| positive(record.cost.eval_seconds)),
            peak_memory_mib: mean(&|record| positive(record.cost.peak_memory_mib as f64)),
            n: records.len(),
        }
    }

    /// Its cells, in the order of [`TITLES`]; numbers that were not measured are none. Seconds and MiB have `digits` digits,
    /// or all.
    pub fn cells(&self, digits: Option<usize>) -> [Option<String>; 8] {
        let number = |value: Option<f64>, most: usize| {
            value.map(|value| digits.map_or(value.to_string(), |digits| format!("{value:.*}", digits.min(most))))
        };
        [
            Some(self.model.clone()),
            Some(self.method.clone()),
            self.trainable.map(|trainable| trainable.to_string()),
            self.adapter_bytes.map(|bytes| bytes.to_string()),
            number(self.train_seconds, 1),
            number(self.eval_seconds, 1),
            number(self.peak_memory_mib, 0),
            Some(self.n.to_string()),
        ]
    }
}

impl CostTable {
    /// The table with what is to be said about its figures.
    pub fn new(title: String, rows: Vec<CostRow>, command: &str) -> Self {
        let notes = vec![
            "means over n runs; seconds of training in the process that finished a run; memory is the process's from the \
             run's beginning on, with what earlier runs of the same process still held (model, cached states)"
                .to_owned(),
            "seconds depend on the machine and on what else it did; parameters without a classification head".to_owned(),
            format!("made by `{command} --cost`"),
        ];
        Self { title, notes, rows }
    }
}
