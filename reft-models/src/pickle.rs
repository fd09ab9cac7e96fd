//! A PyTorch checkpoint (`.bin`): a pickled dictionary of tensors with their storages, in a zip archive, or in the form
//! from before PyTorch 1.6 (*legacy*), which is pickles one after the other with the storages behind them.

mod fault;
mod files;
mod machine;
mod tensors;
pub mod writer;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};

use self::tensors::{StateDict, StridedView};
use crate::container::{Container, Encoding, PageCache, WeightsError, first_line, open_error};
use crate::mapped::{Mapped, mapped};

/// Elements at most of a tensor that repeats its storage (`expand`), which a small file could make as large as it likes.
const MOST_REPEATED: usize = 1 << 28;

pub(crate) struct PickleFile {
    path: PathBuf,
    map: Mapped,
    tensors: BTreeMap<String, StridedView>,
    /// Bytes of each storage in the file.
    storages: BTreeMap<String, Range<usize>>,
    others: BTreeMap<String, String>,
}

impl PickleFile {
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let map = mapped(path)?;
        let bytes = map.bytes().map_err(|reason| open_error(path, reason))?;
        let form = files::PickleFormat::of(bytes);
        let wrong = |reason: fault::PickleFault| open_error(path, form.describe(reason));
        let contents = form.read(bytes).map_err(wrong)?;
        let StateDict { tensors, others } = tensors::collect(&contents.heap, contents.root).map_err(wrong)?;
        for (name, view) in &tensors {
            let inside = contents.storages.get(&view.storage).is_some_and(|bytes| view.fits(bytes.len()));
            if !inside {
                return Err(wrong(fault::PickleFault::Damaged(format!("tensor `{name}` lies outside its storage"))));
            }
        }
        Ok(Self { path: path.to_owned(), map, tensors, storages: contents.storages, others })
    }
}

impl StridedView {
    /// Whether all of it lies in a storage of so many bytes.
    fn fits(&self, bytes: usize) -> bool {
        let elements = bytes / self.kind.elt_size_in_bytes();
        let Some(count) = self.count().filter(|&count| count <= elements.max(MOST_REPEATED)) else { return false };
        count == 0 || self.end().is_some_and(|end| end <= elements)
    }

    /// The tensor out of its storage's bytes, contiguous.
    fn read(&self, bytes: &[u8]) -> Result<Tensor, tch::TchError> {
        let list = |numbers: &[usize]| numbers.iter().map(|&n| n as i64).collect::<Vec<_>>();
        let (shape, width) = (list(&self.shape), self.kind.elt_size_in_bytes());
        let (Some(end), Some(1..)) = (self.end(), self.count()) else {
            return Tensor::f_zeros(&shape, (self.kind, Device::Cpu));
        };
        let used = bytes.get(self.offset * width..end * width);
        let used = used.ok_or_else(|| tch::TchError::Shape("outside the file".to_owned()))?;
        let count = end - self.offset;
        if self.is_contiguous() {
            return Tensor::f_from_data_size(used, &shape, self.kind);
        }
        let flat = Tensor::f_from_data_size(used, &[count as i64], self.kind)?;
        Ok(flat.f_as_strided(&shape, list(&self.stride), 0)?.contiguous())
    }
}

impl Container for PickleFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn shapes(&self) -> BTreeMap<String, Vec<i64>> {
        let shape = |view: &StridedView| view.shape.iter().map(|&n| n as i64).collect();
        self.tensors.iter().map(|(name, view)| (name.clone(), shape(view))).collect()
    }

    fn others(&self) -> BTreeMap<String, String> {
        self.others.clone()
    }

    fn read(&self, name: &str) -> Result<Tensor, String> {
        let view = self.tensors.get(name).ok_or("not in the file")?;
        let whole = self.map.bytes()?;
        let bytes = self.storages.get(&view.storage).and_then(|range| whole.get(range.clone()));
        view.read(bytes.ok_or("outside the file")?).map_err(|error| first_line(&error))
    }

    fn release(&self, name: &str, cache: PageCache) {
        if let Some(bytes) = self.tensors.get(name).and_then(|view| self.storages.get(&view.storage)) {
            self.map.release(bytes.clone(), cache);
        }
    }

    fn encoding(&self, name: &str) -> Option<Encoding> {
        self.tensors.get(name).map(|view| Encoding::Plain(view.kind))
    }
}

/// libtorch's name for the elements of a storage; none for those that hold no floating-point numbers.
fn kind(storage: &str) -> Option<Kind> {
    match storage {
        "DoubleStorage" | "float64" | "double" => Some(Kind::Double),
        "FloatStorage" | "float32" | "float" => Some(Kind::Float),
        "HalfStorage" | "float16" | "half" => Some(Kind::Half),
        "BFloat16Storage" | "bfloat16" => Some(Kind::BFloat16),
        _ => None,
    }
}
