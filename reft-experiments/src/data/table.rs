//! Tab-separated files, as GLUE publishes them: split on tabs alone, quotes are plain characters.

use std::path::Path;

use super::source::DataError;

/// A column of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Column {
    /// By the name in the file's first line.
    Named(&'static str),
    /// By its place, in a file whose lines are all rows.
    At(usize),
}

/// How a file is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The columns that are wanted.
    pub columns: &'static [Column],
    /// Columns of every line, in a file without a line of names; else 0.
    pub width: usize,
    /// Lines that are known to lack columns in the published file, and are left out; one more is an error.
    pub broken: usize,
}

/// The wanted fields of one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The line, counted from 1.
    pub line: usize,
    /// Fields, in the order of the layout's columns.
    pub fields: Vec<String>,
}

/// The rows of a file.
///
/// # Errors
/// When it cannot be read, lacks a column, a line lacks fields, or there is no row.
pub fn read(path: &Path, layout: &Layout) -> Result<Vec<Record>, DataError> {
    let text = std::fs::read_to_string(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let mut lines = (1..).zip(text.trim_start_matches('\u{feff}').lines());
    let names: Vec<&str> = if layout.width == 0 {
        lines.next().map(|(_, line)| line.split('\t').collect()).unwrap_or_default()
    } else {
        Vec::new()
    };
    let width = layout.width.max(names.len());
    let place = |column: &Column| match column {
        Column::At(place) => Ok(*place),
        Column::Named(name) => names.iter().position(|other| other == name).ok_or_else(|| DataError::NoColumn {
            path: path.to_owned(),
            column: name,
            found: names.join(", "),
        }),
    };
    let places: Vec<usize> = layout.columns.iter().map(place).collect::<Result<_, _>>()?;
    let (mut records, mut broken) = (Vec::new(), 0);
    for (line, text) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let fields: Vec<&str> = text.split('\t').collect();
        if fields.len() < width {
            broken += 1;
            if broken > layout.broken {
                return Err(DataError::Truncated { path: path.to_owned(), line, found: fields.len(), width });
            }
            continue;
        }
        records.push(Record { line, fields: places.iter().map(|&place| fields[place].to_owned()).collect() });
    }
    if records.is_empty() { Err(DataError::Empty { path: path.to_owned() }) } else { Ok(records) }
}
