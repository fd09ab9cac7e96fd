//! Tables as files. A new format is a file and a line in [`FORMATS`].

mod csv;
mod latex;
mod markdown;

use super::table::{Cell, ResultsRow, ResultsTable};

/// One format.
pub trait Renderer: Sync {
    /// Ending of the file's name.
    fn extension(&self) -> &'static str;

    /// The whole table.
    fn render(&self, table: &ResultsTable) -> String;
}

/// Every format.
pub static FORMATS: &[&dyn Renderer] = &[&csv::Csv, &markdown::Markdown, &latex::Latex];

/// Column titles, the same in every format people read.
fn titles(table: &ResultsTable) -> Vec<String> {
    let fixed = ["model", "method", "params %"].map(str::to_owned);
    let last = ["avg", "n", "origin"].map(str::to_owned);
    fixed.into_iter().chain(table.tasks.iter().cloned()).chain(last).collect()
}

/// `79.2 ± 0.3`, or a dash where there is no figure.
fn figure(cell: Option<&Cell>, plus_minus: &str, bold: impl Fn(String) -> String) -> String {
    let Some(Cell { value, best }) = cell else { return "–".to_owned() };
    let text = match value.sd {
        Some(sd) => format!("{:.1} {plus_minus} {sd:.1}", value.mean),
        None => format!("{:.1}", value.mean),
    };
    if *best { bold(text) } else { text }
}

/// A row's fields, in the order of [`titles`].
fn fields(row: &ResultsRow, plus_minus: &str, bold: impl Fn(String) -> String + Copy) -> Vec<String> {
    let params = row.params_percent.map_or("–".to_owned(), |percent| format!("{percent:.4}"));
    let figures = (0..=row.cells.len()).map(|column| figure(row.cell(column), plus_minus, bold));
    let runs = row.average.map_or(0, |cell| cell.value.n).to_string();
    [row.model.clone(), row.method.clone(), params]
        .into_iter()
        .chain(figures)
        .chain([runs, row.origin.to_string()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::stats::estimate;
    use crate::tables::table::RowOrigin;

    fn row(method: &str, scores: &[&[f64]], origin: RowOrigin) -> ResultsRow {
        let cell = |values: &&[f64]| estimate(values).map(|value| Cell { value, best: false });
        let average = cell(&scores[0]);
        let params_percent = (method != "base model").then_some(0.205_7);
        let model = "Tiny & small".to_owned();
        ResultsRow {
            model,
            method: method.to_owned(),
            params_percent,
            cells: scores.iter().map(cell).collect(),
            average,
            origin,
        }
    }

    fn table() -> ResultsTable {
        let rows = vec![
            row("base model", &[&[10.0], &[]], RowOrigin::Ours),
            row("DiReFT", &[&[50.0, 51.0], &[30.0, 31.0]], RowOrigin::Ours),
            row("LoReFT", &[&[49.0, 52.0], &[20.0, 24.0]], RowOrigin::Ours),
            row("LoReFT", &[&[80.2], &[69.3]], RowOrigin::Printed("ReFT paper".to_owned())),
        ];
        let tasks = vec!["boolq".to_owned(), "arc_e".to_owned()];
        ResultsTable { title: "Table 1".to_owned(), notes: vec!["embedded tasks".to_owned()], tasks, rows }.with_marks()
    }

    fn rendered(extension: &str) -> String {
        FORMATS.iter().find(|format| format.extension() == extension).expect("a format").render(&table())
    }

    #[test]
    fn markdown_marks_the_best_of_ours_and_ties() {
        insta::assert_snapshot!(rendered("md"));
    }

    #[test]
    fn latex_escapes_and_uses_booktabs() {
        insta::assert_snapshot!(rendered("tex"));
    }

    #[test]
    fn csv_keeps_full_precision() {
        insta::assert_snapshot!(rendered("csv"));
    }
}
