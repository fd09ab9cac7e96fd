//! Tiny parquet files, written as the hub writes GLUE's.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

/// A column's cells, some of them empty.
#[allow(dead_code)] // every test program uses a part of it
#[derive(Clone)]
pub enum Cells {
    Texts(Vec<Option<&'static str>>),
    Bytes(Vec<Option<&'static [u8]>>),
    Classes(Vec<Option<i64>>),
    Scores(Vec<Option<f32>>),
}

impl Cells {
    fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Self::Texts(_) | Self::Bytes(_) => ("BYTE_ARRAY", "(UTF8)"),
            Self::Classes(_) => ("INT64", ""),
            Self::Scores(_) => ("FLOAT", ""),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Texts(cells) => cells.len(),
            Self::Bytes(cells) => cells.len(),
            Self::Classes(cells) => cells.len(),
            Self::Scores(cells) => cells.len(),
        }
    }

    /// Writes two rows at most, from `first` on.
    fn write(&self, first: usize, group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>) {
        match self {
            Self::Texts(cells) => put::<ByteArrayType, _>(part(cells, first), |text| ByteArray::from(*text), group),
            Self::Bytes(cells) => put::<ByteArrayType, _>(part(cells, first), |b| ByteArray::from(b.to_vec()), group),
            Self::Classes(cells) => put::<Int64Type, _>(part(cells, first), |class| *class, group),
            Self::Scores(cells) => put::<FloatType, _>(part(cells, first), |score| *score, group),
        }
    }
}

fn part<C>(cells: &[C], first: usize) -> &[C] {
    &cells[first..cells.len().min(first + 2)]
}

fn put<T: DataType, C>(
    cells: &[Option<C>],
    value: impl Fn(&C) -> T::T,
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
) {
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.iter().flatten().map(value).collect();
    let mut column = group.next_column().expect("writable").expect("a column");
    column.typed::<T>().write_batch(&values, Some(&levels), None).expect("writable");
    column.close().expect("writable");
}

/// A file of these columns, packed by snappy, in groups of two rows.
pub fn file(columns: &[(&str, Cells)]) -> Vec<u8> {
    let column = |(name, cells): &(&str, Cells)| {
        let (kind, logical) = cells.kind();
        format!("OPTIONAL {kind} {name} {logical};")
    };
    let schema = format!("message schema {{ {} }}", columns.iter().map(column).collect::<String>());
    let schema = Arc::new(parse_message_type(&schema).expect("a schema"));
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties).expect("a writer");
    for first in (0..columns[0].1.len()).step_by(2) {
        let mut group = writer.next_row_group().expect("a group");
        for (_, cells) in columns {
            cells.write(first, &mut group);
        }
        group.close().expect("writable");
    }
    writer.close().expect("writable");
    bytes
}
