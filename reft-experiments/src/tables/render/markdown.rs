//! Markdown, for the README and for eyes.

use super::{Renderer, ResultsTable, fields, titles};

pub(super) struct Markdown;

fn line(fields: &[String]) -> String {
    format!("| {} |\n", fields.join(" | "))
}

impl Renderer for Markdown {
    fn extension(&self) -> &'static str {
        "md"
    }

    fn render(&self, table: &ResultsTable) -> String {
        let titles = titles(table);
        let rule = line(&vec!["---".to_owned(); titles.len()]);
        let rows: String = table.rows.iter().map(|row| line(&fields(row, "±", |text| format!("**{text}**")))).collect();
        let notes: String = table.notes.iter().map(|note| format!("- {note}\n")).collect();
        format!("**{}**\n\n{}{rule}{rows}\n{notes}", table.title, line(&titles))
    }
}
