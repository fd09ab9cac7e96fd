//! One file of a checkpoint, whatever its format, and what can be wrong with it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};

use crate::raw_config::ModelConfigError;

/// A kind of file that is read, for lists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileKind {
    /// What it is called.
    pub name: String,
    /// What of it is read, and what is left out and why, in a line.
    pub about: String,
}

impl FileKind {
    /// One of these.
    pub(crate) fn new(name: impl Into<String>, about: impl Into<String>) -> Self {
        Self { name: name.into(), about: about.into() }
    }
}

/// A checkpoint that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The metadata of a GGUF file is wrong.
    #[error(transparent)]
    Config(#[from] ModelConfigError),
    /// Nothing there, or not what it should be.
    #[error("{path}: {reason}")]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The checkpoint has no such tensor.
    #[error("{path}: tensor `{name}` is missing: {hint}")]
    Missing {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is there instead, and what to do.
        hint: String,
    },
    /// The checkpoint has a tensor that the configuration knows nothing of.
    #[error("{path}: tensor `{name}` is there, but config.json announces none: they do not belong together")]
    Unexpected {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// The weights are stored in a type that holds no weights by itself.
    #[error(
        "{path}: tensor `{name}` is stored as {stored}: the checkpoint is quantised, which is not read here; take the \
         checkpoint that it was made from, or de-quantise it and save it anew in bf16, f16 or f32"
    )]
    Quantised {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The type.
        stored: String,
    },
    /// The tensor has another shape than the configuration says.
    #[error("{path}: tensor `{name}` has shape {found:?}, config.json needs {expected:?}: they do not belong together")]
    Shape {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<i64>,
        /// The shape wanted.
        expected: Vec<i64>,
    },
    /// The tensor is too large for where it should go.
    #[error("{path}: tensor `{name}` does not fit on {device:?} ({reason}): use a narrower type or another device")]
    Place {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Where it should go.
        device: Device,
        /// libtorch's words.
        reason: String,
    },
    /// The tensor's bytes cannot be read.
    #[error("{path}: tensor `{name}`: {reason}: the file is truncated or damaged; download it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The reader's words.
        reason: String,
    },
}

/// Makes an open error for `path`.
pub(crate) fn open_error(path: &Path, reason: impl Into<String>) -> WeightsError {
    WeightsError::Open { path: path.to_owned(), reason: reason.into() }
}

/// How a tensor's values are encoded in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Encoding {
    /// One after the other, in a floating-point type.
    Plain(Kind),
    /// In blocks with common scales; the format's name, such as `Q4_K`.
    Quantised(String),
}

/// What becomes of a file's pages that have been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PageCache {
    /// They stay in the system's cache, for the next process.
    Kept,
    /// They make room there: for pages that are still to be read, where memory is short.
    Dropped,
}

/// One file of a checkpoint.
pub(crate) trait Container {
    /// The file.
    fn path(&self) -> &Path;

    /// Every floating-point tensor's name and shape.
    fn shapes(&self) -> BTreeMap<String, Vec<i64>>;

    /// Every other tensor's name and the type it is stored in.
    fn others(&self) -> BTreeMap<String, String>;

    /// The whole tensor on the host, in the type it is stored in. The error is the reader's words.
    fn read(&self, name: &str) -> Result<Tensor, String>;

    /// Says that the tensor has been read and will not soon be read again.
    fn release(&self, name: &str, cache: PageCache);

    /// How the tensor's values are encoded; none when the file has no such tensor.
    fn encoding(&self, name: &str) -> Option<Encoding>;

    /// The tensor's bytes as the file encodes them, row by row in Hugging Face's order. The error is the reader's words.
    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, String> {
        let tensor = self.read(name)?;
        let kind = match self.encoding(name) {
            Some(Encoding::Plain(kind)) => kind,
            Some(Encoding::Quantised(_)) | None => tensor.kind(),
        };
        bytes_of(&tensor, kind).map(Cow::Owned)
    }
}

/// The values of a tensor in this type, row by row. The error is libtorch's words.
pub(crate) fn bytes_of(tensor: &Tensor, kind: Kind) -> Result<Vec<u8>, String> {
    let tensor = tensor.f_to_kind(kind).and_then(|tensor| tensor.f_contiguous()).map_err(|error| first_line(&error))?;
    let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel()).map_err(|error| first_line(&error))?;
    Ok(bytes)
}

/// libtorch's message without the stack trace it appends.
pub(crate) fn first_line(error: &tch::TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
