//! Markdown, for the README and for eyes.

use super::{CostTable, Renderer, ResultsTable, cost_fields, fields, titles};
use crate::tables::cost::TITLES;

pub(super) struct Markdown;

fn line(fields: &[String]) -> String {
    format!("| {} |\n", fields.join(" | "))
}

fn whole(title: &str, titles: &[String], rows: &[Vec<String>], notes: &[String]) -> String {
    let rule = line(&vec!["---".to_owned(); titles.len()]);
    let rows: String = rows.iter().map(|row| line(row)).collect();
    let notes: String = notes.iter().map(|note| format!("- {note}\n")).collect();
    format!("**{title}**\n\n{}{rule}{rows}\n{notes}", line(titles))
}

impl Renderer for Markdown {
    fn extension(&self) -> &'static str {
        "md"
    }

    fn render(&self, table: &ResultsTable) -> String {
        let rows = table.rows.iter().map(|row| fields(row, "±", |text| format!("**{text}**"))).collect::<Vec<_>>();
        whole(&table.title, &titles(table), &rows, &table.notes)
    }

    fn cost(&self, table: &CostTable) -> String {
        whole(&table.title, &TITLES.map(str::to_owned), &cost_fields(table), &table.notes)
    }
}
