//! What stands before the tensors of a GGUF file: metadata, and name, type, shape and place of each tensor.
//!
//! The format is described in ggml's `docs/gguf.md`; versions 1 to 3, little-endian.

use std::collections::BTreeMap;
use std::fmt;

use super::block::Storage;

/// Files align their tensors to this many bytes unless `general.alignment` says otherwise.
const ALIGNMENT: u64 = 32;

/// Lists may hold lists, though no writer is known that goes deeper than two.
const DEEPEST: usize = 8;

/// A header.
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, Metadata>,
    pub(super) tensors: BTreeMap<String, Entry>,
    /// Bytes before the first tensor.
    pub(super) data_begins: u64,
}

/// A metadata value. GGUF has eight widths of integers and two of floats, and writers differ in which they take.
#[derive(Debug, Clone)]
pub(super) enum Metadata {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Metadata>),
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Bool(switch) => write!(f, "{switch}"),
            Self::Text(text) => f.write_str(text),
            Self::List(list) => write!(f, "a list of {}", list.len()),
        }
    }
}

impl Metadata {
    pub(super) fn integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { i64::try_from(*number).ok() } else { None }
    }

    pub(super) fn float(&self) -> Option<f64> {
        if let Self::Float(number) = self { Some(*number) } else { None }
    }

    pub(super) fn bool(&self) -> Option<bool> {
        if let Self::Bool(switch) = self { Some(*switch) } else { None }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn list(&self) -> Option<&[Self]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }
}

/// Where a tensor lies and how.
pub(super) struct Entry {
    pub(super) storage: Storage,
    /// The slowest dimension first, as in PyTorch; the file has them the other way round.
    pub(super) shape: Vec<i64>,
    /// From [`Header::data_begins`].
    pub(super) offset: u64,
    /// Size in bytes.
    pub(super) size: u64,
}

impl Header {
    /// # Errors
    /// What is wrong, when the bytes are no such header or end within it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut cursor = Cursor { bytes, at: 0, version: 0 };
        if cursor.take(4)? != b"GGUF" {
            return Err("it does not begin with `GGUF`".to_owned());
        }
        cursor.version = cursor.u32()?;
        if !(1..=3).contains(&cursor.version) {
            return Err(format!("version {} of the format; 1 to 3 are read", cursor.version));
        }
        let (tensors, keys) = (cursor.length()?, cursor.length()?);
        let mut metadata = BTreeMap::new();
        for _ in 0..keys {
            let key = cursor.text()?;
            let kind = cursor.u32()?;
            metadata.insert(key, cursor.value(kind, 0)?);
        }
        let tensors = (0..tensors).map(|_| cursor.entry()).collect::<Result<BTreeMap<_, _>, _>>()?;
        let alignment = metadata.get("general.alignment").and_then(Metadata::integer).unwrap_or(ALIGNMENT as i64);
        let alignment = u64::try_from(alignment).ok().filter(|&bytes| bytes > 0);
        let alignment = alignment.ok_or("`general.alignment` is not a positive number")?;
        let data_begins = (cursor.at as u64).next_multiple_of(alignment);
        Ok(Self { metadata, tensors, data_begins })
    }

    /// The byte after a tensor's last one; none when a damaged header says more than can be counted.
    pub(super) fn end(&self, entry: &Entry) -> Option<u64> {
        self.data_begins.checked_add(entry.offset)?.checked_add(entry.size)
    }
}

/// Reads what stands next.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    version: u32,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        self.at += taken.map_or(0, <[u8]>::len);
        taken.ok_or_else(|| "it ends within its header".to_owned())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were asked for"))
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// Lengths have four bytes in version 1.
    fn length(&mut self) -> Result<usize, String> {
        let length = if self.version == 1 { u64::from(self.u32()?) } else { self.u64()? };
        // Whatever is counted takes at least a byte each.
        let fits = usize::try_from(length).ok().filter(|&length| length <= self.bytes.len());
        fits.ok_or_else(|| format!("it counts {length} parts, more than its bytes"))
    }

    /// Some writers end texts with NUL, and a token may be part of a character.
    fn text(&mut self) -> Result<String, String> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<Metadata, String> {
        Ok(match kind {
            0 => Metadata::Integer(u8::from_le_bytes(self.array()?).into()),
            1 => Metadata::Integer(i8::from_le_bytes(self.array()?).into()),
            2 => Metadata::Integer(u16::from_le_bytes(self.array()?).into()),
            3 => Metadata::Integer(i16::from_le_bytes(self.array()?).into()),
            4 => Metadata::Integer(self.u32()?.into()),
            5 => Metadata::Integer(i32::from_le_bytes(self.array()?).into()),
            6 => Metadata::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Metadata::Bool(self.array::<1>()? != [0]),
            8 => Metadata::Text(self.text()?),
            9 if depth < DEEPEST => {
                let (kind, length) = (self.u32()?, self.length()?);
                Metadata::List((0..length).map(|_| self.value(kind, depth + 1)).collect::<Result<_, _>>()?)
            }
            10 => Metadata::Integer(self.u64()?.into()),
            11 => Metadata::Integer(i64::from_le_bytes(self.array()?).into()),
            12 => Metadata::Float(f64::from_le_bytes(self.array()?)),
            9 => return Err(format!("lists in lists, {DEEPEST} deep")),
            other => return Err(format!("a metadata value of the unknown type {other}")),
        })
    }

    fn entry(&mut self) -> Result<(String, Entry), String> {
        let name = self.text()?;
        let dimensions = self.u32()?;
        if dimensions > 4 {
            return Err(format!("tensor `{name}` has {dimensions} dimensions; the format has at most 4"));
        }
        let dimension =
            |cursor: &mut Self| if cursor.version == 1 { cursor.u32().map(u64::from) } else { cursor.u64() };
        let mut shape = (0..dimensions).map(|_| dimension(self)).collect::<Result<Vec<u64>, _>>()?;
        shape.reverse();
        let kind = self.u32()?;
        let storage = Storage::of(kind).map_err(|what| format!("tensor `{name}` is {what}"))?;
        let too_large = || format!("tensor `{name}` has more values than can be counted");
        let values = shape.iter().try_fold(1_u64, |product, &n| product.checked_mul(n)).ok_or_else(too_large)?;
        let (of_block, bytes) = storage.block();
        if !values.is_multiple_of(of_block as u64) {
            return Err(format!("tensor `{name}` has {values} values, not a multiple of the {of_block} of a block"));
        }
        let size = (values / of_block as u64).checked_mul(bytes as u64).ok_or_else(too_large)?;
        let offset = self.u64()?;
        let shape = shape.into_iter().map(|n| i64::try_from(n).map_err(|_| too_large())).collect::<Result<_, _>>()?;
        Ok((name, Entry { storage, shape, offset, size }))
    }
}
