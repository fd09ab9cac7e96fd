//! A safetensors file, mapped into memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tch::{Kind, Tensor};

use crate::weights::{Container, WeightsError, open_error};

pub(crate) struct SafetensorsFile {
    path: PathBuf,
    map: Mmap,
}

impl SafetensorsFile {
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let io = |error: std::io::Error| open_error(path, format!("{error}: is the download complete?"));
        let file = File::open(path).map_err(io)?;
        // Safe as long as nobody changes the file meanwhile, which no reader of checkpoints guards against.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        SafeTensors::deserialize(&map)
            .map_err(|error| open_error(path, format!("truncated or damaged ({error}): download it again")))?;
        Ok(Self { path: path.to_owned(), map })
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.map).expect("checked when opened")
    }
}

/// libtorch's name for a stored type; none for what no model weight is stored in.
fn kind(view: &TensorView<'_>) -> Option<Kind> {
    match view.dtype() {
        Dtype::F64 => Some(Kind::Double),
        Dtype::F32 => Some(Kind::Float),
        Dtype::F16 => Some(Kind::Half),
        Dtype::BF16 => Some(Kind::BFloat16),
        _ => None,
    }
}

fn shape(view: &TensorView<'_>) -> Vec<i64> {
    view.shape().iter().map(|&n| n as i64).collect()
}

impl Container for SafetensorsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn shapes(&self) -> BTreeMap<String, Vec<i64>> {
        let file = self.file();
        let floats = file.iter().filter(|(_, view)| kind(view).is_some());
        floats.map(|(name, view)| (name.to_owned(), shape(&view))).collect()
    }

    fn read(&self, name: &str) -> Result<Tensor, String> {
        let view = self.file().tensor(name).map_err(|error| error.to_string())?;
        let kind = kind(&view).ok_or_else(|| format!("stored as {:?}", view.dtype()))?;
        Tensor::f_from_data_size(view.data(), &shape(&view), kind).map_err(|error| error.to_string())
    }
}
