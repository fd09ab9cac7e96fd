//! A safetensors file, mapped into memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorInfo};
use tch::{Kind, Tensor};

use crate::container::{Container, Encoding, PageCache, WeightsError, first_line, open_error};
use crate::mapped::{Mapped, mapped};

pub(crate) struct SafetensorsFile {
    path: PathBuf,
    map: Mapped,
    tensors: BTreeMap<String, TensorEntry>,
    /// Whole numbers, with their type.
    others: BTreeMap<String, String>,
}

/// Where a tensor lies in the file, and what it is.
struct TensorEntry {
    bytes: Range<usize>,
    shape: Vec<i64>,
    kind: Kind,
}

impl SafetensorsFile {
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let map = mapped(path)?;
        // The header's own length stands before it in eight bytes; offsets count from its end.
        let (header, metadata) = SafeTensors::read_metadata(map.bytes().map_err(|reason| open_error(path, reason))?)
            .map_err(|_| open_error(path, "truncated or damaged, or no safetensors file: download it again"))?;
        let (mut tensors, mut others) = (BTreeMap::new(), BTreeMap::new());
        for (name, info) in metadata.tensors() {
            match kind(info.dtype).map_err(|reason| open_error(path, format!("tensor `{name}` {reason}")))? {
                Some(kind) => {
                    tensors.insert(name, TensorEntry::new(info, size_of::<u64>() + header, kind));
                }
                None => {
                    others.insert(name, format!("{:?}", info.dtype));
                }
            }
        }
        Ok(Self { path: path.to_owned(), map, tensors, others })
    }
}

impl TensorEntry {
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
        other => Err(format!(
            "is stored as {other:?}: a quantised checkpoint, which is not read here; convert the checkpoint to bf16, f16 \
             or f32"
        )),
    }
}

impl Container for SafetensorsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn shapes(&self) -> BTreeMap<String, Vec<i64>> {
        self.tensors.iter().map(|(name, entry)| (name.clone(), entry.shape.clone())).collect()
    }

    fn others(&self) -> BTreeMap<String, String> {
        self.others.clone()
    }

    fn read(&self, name: &str) -> Result<Tensor, String> {
        let TensorEntry { bytes, shape, kind } = self.tensors.get(name).ok_or("not in the file")?;
        let bytes = self.map.bytes()?.get(bytes.clone()).ok_or("outside the file")?;
        // libtorch reads as many bytes as the shape says.
        let numbers = shape.iter().try_fold(kind.elt_size_in_bytes(), |size, &n| size.checked_mul(n as usize));
        if numbers != Some(bytes.len()) {
            return Err(format!("{} bytes do not hold {shape:?} numbers of {kind:?}", bytes.len()));
        }
        Tensor::f_from_data_size(bytes, shape, *kind).map_err(|error| first_line(&error))
    }

    fn release(&self, name: &str, cache: PageCache) {
        if let Some(entry) = self.tensors.get(name) {
            self.map.release(entry.bytes.clone(), cache);
        }
    }

    fn encoding(&self, name: &str) -> Option<Encoding> {
        self.tensors.get(name).map(|entry| Encoding::Plain(entry.kind))
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, String> {
        let entry = self.tensors.get(name).ok_or("not in the file")?;
        self.map.bytes()?.get(entry.bytes.clone()).map(Cow::Borrowed).ok_or("outside the file".to_owned())
    }
}
