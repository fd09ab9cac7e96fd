//! Rows of JSON files: a list of objects, one object a line, or an object that holds one list of them.
//!
//! The parser's place (row and key) is kept beside it, so that a fault is named by row even where the file is one line.

mod cursor;

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Deserializer, Error};

use self::cursor::{Cursor, shortened};
use super::json_fault::{Fault, in_words};
use super::need::Need;
use super::row::Row;
use super::text::{self, MARK, TextError};

/// A file whose rows cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// Not readable, or not UTF-8.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A fault in a row.
    #[error("{path}: {place}{fault}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The row and the key; empty for the file as a whole.
        place: String,
        /// What is wrong, and the remedy.
        fault: Fault,
    },
}

/// The rows of a file. A value that is null counts as an empty text; numbers and booleans are the text that they have in
/// the file.
///
/// # Errors
/// When the file cannot be read, is not JSON, or a row is not as it should be.
pub fn read(path: &Path, need: Need) -> Result<Vec<Row>, RowsError> {
    let bytes = text::bytes(path)?;
    let (text, invalid) = text::valid(&bytes);
    let cursor = RefCell::new(Cursor { need, row: 0, key: None, fault: None });
    let parsed = parse(text, &cursor);
    let cursor = cursor.into_inner();
    match (parsed, invalid) {
        (Ok(rows), None) => Ok(rows),
        // The valid part ends in the row with the first byte that is not UTF-8, unless a row before it is at fault.
        (Err(ParseFailure { fault: Fault::Truncated, .. }) | Ok(_), Some(invalid)) => {
            Err(invalid.error(path, &bytes, &cursor.name()).into())
        }
        (Err(ParseFailure { fault, line }), _) => {
            Err(RowsError::Row { path: path.to_owned(), place: cursor.place(line), fault })
        }
    }
}

/// What stopped the parser, and in which line.
struct ParseFailure {
    fault: Fault,
    line: usize,
}

type CursorRef<'c> = &'c RefCell<Cursor>;

fn parse(text: &str, cursor: CursorRef<'_>) -> Result<Vec<Row>, ParseFailure> {
    let objects = text.lines().filter(|line| line.trim_start_matches(MARK).starts_with('{')).count();
    let rows = match text.trim_start().chars().next() {
        None => return Err(ParseFailure { fault: Fault::NoRows, line: 1 }),
        Some('{') if objects > 1 => lines(text, cursor)?,
        Some('{') => object(text, cursor)?,
        Some('[') => whole(text, ListSeed(cursor), cursor)?,
        Some(_) => {
            let start = shortened(text.trim_start().lines().next().unwrap_or_default());
            return Err(ParseFailure { fault: Fault::NotJson { start }, line: 1 });
        }
    };
    cursor.borrow_mut().key = None;
    if rows.is_empty() {
        cursor.borrow_mut().row = 0;
        return Err(ParseFailure { fault: Fault::NoRows, line: 1 });
    }
    Ok(rows)
}

/// One object a line; lines without text are passed over.
fn lines(text: &str, cursor: CursorRef<'_>) -> Result<Vec<Row>, ParseFailure> {
    let mut rows = Vec::new();
    // Files that were put together may have a byte order mark before any line.
    let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.trim_start_matches(MARK)));
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        rows.push(whole(line, RowSeed(cursor), cursor).map_err(|failed| ParseFailure { line: number, ..failed })?);
    }
    Ok(rows)
}

