//! Tab-separated files, as GLUE publishes them: split on tabs alone, quotes are plain characters.

use std::path::Path;

use super::error::DataError;
use super::text;

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
pub struct TableLayout {
    /// The columns that are wanted.
    pub columns: &'static [Column],
    /// Columns of every line, in a file without a line of names; else 0.
    pub width: usize,
    /// What becomes of lines with another number of columns.
    pub uneven: UnevenLines,
}

/// What becomes of lines with another number of columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnevenLines {
    /// The first is an error.
    Refused,
    /// They are left out and named, if they are at most one in [`LINES_FOR_ONE`] and none is the last, as it would be in a
    /// file that was cut: for published files that are known to have such lines.
    LeftOut,
}

/// So many lines may hold one that is left out. The file is then the published one with a few lines broken in two, for
/// which other readers cannot mend either; damage of any other kind breaks more of them.
pub const LINES_FOR_ONE: usize = 10_000;

/// A file as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataTable {
    /// Its rows.
    pub records: Vec<TableRecord>,
    /// Lines left out, counted from 1.
    pub left_out: Vec<usize>,
}

/// The wanted fields of one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableRecord {
    /// The line, counted from 1.
    pub line: usize,
    /// Fields, in the order of the layout's columns.
    pub fields: Vec<String>,
}

/// The rows of a file.
///
/// # Errors
/// When it cannot be read, lacks a column, lines have too few or too many, or there is no row.
pub fn read(path: &Path, layout: &TableLayout) -> Result<DataTable, DataError> {
    let text = text::read(path)?;
    let mut lines = (1..).zip(text.lines());
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
    let (mut records, mut uneven) = (Vec::new(), Vec::new());
    for (line, text) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let fields: Vec<&str> = text.split('\t').collect();
        if fields.len() == width {
            records.push(TableRecord { line, fields: places.iter().map(|&place| fields[place].to_owned()).collect() });
        } else {
            uneven.push((line, fields.len()));
        }
    }
    judge(path, layout.uneven, &uneven, &records, width)?;
    if records.is_empty() {
        return Err(DataError::Empty { path: path.to_owned() });
    }
    Ok(DataTable { records, left_out: uneven.into_iter().map(|(line, _)| line).collect() })
}

/// Refuses lines, with the columns each has, that cannot be left out.
fn judge(
    path: &Path,
    rule: UnevenLines,
    uneven: &[(usize, usize)],
    rows: &[TableRecord],
    width: usize,
) -> Result<(), DataError> {
    let last_row = rows.last().map_or(0, |row| row.line);
    let error = |&(line, found): &(usize, usize)| DataError::Uneven { path: path.to_owned(), line, found, width };
    let few = uneven.len() * LINES_FOR_ONE <= rows.len() + uneven.len();
    match (uneven, rule) {
        ([], _) => Ok(()),
        ([first, ..], UnevenLines::Refused) => Err(error(first)),
        ([.., last], UnevenLines::LeftOut) if last.0 > last_row => Err(error(last)),
        ([..], UnevenLines::LeftOut) if few => Ok(()),
        ([first, ..], UnevenLines::LeftOut) => Err(DataError::ManyUneven {
            path: path.to_owned(),
            line: first.0,
            count: uneven.len(),
            lines: rows.len() + uneven.len(),
            lines_for_one: LINES_FOR_ONE,
            width,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: TableLayout =
        TableLayout { columns: &[Column::Named("a"), Column::Named("b")], width: 0, uneven: UnevenLines::LeftOut };

    fn table(lines: &str, uneven: UnevenLines) -> Result<DataTable, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.tsv");
        std::fs::write(&path, lines).expect("writable");
        read(&path, &TableLayout { uneven, ..LAYOUT }).map_err(|error| error.to_string())
    }

    #[test]
    fn few_uneven_lines_are_left_out_by_number_where_the_published_file_has_them_and_refused_elsewhere() {
        let with = |rows: usize, broken: &[&str]| {
            let (before, after) = ("1\t2\n".repeat(rows / 2), "1\t2\n".repeat(rows - rows / 2));
            format!("a\tb\n{before}{}{after}", broken.iter().map(|line| format!("{line}\n")).collect::<String>())
        };
        let read = table(&with(19_998, &["half of a line", "and\tthe\tother"]), UnevenLines::LeftOut).expect("few");
        assert_eq!((read.records.len(), read.left_out), (19_998, vec![10_001, 10_002]));
        let error = table(&with(19_997, &["one", "two"]), UnevenLines::LeftOut).expect_err("one line too few");
        for part in ["a.tsv:10000: ", "the first of 2 lines of 19999 without 2 columns", "10000"] {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
        let error = table(&with(20_000, &["one"]), UnevenLines::Refused).expect_err("refused");
        assert!(error.contains("a.tsv:10002: 1 columns instead of 2"), "{error}");
        let cut = with(20_000, &[]) + "1";
        let error = table(&cut, UnevenLines::LeftOut).expect_err("cut");
        assert!(error.contains("a.tsv:20002: 1 columns instead of 2") && error.contains("copy it again"), "{error}");
    }
}
