//! Tensors in a temporary file that disappears with the process.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use tch::{Device, Kind, Tensor};

/// An open file without a name.
#[derive(Debug)]
pub struct SpillFile {
    file: File,
    end: u64,
}

/// Where a tensor lies.
#[derive(Clone, Debug)]
pub struct SpilledTensor {
    at: u64,
    shape: Vec<i64>,
    kind: Kind,
    device: Device,
}

/// Size of a tensor's values.
pub fn bytes(tensor: &Tensor) -> usize {
    tensor.numel() * tensor.kind().elt_size_in_bytes()
}

impl SpillFile {
    /// An empty file in the system's folder for temporary files.
    ///
    /// # Errors
    /// When there is no such folder, or no room.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()?, end: 0 })
    }

    /// Appends a tensor.
    ///
    /// # Errors
    /// When there is no room.
    pub fn put(&mut self, tensor: &Tensor) -> std::io::Result<SpilledTensor> {
        let mut values = vec![0u8; bytes(tensor)];
        tensor.to_device(Device::Cpu).contiguous().copy_data_u8(&mut values, tensor.numel());
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&values)?;
        let stored = SpilledTensor { at: self.end, shape: tensor.size(), kind: tensor.kind(), device: tensor.device() };
        self.end += values.len() as u64;
        Ok(stored)
    }

    /// Reads a tensor back.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get(&self, stored: &SpilledTensor) -> std::io::Result<Tensor> {
        let numel: i64 = stored.shape.iter().product();
        let mut values = vec![0u8; numel as usize * stored.kind.elt_size_in_bytes()];
        self.file.read_exact_at(&mut values, stored.at)?;
        Ok(Tensor::from_data_size(&values, &stored.shape, stored.kind).to_device(stored.device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reft_core::testing::{Tol, assert_close, normal};

    #[test]
    fn spilled_tensors_are_read_back_bit_for_bit() {
        let mut spill = SpillFile::new().expect("a temporary file");
        let tensors = [normal(&[3, 5], 1), normal(&[2, 0, 4], 2), normal(&[4, 3], 3).tr().to_kind(Kind::BFloat16)];
        let stored: Vec<SpilledTensor> = tensors.iter().map(|tensor| spill.put(tensor).expect("room")).collect();
        for (tensor, stored) in tensors.iter().zip(&stored).rev() {
            assert_close("read back", &spill.get(stored).expect("readable"), tensor, Tol::Exact);
        }
    }
}
