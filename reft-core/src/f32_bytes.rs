//! Tensors as the bytes of files: f32, row by row, little-endian, copied as a whole.

use tch::{Device, Kind, Tensor};

#[cfg(not(target_endian = "little"))]
compile_error!("files of tensors are little-endian, and are read and written without turning bytes around");

/// The numbers of a tensor, as f32.
pub fn to_bytes(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let mut bytes = vec![0; tensor.numel() * Kind::Float.elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// The tensor of such bytes; none where they are not those of `shape`.
pub fn from_bytes(bytes: &[u8], shape: &[i64]) -> Option<Tensor> {
    let numel = usize::try_from(shape.iter().product::<i64>()).ok()?;
    (bytes.len() == numel * Kind::Float.elt_size_in_bytes()).then(|| Tensor::from_data_size(bytes, shape, Kind::Float))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_bit_by_bit_and_lie_as_the_format_says() {
        let tensor = Tensor::from_slice(&[1.5f32, -0.0, f32::NAN, f32::MIN_POSITIVE, 3.0, 2.0]).view([2, 3]).tr();
        let bytes = to_bytes(&tensor);
        assert_eq!(bytes[..4], 1.5f32.to_le_bytes());
        assert_eq!(to_bytes(&from_bytes(&bytes, &[3, 2]).expect("of that shape")), bytes);
        assert!(from_bytes(&bytes, &[5]).is_none());
    }
}
