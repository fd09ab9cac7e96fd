//! Parquet files as rows of cells, lists and structures among them.

use std::fs::File;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Map, Number, Value};

use super::cell_row::CellRow;
use super::fault::OwnDataError;
use crate::data::parquet_columns::damaged;
use crate::data::parquet_error::ParquetError;

/// The rows of a file.
pub(super) fn read(path: &Path) -> Result<Vec<CellRow>, OwnDataError> {
    // The library answers some damage inside a file with a panic.
    catch_unwind(|| read_rows(path)).unwrap_or_else(|_| {
        let cause = parquet::errors::ParquetError::General("its parts contradict each other".to_owned());
        Err(damaged(path, &cause).into())
    })
}

fn read_rows(path: &Path) -> Result<Vec<CellRow>, OwnDataError> {
    let file = File::open(path).map_err(|source| ParquetError::Io { path: path.to_owned(), source })?;
    let reader = SerializedFileReader::new(file).map_err(|cause| damaged(path, &cause))?;
    let rows = reader.get_row_iter(None).map_err(|cause| damaged(path, &cause))?;
    let file: Arc<Path> = path.into();
    let mut read = Vec::new();
    for (number, row) in (1..).zip(rows) {
        let place = format!("row {number}");
        let mut cells = Map::new();
        for (name, field) in row.map_err(|cause| damaged(path, &cause))?.into_columns() {
            let value = value(&field).map_err(|what| {
                OwnDataError::row(
                    path,
                    &place,
                    format!("column `{name}`: {what}: leave the column out, or write it as text"),
                )
            })?;
            if cells.contains_key(&name) {
                return Err(OwnDataError::file(
                    path,
                    format!("two columns have the name `{name}`: rename one of them"),
                ));
            }
            if !value.is_null() {
                cells.insert(name, value);
            }
        }
        read.push(CellRow { file: Arc::clone(&file), place, cells });
    }
    Ok(read)
}

/// A field as JSON has it.
fn value(field: &Field) -> Result<Value, String> {
    let real = |number: f64| {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| format!("{number} is not a finite number"))
    };
    match field {
        Field::Null => Ok(Value::Null),
        Field::Bool(value) => Ok((*value).into()),
        Field::Byte(value) => Ok((*value).into()),
        Field::Short(value) => Ok((*value).into()),
        Field::Int(value) => Ok((*value).into()),
        Field::Long(value) => Ok((*value).into()),
        Field::UByte(value) => Ok((*value).into()),
        Field::UShort(value) => Ok((*value).into()),
        Field::UInt(value) => Ok((*value).into()),
        Field::ULong(value) => Ok((*value).into()),
        Field::Float16(value) => real(f64::from(*value)),
        Field::Float(value) => real(value.to_string().parse().unwrap_or_else(|_| f64::from(*value))),
        Field::Double(value) => real(*value),
        Field::Str(value) => Ok(value.clone().into()),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err("bytes that are no text in UTF-8".to_owned()),
        },
        Field::Group(group) => {
            let entries = group.get_column_iter().map(|(name, field)| Ok((name.clone(), value(field)?)));
            entries.collect::<Result<Map<_, _>, String>>().map(Value::Object)
        }
        Field::ListInternal(list) => list.elements().iter().map(value).collect::<Result<_, _>>().map(Value::Array),
        // Maps, decimals, dates and times.
        other => Ok(other.to_string().into()),
    }
}