/// A single object: a row, or a wrapper around one list of rows.
fn object(text: &str, cursor: CursorRef<'_>) -> Result<Vec<Row>, ParseFailure> {
    let list_at = text.find('[');
    let entries = match whole(text, EntriesSeed, cursor) {
        Ok(entries) => entries,
        Err(failed) => {
            // The row at fault is found by reading the list alone, if there is one.
            let inner = list_at.map(|at| (at, list_fault(&text[at..], cursor)));
            return Err(match inner {
                Some((at, Some(ParseFailure { fault, line }))) => {
                    ParseFailure { fault, line: line + text::line_and_column(text.as_bytes(), at).0 - 1 }
                }
                // Else it is a row, and read as one the key at fault is known.
                _ => whole(text, RowSeed(cursor), cursor).err().unwrap_or(failed),
            });
        }
    };
    let is_question = |(key, _): &&(String, &RawValue)| matches!(key.as_str(), "instruction" | "question");
    match entries.iter().find(is_question) {
        Some((key, value)) if value.get().starts_with('[') => {
            return Err(ParseFailure { fault: Fault::Columns { key: key.clone() }, line: 1 });
        }
        Some(_) => return Ok(vec![whole(text, RowSeed(cursor), cursor)?]),
        None => {}
    }
    let lists: Vec<&(String, &RawValue)> = entries.iter().filter(|(_, value)| value.get().starts_with('[')).collect();
    match lists.as_slice() {
        [(_, list)] => {
            let before = list.get().as_ptr() as usize - text.as_ptr() as usize;
            let lines_before = text::line_and_column(text.as_bytes(), before).0 - 1;
            let shift = |failed: ParseFailure| ParseFailure { line: failed.line + lines_before, ..failed };
            whole(list.get(), ListSeed(cursor), cursor).map_err(shift)
        }
        [] => {
            let keys = entries.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>();
            let keys = shortened_list(&keys);
            Err(ParseFailure { fault: Fault::NoList { keys }, line: 1 })
        }
        several => {
            let keys = several.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>();
            Err(ParseFailure { fault: Fault::Lists { keys: shortened_list(&keys) }, line: 1 })
        }
    }
}

/// What is wrong with a list of rows that does not end with the text.
fn list_fault(text: &str, cursor: CursorRef<'_>) -> Option<ParseFailure> {
    let failed = whole(text, ListSeed(cursor), cursor).err()?;
    let mut cursor = cursor.borrow_mut();
    let found = cursor.row > 0 && !matches!(failed.fault, Fault::Further | Fault::NotObject);
    if !found {
        (cursor.row, cursor.key) = (0, None);
    }
    found.then_some(failed)
}

/// Keys in a message.
fn shortened_list(keys: &[&str]) -> String {
    let shown: Vec<String> = keys.iter().take(8).map(|key| shortened(key)).collect();
    let more = if keys.len() > shown.len() { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// Reads a text that is one value.
fn whole<'t, S: DeserializeSeed<'t>>(text: &'t str, seed: S, cursor: CursorRef<'_>) -> Result<S::Value, ParseFailure> {
    let mut parser = Deserializer::from_str(text);
    let read = seed.deserialize(&mut parser).map_err(|error| failed(text, &error, cursor))?;
    parser.end().map_err(|error| {
        let mut cursor = cursor.borrow_mut();
        (cursor.row, cursor.key) = (0, None);
        ParseFailure { fault: Fault::Further, line: error.line() }
    })?;
    Ok(read)
}

fn failed(text: &str, error: &Error, cursor: CursorRef<'_>) -> ParseFailure {
    let fault = cursor.borrow_mut().fault.take();
    let fault = fault.unwrap_or_else(|| if error.is_data() { Fault::NotObject } else { in_words(text, error) });
    ParseFailure { fault, line: error.line() }
}

/// A list of rows.
struct ListSeed<'c>(CursorRef<'c>);

impl<'de> DeserializeSeed<'de> for ListSeed<'_> {
    type Value = Vec<Row>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Row>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListSeed<'_> {
    type Value = Vec<Row>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Row>, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = list.next_element_seed(RowSeed(self.0))? {
            rows.push(row);
        }
        Ok(rows)
    }
}

/// Keys and values of an object, values as they stand in the text.
struct EntriesSeed;

