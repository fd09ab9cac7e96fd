//! Writes GGUF files (version 3), as far as tests need them.

use std::path::Path;

use tch::{Kind, Tensor};

/// A metadata value; each test writes some of these kinds.
#[derive(Debug, Clone)]
#[allow(dead_code)]
pub enum Metadata {
    U32(u32),
    I32(i32),
    U64(u64),
    F32(f32),
    Bool(bool),
    String(String),
}

/// A tensor as it lies in the file.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The slowest dimension first.
    shape: Vec<i64>,
    /// ggml's number of the type.
    kind: u32,
    bytes: Vec<u8>,
}

impl Stored {
    /// The values in f32.
    pub fn f32(tensor: &Tensor) -> Self {
        let values = Vec::<f32>::try_from(tensor.to_kind(Kind::Float).contiguous().flatten(0, -1)).expect("f32 values");
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { shape: tensor.size(), kind: 0, bytes }
    }

    /// Whole blocks of a type.
    #[allow(dead_code)]
    pub fn blocks(shape: &[i64], kind: u32, bytes: Vec<u8>) -> Self {
        Self { shape: shape.to_vec(), kind, bytes }
    }
}

const ALIGNMENT: usize = 32;

/// Writes a file anew.
pub fn write(path: &Path, metadata: &[(&str, &Metadata)], tensors: &[(&str, &Stored)]) {
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(&mut out, key);
        let (kind, bytes): (u32, Vec<u8>) = match value {
            Metadata::U32(number) => (4, number.to_le_bytes().into()),
            Metadata::I32(number) => (5, number.to_le_bytes().into()),
            Metadata::F32(number) => (6, number.to_le_bytes().into()),
            Metadata::Bool(switch) => (7, vec![u8::from(*switch)]),
            Metadata::U64(number) => (10, number.to_le_bytes().into()),
            Metadata::String(value) => {
                let mut bytes = Vec::new();
                text(&mut bytes, value);
                (8, bytes)
            }
        };
        out.extend(kind.to_le_bytes());
        out.extend(bytes);
    }
    let mut data = Vec::new();
    for (name, tensor) in tensors {
        text(&mut out, name);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().rev().for_each(|dimension| out.extend(dimension.to_le_bytes()));
        out.extend(tensor.kind.to_le_bytes());
        out.extend((data.len() as u64).to_le_bytes());
        data.extend(&tensor.bytes);
        data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
    }
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    out.extend(data);
    std::fs::write(path, out).expect("written");
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
