//! `.bin` files as PyTorch writes them, in both forms, from plain bytes.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A storage: its class in PyTorch and its bytes.
pub struct Storage {
    pub class: &'static str,
    pub width: usize,
    pub bytes: Vec<u8>,
}

impl Storage {
    pub fn floats(values: &[f32]) -> Self {
        Self { class: "FloatStorage", width: 4, bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
    }
}

/// What a file holds.
pub enum Item {
    /// Storage, offset, sizes, strides.
    Tensor(usize, i32, Vec<i32>, Vec<i32>),
    /// The same, wrapped as a parameter.
    Parameter(usize, i32, Vec<i32>, Vec<i32>),
    Dict(Vec<(String, Item)>),
    /// An object of another class.
    Object,
    Number(i32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Zip,
    Legacy,
}

/// A whole file.
pub fn file(form: Form, item: &Item, storages: &[Storage]) -> Vec<u8> {
    let mut pickle = vec![0x80, 2];
    put(&mut pickle, item, storages, form);
    pickle.push(b'.');
    match form {
        Form::Zip => archive(&pickle, storages),
        Form::Legacy => legacy(&pickle, storages),
    }
}

fn archive(pickle: &[u8], storages: &[Storage]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |name: String, bytes: &[u8]| {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file(name, options).expect("an entry");
        zip.write_all(bytes).expect("written");
    };
    add("model/data.pkl".to_owned(), pickle);
    add("model/byteorder".to_owned(), b"little");
    for (key, storage) in storages.iter().enumerate() {
        add(format!("model/data/{key}"), &storage.bytes);
    }
    zip.finish().expect("a file").into_inner()
}

fn legacy(pickle: &[u8], storages: &[Storage]) -> Vec<u8> {
    let magic = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    let mut file =
        [&[0x80, 2, 0x8a, 10][..], &magic, b".", &[0x80, 2, b'M', 0xe9, 3, b'.'], &[0x80, 2, b'}', b'(']].concat();
    text(&mut file, "little_endian");
    file.extend([0x88, b'u', b'.']);
    file.extend(pickle);
    file.extend([0x80, 2, b']', b'(']);
    (0..storages.len()).for_each(|key| text(&mut file, &key.to_string()));
    file.extend(b"e.");
    for storage in storages {
        file.extend(((storage.bytes.len() / storage.width) as i64).to_le_bytes());
        file.extend(&storage.bytes);
    }
    file
}

fn put(out: &mut Vec<u8>, item: &Item, storages: &[Storage], form: Form) {
    match item {
        Item::Number(value) => number(out, *value),
        Item::Object => {
            class(out, "__main__", "Net");
            out.extend([b')', 0x81]);
        }
        Item::Dict(items) => {
            class(out, "collections", "OrderedDict");
            out.extend(b")R(");
            for (name, item) in items {
                text(out, name);
                put(out, item, storages, form);
            }
            out.push(b'u');
        }
        Item::Parameter(storage, offset, sizes, strides) => {
            class(out, "torch._utils", "_rebuild_parameter");
            out.push(b'(');
            put(out, &Item::Tensor(*storage, *offset, sizes.clone(), strides.clone()), storages, form);
            out.push(0x88);
            hooks(out);
            out.extend(b"tR");
        }
        Item::Tensor(key, offset, sizes, strides) => {
            let storage = &storages[*key];
            class(out, "torch._utils", "_rebuild_tensor_v2");
            out.extend(b"((");
            text(out, "storage");
            class(out, "torch", storage.class);
            text(out, &key.to_string());
            text(out, "cpu");
            number(out, (storage.bytes.len() / storage.width) as i32);
            if form == Form::Legacy {
                out.push(b'N');
            }
            out.extend(b"tQ");
            number(out, *offset);
            for sizes in [sizes, strides] {
                out.push(b'(');
                for &size in sizes {
                    number(out, size);
                }
                out.push(b't');
            }
            out.push(0x89);
            hooks(out);
            out.extend(b"tR");
        }
    }
}

fn hooks(out: &mut Vec<u8>) {
    class(out, "collections", "OrderedDict");
    out.extend(b")R");
}

fn class(out: &mut Vec<u8>, module: &str, name: &str) {
    out.extend(format!("c{module}\n{name}\n").bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.bytes());
}

fn number(out: &mut Vec<u8>, value: i32) {
    out.push(b'J');
    out.extend(value.to_le_bytes());
}