impl<'de> DeserializeSeed<'de> for EntriesSeed {
    type Value = Vec<(String, &'de RawValue)>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntriesSeed {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = object.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// One row.
struct RowSeed<'c>(CursorRef<'c>);

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Row;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Row, D::Error> {
        let mut cursor = self.0.borrow_mut();
        cursor.row += 1;
        cursor.key = None;
        drop(cursor);
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Row, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = object.next_key::<String>()? {
            // A byte order mark that a converter took for a part of the first column's name.
            let key = key.trim_start_matches(MARK).to_owned();
            self.0.borrow_mut().key = Some(key.clone());
            if fields.keys.contains(&key) {
                return Err(self.0.borrow_mut().refuse(Fault::Twice));
            }
            match fields.slot(&key) {
                None => {
                    object.next_value::<IgnoredAny>()?;
                }
                Some(slot) => {
                    let value = object.next_value::<&RawValue>()?;
                    *slot = value_text(value.get()).map_err(|fault| self.0.borrow_mut().refuse::<A::Error>(fault))?;
                }
            }
            fields.keys.push(key);
        }
        let mut cursor = self.0.borrow_mut();
        cursor.key = None;
        let need = cursor.need;
        fields.row(need).map_err(|fault| cursor.refuse(fault))
    }
}

/// The text of a value as the file has it; none for null.
fn value_text(raw: &str) -> Result<Option<String>, Fault> {
    match raw.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<String>(raw) {
            Ok(text) => Ok(Some(text.trim_start_matches(MARK).to_owned())),
            Err(_) => Err(Fault::HalfCharacter),
        },
        Some(b'n') => Ok(None),
        Some(b'[') => Err(Fault::Nested { found: "a list" }),
        Some(b'{') => Err(Fault::Nested { found: "an object" }),
        // A number or a boolean.
        _ => Ok(Some(raw.to_owned())),
    }
}

/// The texts of a row, and all its keys.
#[derive(Default)]
struct Fields {
    keys: Vec<String>,
    instruction: Option<String>,
    question: Option<String>,
    input: Option<String>,
    output: Option<String>,
    answer: Option<String>,
}

impl Fields {
    fn slot(&mut self, key: &str) -> Option<&mut Option<String>> {
        match key {
            "instruction" => Some(&mut self.instruction),
            "question" => Some(&mut self.question),
            "input" => Some(&mut self.input),
            "output" => Some(&mut self.output),
            "answer" => Some(&mut self.answer),
            _ => None,
        }
    }

    fn row(self, need: Need) -> Result<Row, Fault> {
        let Self { keys, instruction, question, input, output, answer } = self;
        let listed = || shortened_list(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        let had_text = instruction.is_some() || question.is_some();
        let instruction = match (instruction, question) {
            (Some(instruction), Some(question)) if instruction != question => return Err(Fault::TwoQuestions),
            (instruction, question) => instruction.or(question).unwrap_or_default(),
        };
        if instruction.trim().is_empty() {
            let key = ["instruction", "question"].into_iter().find(|key| keys.iter().any(|other| other == key));
            let found = if had_text { "blank" } else { "null" };
            return Err(key.map_or(Fault::NoQuestion { keys: listed() }, |key| Fault::Empty { key, found }));
        }
        if let Some(key) = need.key() {
            let value = if key == "output" { &output } else { &answer };
            match value {
                None if keys.iter().any(|other| other == key) => return Err(Fault::Empty { key, found: "null" }),
                None => return Err(Fault::Missing { key, keys: listed() }),
                Some(text) if text.trim().is_empty() => return Err(Fault::Empty { key, found: "blank" }),
                Some(text) => {
                    if let Some(form) = need.lacks(text) {
                        return Err(Fault::Form { key, form, found: shortened(text) });
                    }
                }
            }
        }
        let text = Option::unwrap_or_default;
        Ok(Row { instruction, input: text(input), output: text(output), answer: text(answer), ..Row::default() })
    }
}

#[cfg(test)]
mod tests;
