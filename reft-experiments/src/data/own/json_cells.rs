//! JSON files as rows of cells: an array of objects, one object a line, or an object that holds one list of objects.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Deserializer, Error, Map, Value};

use super::cell_row::{CellRow, place};
use super::fault::OwnDataError;
use crate::data::json_fault::{Fault, in_words};
use crate::data::text::{self, MARK};

/// The rows of a file.
pub(super) fn read(path: &Path) -> Result<Vec<CellRow>, OwnDataError> {
    let bytes = text::bytes(path)?;
    let (text, invalid) = text::valid(&bytes);
    if let Some(invalid) = invalid {
        return Err(invalid.error(path, &bytes, "").into());
    }
    let file: Arc<Path> = path.into();
    let row = |(place, cells): (String, Map<String, Value>)| CellRow { file: Arc::clone(&file), place, cells };
    match parse(text) {
        Ok(rows) => Ok(rows.into_iter().map(row).collect()),
        Err(CellFault { place, what }) if place.is_empty() => Err(OwnDataError::file(path, what)),
        Err(CellFault { place, what }) => Err(OwnDataError::row(path, &place, what)),
    }
}

/// What is wrong, and where.
struct CellFault {
    place: String,
    what: String,
}

impl CellFault {
    fn whole(what: impl Into<String>) -> Self {
        Self { place: String::new(), what: what.into() }
    }
}

type PlacedObjects = Vec<(String, Map<String, Value>)>;

fn parse(text: &str) -> Result<PlacedObjects, CellFault> {
    let objects = text.lines().filter(|line| line.trim_start_matches(MARK).trim_start().starts_with('{')).count();
    match text.trim_start().chars().next() {
        None => Ok(Vec::new()),
        Some('{') if objects > 1 && !is_one(text) => lines(text),
        Some('{') => object(text),
        Some('[') => array(text, 0),
        Some(_) => {
            let start: String = text.trim_start().lines().next().unwrap_or_default().chars().take(40).collect();
            Err(CellFault::whole(format!(
                "not JSON, it begins with `{start}`: write a JSON array of objects, or one object a line"
            )))
        }
    }
}

/// Whether a text that begins with an object ends with it, as one that is written over several lines does.
fn is_one(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// One object a line; lines without text are passed over.
fn lines(text: &str) -> Result<PlacedObjects, CellFault> {
    let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.trim_start_matches(MARK)));
    let mut rows = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let place = place(rows.len() + 1, number);
        let cells = one(line).map_err(|what| CellFault { place: place.clone(), what })?;
        rows.push((place, cells));
    }
    Ok(rows)
}

/// A single object: a wrapper around one list of rows, or the only row.
fn object(text: &str) -> Result<PlacedObjects, CellFault> {
    let cells = one(text).map_err(|what| CellFault { place: "row 1".to_owned(), what })?;
    let mut lists = cells.iter().filter(|(_, value)| is_list_of_rows(value)).map(|(key, _)| key);
    let (Some(key), None) = (lists.next(), lists.next()) else {
        return match no_rows(&cells) {
            Some(what) => Err(CellFault::whole(what)),
            None => Ok(vec![("row 1".to_owned(), cells)]),
        };
    };
    // The list is read again where it stands, so that a column that a row has twice is found.
    let entries: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|error| CellFault::whole(words(text, &error)))?;
    let list = entries[key].get();
    let before = list.as_ptr() as usize - text.as_ptr() as usize;
    array(list, text::line_and_column(text.as_bytes(), before).0 - 1)
}

/// Why one object is no row: it holds several lists of rows, or its columns as lists.
fn no_rows(cells: &Map<String, Value>) -> Option<String> {
    let names = || cells.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    if cells.len() < 2 {
        return None;
    }
    if cells.values().all(is_list_of_rows) {
        return Some(format!("it holds several lists of rows ({}): write each into a file of its own", names()));
    }
    let is_column =
        |value: &Value| value.as_array().is_some_and(|list| list.len() > 1 && !list.iter().any(Value::is_object));
    let columns = cells.values().all(is_column);
    columns.then(|| format!("it holds its columns as lists ({}): write a list of rows, [{{..}}, {{..}}]", names()))
}

/// Whether a value is a list of objects that are no turns of a conversation.
fn is_list_of_rows(value: &Value) -> bool {
    let is_row = |value: &Value| value.is_object() && value.get("role").is_none() && value.get("from").is_none();
    value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(is_row))
}

/// An array of objects, `before` lines into the file.
fn array(text: &str, before: usize) -> Result<PlacedObjects, CellFault> {
    let state = ParserState::default();
    let mut parser = Deserializer::from_str(text);
    let outcome = CellRowsSeed(&state).deserialize(&mut parser).and_then(|rows| parser.end().map(|()| rows));
    outcome.map_err(|error| {
        let (row, line) = (state.row.get(), before + error.line());
        let place = if row == 0 { String::new() } else { place(row, line) };
        CellFault { place, what: state.fault.take().unwrap_or_else(|| words(text, &error)) }
    })
}

/// One object.
fn one(text: &str) -> Result<Map<String, Value>, String> {
    let state = ParserState::default();
    let mut parser = Deserializer::from_str(text);
    let outcome = CellsSeed(&state).deserialize(&mut parser).and_then(|cells| parser.end().map(|()| cells));
    outcome.map_err(|error| state.fault.take().unwrap_or_else(|| words(text, &error)))
}

/// The parser's error in words.
fn words(text: &str, error: &Error) -> String {
    if error.is_data() {
        return "not an object: write every row as a JSON object".to_owned();
    }
    match in_words(text, error) {
        Fault::Syntax { .. } if error.to_string().starts_with("trailing characters") => Fault::Further.to_string(),
        fault => fault.to_string(),
    }
}

/// Where the parser is, and what it was told to refuse.
#[derive(Default)]
struct ParserState {
    row: Cell<usize>,
    fault: RefCell<Option<String>>,
}

/// A list of rows.
struct CellRowsSeed<'s>(&'s ParserState);

impl<'de> DeserializeSeed<'de> for CellRowsSeed<'_> {
    type Value = PlacedObjects;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<PlacedObjects, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for CellRowsSeed<'_> {
    type Value = PlacedObjects;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PlacedObjects, A::Error> {
        let mut rows = Vec::new();
        self.0.row.set(1);
        while let Some(cells) = list.next_element_seed(CellsSeed(self.0))? {
            rows.push((format!("row {}", rows.len() + 1), cells));
            self.0.row.set(rows.len() + 1);
        }
        self.0.row.set(0);
        Ok(rows)
    }
}

/// The cells of one row.
struct CellsSeed<'s>(&'s ParserState);

impl<'de> DeserializeSeed<'de> for CellsSeed<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for CellsSeed<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let (mut cells, mut keys) = (Map::new(), HashSet::new());
        while let Some((key, value)) = object.next_entry::<String, Value>()? {
            let key = key.trim_start_matches(MARK).to_owned();
            if !keys.insert(key.clone()) {
                let fault = format!("two columns have the name `{key}`: keep one of them, or rename it");
                self.0.fault.replace(Some(fault));
                return Err(A::Error::custom("refused"));
            }
            if !value.is_null() {
                cells.insert(key, value);
            }
        }
        Ok(cells)
    }
}
