//! The columns of a parquet file.

use std::fs::File;
use std::panic::catch_unwind;
use std::path::Path;

use parquet::basic::Type;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError as Cause;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::labels::LabelColumn;
use super::parquet_error::ParquetError;
use super::table::TableRecord;

/// The column of labels.
const LABEL: &str = "label";

/// Values taken from a column at a time.
const BATCH: usize = 4096;

/// See [`super::parquet_table::read`].
pub fn read(path: &Path, texts: &[&'static str], stored: LabelColumn) -> Result<Vec<TableRecord>, ParquetError> {
    // The library answers some damage inside a file with a panic.
    let read = catch_unwind(|| read_columns(path, texts, stored));
    read.unwrap_or_else(|_| Err(damaged(path, &Cause::General("its parts contradict each other".to_owned()))))
}

fn read_columns(path: &Path, texts: &[&'static str], stored: LabelColumn) -> Result<Vec<TableRecord>, ParquetError> {
    let file = File::open(path).map_err(|source| ParquetError::Io { path: path.to_owned(), source })?;
    let reader = SerializedFileReader::new(file).map_err(|cause| damaged(path, &cause))?;
    let table = ParquetTable { path, reader };
    let mut columns = texts.iter().map(|name| table.texts(name)).collect::<Result<Vec<_>, _>>()?;
    columns.push(table.labels(stored)?);
    let rows = columns[0].len();
    if columns.iter().any(|column| column.len() != rows) {
        return Err(damaged(path, &Cause::General("columns of different lengths".to_owned())));
    }
    let mut cells: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    let record = |line| TableRecord { line, fields: cells.iter_mut().filter_map(Iterator::next).collect() };
    Ok((1..=rows).map(record).collect())
}

/// A file that the library cannot read.
pub(super) fn damaged(path: &Path, cause: &Cause) -> ParquetError {
    let reason = cause.to_string().lines().next().unwrap_or_default().to_owned();
    ParquetError::Damaged { path: path.to_owned(), reason }
}

/// An open file.
struct ParquetTable<'a> {
    path: &'a Path,
    reader: SerializedFileReader<File>,
}

impl ParquetTable<'_> {
    /// Place and type of a column.
    fn find(&self, column: &'static str) -> Result<(usize, Type), ParquetError> {
        let schema = self.reader.metadata().file_metadata().schema_descr_ptr();
        let names = || schema.columns().iter().map(|found| found.path().string());
        let missing = || ParquetError::NoColumn {
            path: self.path.to_owned(),
            column,
            found: names().collect::<Vec<_>>().join(", "),
        };
        let place = names().position(|name| name == column).ok_or_else(missing)?;
        Ok((place, schema.column(place).physical_type()))
    }

    fn wrong(&self, column: &'static str, found: Type, expected: &'static str) -> ParquetError {
        ParquetError::Type { path: self.path.to_owned(), column, found: found.to_string(), expected }
    }

    fn texts(&self, column: &'static str) -> Result<Vec<String>, ParquetError> {
        let (place, found) = self.find(column)?;
        if found != Type::BYTE_ARRAY {
            return Err(self.wrong(column, found, "texts"));
        }
        let text = |(row, bytes): (usize, ByteArray)| {
            let reason = "not a text in UTF-8";
            let no_text = |_| ParquetError::Cell { path: self.path.to_owned(), row, column, reason };
            std::str::from_utf8(bytes.data()).map(str::to_owned).map_err(no_text)
        };
        (1..).zip(self.values::<ByteArrayType>(column, place)?).map(text).collect()
    }

    fn labels(&self, stored: LabelColumn) -> Result<Vec<String>, ParquetError> {
        let (place, found) = self.find(LABEL)?;
        match (stored, found) {
            (LabelColumn::Classes, Type::INT64) => self.numbers::<Int64Type>(place),
            (LabelColumn::Classes, Type::INT32) => self.numbers::<Int32Type>(place),
            (LabelColumn::Scores, Type::FLOAT) => self.numbers::<FloatType>(place),
            (LabelColumn::Scores, Type::DOUBLE) => self.numbers::<DoubleType>(place),
            (LabelColumn::Classes, found) => Err(self.wrong(LABEL, found, "classes as whole numbers")),
            (LabelColumn::Scores, found) => Err(self.wrong(LABEL, found, "scores as floating-point numbers")),
        }
    }

    fn numbers<T: DataType>(&self, place: usize) -> Result<Vec<String>, ParquetError>
    where
        T::T: ToString,
    {
        Ok(self.values::<T>(LABEL, place)?.iter().map(ToString::to_string).collect())
    }

    /// Whether a column's parts have a place in a file: the library takes that for granted.
    fn is_placed(&self, place: usize) -> bool {
        let placed = |column: &ColumnChunkMetaData| {
            let first = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            first >= 0 && column.compressed_size() >= 0
        };
        self.reader.metadata().row_groups().iter().all(|group| group.columns().get(place).is_some_and(placed))
    }

    /// Every value of a column of this type.
    fn values<T: DataType>(&self, column: &'static str, place: usize) -> Result<Vec<T::T>, ParquetError> {
        let error = |cause: Cause| damaged(self.path, &cause);
        if !self.is_placed(place) {
            return Err(error(Cause::General(format!("column `{column}` has no place in it"))));
        }
        let mut values = Vec::new();
        for group in 0..self.reader.num_row_groups() {
            let group = self.reader.get_row_group(group).map_err(error)?;
            let mut reader = get_typed_column_reader::<T>(group.get_column_reader(place).map_err(error)?);
            loop {
                let (before, mut levels) = (values.len(), Vec::new());
                let (rows, filled, _) =
                    reader.read_records(BATCH, Some(&mut levels), None, &mut values).map_err(error)?;
                if filled < rows {
                    let row = before + levels.iter().position(|&level| level == 0).unwrap_or(0) + 1;
                    return Err(ParquetError::Cell { path: self.path.to_owned(), row, column, reason: "no value" });
                }
                if rows == 0 {
                    break;
                }
            }
        }
        Ok(values)
    }
}
