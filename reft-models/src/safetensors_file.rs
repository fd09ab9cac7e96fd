//! A safetensors file, mapped into memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorInfo};
use tch::{Kind, Tensor};

use crate::weights::{Container, Encoding, WeightsError, first_line, open_error};

pub(crate) struct SafetensorsFile {
    path: PathBuf,
    map: Mmap,
    tensors: BTreeMap<String, Entry>,
}

/// Where a tensor lies in the file, and what it is.
struct Entry {
    bytes: Range<usize>,
    shape: Vec<i64>,
    kind: Kind,
}

impl SafetensorsFile {
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let io = |error: std::io::Error| open_error(path, format!("{error}: is the download complete?"));
        let file = File::open(path).map_err(io)?;
        // Safe as long as nobody changes the file meanwhile, which no reader of checkpoints guards against.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        // The header's own length stands before it in eight bytes; offsets count from its end.
        let (header, metadata) = SafeTensors::read_metadata(&map)
            .map_err(|error| open_error(path, format!("truncated or damaged ({error}): download it again")))?;
        let mut tensors = BTreeMap::new();
        for (name, info) in metadata.tensors() {
            if let Some(kind) =
                kind(info.dtype).map_err(|reason| open_error(path, format!("tensor `{name}` {reason}")))?
            {
                tensors.insert(name, Entry::new(info, size_of::<u64>() + header, kind));
            }
        }
        Ok(Self { path: path.to_owned(), map, tensors })
    }
}

impl Entry {
    fn new(info: &TensorInfo, start: usize, kind: Kind) -> Self {
        let (from, to) = info.data_offsets;
        Self { bytes: start + from..start + to, shape: info.shape.iter().map(|&n| n as i64).collect(), kind }
    }
}

/// libtorch's name for a stored type; none for whole numbers, which buffers use and weights do not.
fn kind(stored: Dtype) -> Result<Option<Kind>, String> {
    match stored {
        Dtype::F64 => Ok(Some(Kind::Double)),
        Dtype::F32 => Ok(Some(Kind::Float)),
        Dtype::F16 => Ok(Some(Kind::Half)),
        Dtype::BF16 => Ok(Some(Kind::BFloat16)),
        Dtype::BOOL
        | Dtype::U8
        | Dtype::I8
        | Dtype::U16
        | Dtype::I16
        | Dtype::U32
        | Dtype::I32
        | Dtype::U64
        | Dtype::I64 => Ok(None),
        other => Err(format!("is stored as {other:?}: convert the checkpoint to bf16, f16 or f32")),
    }
}

impl Container for SafetensorsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn shapes(&self) -> BTreeMap<String, Vec<i64>> {
        self.tensors.iter().map(|(name, entry)| (name.clone(), entry.shape.clone())).collect()
    }

    fn read(&self, name: &str) -> Result<Tensor, String> {
        let Entry { bytes, shape, kind } = self.tensors.get(name).ok_or("not in the file")?;
        let bytes = self.map.get(bytes.clone()).ok_or("outside the file")?;
        Tensor::f_from_data_size(bytes, shape, *kind).map_err(|error| first_line(&error))
    }

    fn encoding(&self, name: &str) -> Option<Encoding> {
        self.tensors.get(name).map(|entry| Encoding::Plain(entry.kind))
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, String> {
        let entry = self.tensors.get(name).ok_or("not in the file")?;
        self.map.get(entry.bytes.clone()).map(Cow::Borrowed).ok_or("outside the file".to_owned())
    }
}
