//! LaTeX with booktabs, for papers.

use super::{Renderer, ResultsTable, fields, titles};

pub(super) struct Latex;

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '~' => out.push_str(r"\textasciitilde{}"),
            '^' => out.push_str(r"\textasciicircum{}"),
            '\\' => out.push_str(r"\textbackslash{}"),
            '–' => out.push_str("--"),
            _ => out.push(c),
        }
        out
    })
}

/// Escapes a field's text but not the commands put around and inside it.
fn field(text: &str) -> String {
    let (open, text, close) = match text.strip_prefix("<b>") {
        Some(text) => (r"\textbf{", text, "}"),
        None => ("", text, ""),
    };
    format!("{open}{}{close}", escaped(text).replace('±', r"$\pm$"))
}

fn line(fields: &[String]) -> String {
    format!("{} \\\\\n", fields.iter().map(|text| field(text)).collect::<Vec<_>>().join(" & "))
}

impl Renderer for Latex {
    fn extension(&self) -> &'static str {
        "tex"
    }

    fn render(&self, table: &ResultsTable) -> String {
        let titles = titles(table);
        let columns = format!("ll{}l", "r".repeat(titles.len() - 3));
        let rows: String = table.rows.iter().map(|row| line(&fields(row, "±", |text| format!("<b>{text}")))).collect();
        let notes: String = table.notes.iter().map(|note| format!("% {note}\n")).collect();
        format!(
            "{notes}\\begin{{table}}\n\\caption{{{}}}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n{}\\midrule\n{rows}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n",
            escaped(&table.title),
            line(&titles)
        )
    }
}
