//! A PyTorch checkpoint (`.bin`): a zip archive with a pickled dictionary of tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::DType;
use candle_core::pickle::PthTensors;
use tch::{Kind, Tensor};

use crate::weights::{Container, Encoding, WeightsError, open_error};

/// The zip form came with PyTorch 1.6; the reader knows no other.
const ADVICE: &str = "download it again, or save it anew as safetensors";

pub(crate) struct PickleFile {
    path: PathBuf,
    tensors: PthTensors,
}

impl PickleFile {
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        if !path.exists() {
            return Err(open_error(path, "no such file: is the download complete?"));
        }
        let tensors = PthTensors::new(path, None)
            .map_err(|error| open_error(path, format!("truncated or damaged ({}): {ADVICE}", brief(&error))))?;
        Ok(Self { path: path.to_owned(), tensors })
    }
}

/// A candle tensor as a libtorch one, f32. Narrower types widen without loss.
pub(crate) fn to_libtorch(tensor: &candle_core::Tensor) -> candle_core::Result<Tensor> {
    let shape: Vec<i64> = tensor.dims().iter().map(|&n| n as i64).collect();
    let values = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    Ok(Tensor::from_slice(&values).reshape(shape))
}

/// candle's message without the stack trace it may append.
pub(crate) fn brief(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl Container for PickleFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn shapes(&self) -> BTreeMap<String, Vec<i64>> {
        let infos = self.tensors.tensor_infos().iter().filter(|(_, info)| info.dtype.is_float());
        let shape = |dims: &[usize]| dims.iter().map(|&n| n as i64).collect();
        infos.map(|(name, info)| (name.clone(), shape(info.layout.dims()))).collect()
    }

    fn read(&self, name: &str) -> Result<Tensor, String> {
        let found = self.tensors.get(name).map_err(|error| brief(&error))?;
        to_libtorch(&found.ok_or("not in the archive")?).map_err(|error| brief(&error))
    }

    fn encoding(&self, name: &str) -> Option<Encoding> {
        self.tensors.tensor_infos().get(name).map(|info| Encoding::Plain(kind(info.dtype)))
    }
}

/// libtorch's name for a floating-point type; f64 is read as f32.
fn kind(stored: DType) -> Kind {
    match stored {
        DType::F16 => Kind::Half,
        DType::BF16 => Kind::BFloat16,
        _ => Kind::Float,
    }
}
