//! Writes a dictionary of tensors as `torch.save` does, in a zip archive.

use std::io::{Cursor, Write};

use tch::{Device, Kind, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The bytes of a `.bin` file with these tensors: f32, or i64 where they hold whole numbers.
///
/// # Errors
/// When a tensor's values cannot be copied or the archive cannot be made, in words.
pub fn dictionary(tensors: &[(String, Tensor)]) -> Result<Vec<u8>, String> {
    let mut pickle = vec![0x80, 2];
    class(&mut pickle, "collections", "OrderedDict");
    pickle.extend(b")R(");
    let mut storages = Vec::new();
    for (key, (name, tensor)) in tensors.iter().enumerate() {
        let (kind, storage) =
            if tensor.kind() == Kind::Int64 { (Kind::Int64, "LongStorage") } else { (Kind::Float, "FloatStorage") };
        let tensor = tensor.detach().to_device(Device::Cpu).to_kind(kind).contiguous();
        text(&mut pickle, name);
        entry(&mut pickle, key, storage, &tensor);
        let mut bytes = vec![0u8; tensor.numel() * kind.elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel()).map_err(|error| error.to_string())?;
        storages.push(bytes);
    }
    pickle.extend(b"u.");
    archive(&pickle, &storages).map_err(|error| error.to_string())
}

fn archive(pickle: &[u8], storages: &[Vec<u8>]) -> zip::result::ZipResult<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |name: String, bytes: &[u8]| -> zip::result::ZipResult<()> {
        // torch maps storages into memory: they lie at multiples of 64 bytes.
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(64);
        zip.start_file(name, options)?;
        Ok(zip.write_all(bytes)?)
    };
    add("archive/data.pkl".to_owned(), pickle)?;
    add("archive/byteorder".to_owned(), b"little")?;
    for (key, bytes) in storages.iter().enumerate() {
        add(format!("archive/data/{key}"), bytes)?;
    }
    add("archive/version".to_owned(), b"3\n")?;
    Ok(zip.finish()?.into_inner())
}

/// A contiguous tensor that is all of a storage.
fn entry(out: &mut Vec<u8>, key: usize, storage: &str, tensor: &Tensor) {
    class(out, "torch._utils", "_rebuild_tensor_v2");
    out.extend(b"((");
    text(out, "storage");
    class(out, "torch", storage);
    text(out, &key.to_string());
    text(out, "cpu");
    number(out, tensor.numel() as i64);
    out.extend(b"tQ");
    number(out, 0);
    for sizes in [tensor.size(), tensor.stride()] {
        out.push(b'(');
        for size in sizes {
            number(out, size);
        }
        out.push(b't');
    }
    out.push(0x89);
    class(out, "collections", "OrderedDict");
    out.extend(b")RtR");
}

fn class(out: &mut Vec<u8>, module: &str, name: &str) {
    out.extend(format!("c{module}\n{name}\n").bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.bytes());
}

/// A whole number of eight bytes.
fn number(out: &mut Vec<u8>, value: i64) {
    out.extend([0x8a, 8]);
    out.extend(value.to_le_bytes());
}
