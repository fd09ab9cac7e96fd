//! CSV with full precision, for programs.

use super::{Renderer, ResultsTable};

pub(super) struct Csv;

impl Renderer for Csv {
    fn extension(&self) -> &'static str {
        "csv"
    }

    fn render(&self, table: &ResultsTable) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let tasks = table.tasks.iter().map(String::as_str);
        let titles = ["model", "method", "params_percent"].into_iter().chain(tasks).chain(["avg", "sd", "n", "origin"]);
        writer.write_record(titles).expect("memory is writable");
        for row in &table.rows {
            let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
            let cells = row.cells.iter().map(|cell| number(cell.map(|cell| cell.value.mean)));
            let average = row.average.map(|cell| cell.value);
            let last = [
                number(average.map(|value| value.mean)),
                number(average.and_then(|value| value.sd)),
                average.map_or(0, |value| value.n).to_string(),
                row.origin.to_string(),
            ];
            let first = [row.model.clone(), row.method.clone(), number(row.params_percent)];
            writer.write_record(first.into_iter().chain(cells).chain(last)).expect("memory is writable");
        }
        String::from_utf8(writer.into_inner().expect("memory is writable")).expect("written from text")
    }
}
