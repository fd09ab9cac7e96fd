//! Tables of text as rows of cells: values separated by commas (RFC 4180), semicolons or tabs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use super::cell_row::{CellRow, place};
use super::fault::OwnDataError;
use crate::data::text;

/// What separates values: that of a comma, a semicolon and a tab which the first line has alone, as spreadsheets write in many languages; else
/// the usual one.
fn separator(text: &str, usual: char) -> char {
    let (mut quoted, mut found) = (false, BTreeSet::new());
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            '\n' if !quoted => break,
            ',' | ';' | '\t' if !quoted => drop(found.insert(character)),
            _ => {}
        }
    }
    match Vec::from_iter(found)[..] {
        [only] => only,
        _ => usual,
    }
}

/// Says once of each file that its values are not separated by what is usual for its ending.
fn say_separator(path: &Path, separator: char, usual: char) {
    static SAID: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let name = |separator| match separator {
        '\t' => "tab",
        ';' => "semicolon",
        _ => "comma",
    };
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned()) {
        eprintln!(
            "{}: read as values separated by {}s, since its first line has no {}",
            path.display(),
            name(separator),
            name(usual)
        );
    }
}

/// The rows of a file of comma-separated values.
pub(super) fn read_csv(path: &Path) -> Result<Vec<CellRow>, OwnDataError> {
    let text = text::read(path)?;
    let separator = separator(&text, ',');
    if separator != ',' {
        say_separator(path, separator, ',');
    }
    separated(path, &text, separator)
}

/// The rows of a text whose values are separated so, quoted where they need be.
fn separated(path: &Path, text: &str, separator: char) -> Result<Vec<CellRow>, OwnDataError> {
    check_quotes(path, text, separator)?;
    let mut builder = csv::ReaderBuilder::new();
    builder.flexible(true).has_headers(false).delimiter(separator as u8);
    let mut reader = builder.from_reader(text.as_bytes());
    let mut records = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| OwnDataError::file(path, format!("not readable as CSV ({error})")))?;
        let line = record.position().map_or(0, |position| position.line() as usize);
        records.push((line, record.iter().map(str::to_owned).collect()));
    }
    rows(path, records, "put a value that holds a separator or a line break in double quotes")
}

/// The rows of a file of tab-separated values. Quotes are plain characters, as GLUE's files have them.
pub(super) fn read_tsv(path: &Path) -> Result<Vec<CellRow>, OwnDataError> {
    let text = text::read(path)?;
    let separator = separator(&text, '\t');
    if separator != '\t' {
        say_separator(path, separator, '\t');
        return separated(path, &text, separator);
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let records = lines.map(|(line, text)| (line, text.split('\t').map(str::to_owned).collect())).collect();
    rows(
        path,
        records,
        "a value in a .tsv file holds no tab or line break and quotes are plain characters: save it as .csv",
    )
}

/// Records under the names in the first one.
fn rows(path: &Path, records: Vec<(usize, Vec<String>)>, remedy: &str) -> Result<Vec<CellRow>, OwnDataError> {
    let mut records = records.into_iter();
    let Some((_, names)) = records.next() else { return Ok(Vec::new()) };
    let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
    if let Some((at, twice)) =
        names.iter().enumerate().find(|(at, name)| !name.is_empty() && names[..*at].contains(name))
    {
        let first = names.iter().position(|name| name == twice).unwrap_or(0);
        return Err(OwnDataError::row(
            path,
            "line 1",
            format!("two columns have the name `{twice}` (columns {} and {}): rename one of them", first + 1, at + 1),
        ));
    }
    let file: Arc<Path> = path.into();
    let row = |(number, (line, fields)): (usize, (usize, Vec<String>))| {
        let place = place(number, line);
        if fields.len() != names.len() {
            let (found, width) = (fields.len(), names.len());
            let what = format!("{found} values instead of {width}, as many as the first line names: {remedy}");
            return Err(OwnDataError::row(path, &place, what));
        }
        let cells = names.iter().zip(fields).map(|(name, field)| (name.clone(), Value::String(field)));
        Ok(CellRow { file: Arc::clone(&file), place, cells: cells.collect::<Map<_, _>>() })
    };
    (1..).zip(records).map(row).collect()
}

/// Refuses a quoted value that never ends, or goes on behind its closing quote: the reader would take what follows, perhaps
/// the rest of the file, for a part of it.
fn check_quotes(path: &Path, text: &str, separator: char) -> Result<(), OwnDataError> {
    let (mut line, mut row, mut at_start) = (1, 0, true);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '"' && at_start {
            let begun = line;
            loop {
                match characters.next() {
                    None => {
                        let what = "a double quote is never closed: close it, or write it twice (\"\") where it is a plain character";
                        return Err(OwnDataError::row(path, &place(row, begun), what));
                    }
                    Some('"') if characters.peek() == Some(&'"') => {
                        characters.next();
                    }
                    Some('"') => break,
                    Some('\n') => line += 1,
                    Some(_) => {}
                }
            }
            if let Some(next) = characters.peek().filter(|next| **next != separator && !matches!(next, '\n' | '\r')) {
                let what =
                    format!("`{next}` follows a closing double quote: write a quote inside a value twice (\"\")");
                return Err(OwnDataError::row(path, &place(row, line), what));
            }
            at_start = false;
            continue;
        }
        at_start = character == separator || character == '\n';
        if character == '\n' {
            line += 1;
            row += 1;
        }
    }
    Ok(())
}
