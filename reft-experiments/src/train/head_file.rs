//! A trained classification head on disk: safetensors under the names that RoBERTa's checkpoints have, with a note of what it
//! was trained on.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use reft_core::adaptation::NamedTensor;
use reft_core::base_model::{BaseModel, Match, WrongBase};
use reft_core::f32_bytes;
use reft_core::rng::Seed;
use reft_core::value_reader;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor, no_grad};

use super::head::ClassificationHead;
use crate::data::labels::SavedLabels;

/// The key of the note among a file's metadata.
const NOTE: &str = "head";

/// What a head was trained on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HeadNote {
    /// The task.
    pub task: String,
    /// The model below it.
    pub base_model: BaseModel,
    /// What its outputs stand for; none of heads of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<SavedLabels>,
    /// The run that trained it, with the adapter below it; none of heads of earlier versions and of other libraries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// A head that cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The file system said no.
    #[error("{path}: {source}: check the path; a run of an encoder keeps its head as head.safetensors in its folder")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Not a head's file.
    #[error("{path}: {reason}: the file is truncated, damaged or no head of this program; copy it again or train anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another base model.
    #[error("{path}: the head was {source}")]
    WrongBase {
        /// The file.
        path: PathBuf,
        /// Which two.
        source: Box<WrongBase>,
    },
    /// A task with another number of classes.
    #[error(
        "{path}: the head was trained on {trained} and has {found} outputs, {task} needs {needed}: score a task with as many classes"
    )]
    Outputs {
        /// The file.
        path: PathBuf,
        /// The task it was trained on.
        trained: String,
        /// Its outputs.
        found: i64,
        /// The task at hand.
        task: &'static str,
        /// What it needs.
        needed: i64,
    },
}

/// A head as read from disk, not yet put on a model.
#[derive(Debug)]
pub struct SavedHead {
    path: PathBuf,
    /// What it was trained on.
    pub note: HeadNote,
    tensors: Vec<(String, Tensor)>,
}

/// Writes a head, complete or not at all.
///
/// # Errors
/// When the file system refuses.
pub fn save(path: &Path, head: &ClassificationHead, note: &HeadNote) -> Result<(), HeadError> {
    let entry = |NamedTensor { name, tensor }| {
        let shape: Vec<usize> = tensor.size().into_iter().map(|n| n as usize).collect();
        (key(&name), shape, f32_bytes::to_bytes(&tensor))
    };
    let entries: Vec<_> = head.named().into_iter().map(entry).collect();
    let views = entries.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes of that shape"))
    });
    let note = HashMap::from([(NOTE.to_owned(), serde_json::to_string(note).expect("plain data"))]);
    let file = safetensors::serialize(views, Some(note)).expect("consistent views");
    crate::atomic::write(path, &file).map_err(|source| HeadError::Io { path: path.to_owned(), source })
}

/// A tensor's name in files.
fn key(name: &str) -> String {
    format!("classifier.{name}")
}

impl SavedHead {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is missing or damaged, or says not what it was trained on.
    pub fn read(path: &Path) -> Result<Self, HeadError> {
        let damaged = |reason: String| HeadError::Damaged { path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(|source| HeadError::Io { path: path.to_owned(), source })?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
        let note = metadata.metadata().as_ref().and_then(|notes| notes.get(NOTE));
        let note = note.ok_or_else(|| damaged("it does not say what it was trained on".to_owned()))?;
        let note = value_reader::read_json(note).map_err(|error| damaged(format!("its note: {error}")))?;
        let mut tensors = Vec::new();
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(damaged(format!("tensor `{name}` is {:?}, heads are F32", view.dtype())));
            }
            let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
            let tensor = f32_bytes::from_bytes(view.data(), &shape);
            tensors.push((name, tensor.expect("safetensors checks that bytes are those of the shape")));
        }
        Ok(Self { path: path.to_owned(), note, tensors })
    }

    /// Whether this base model is the one it was trained on, or the same weights in another precision.
    ///
    /// # Errors
    /// When the base model is another one.
    pub fn check_base(&self, base: &BaseModel) -> Result<Match, HeadError> {
        let wrong_base = |source| HeadError::WrongBase { path: self.path.clone(), source };
        self.note.base_model.check(base).map_err(wrong_base)
    }

    /// The head with the saved values, for this base model and a task that needs so many outputs.
    ///
    /// # Errors
    /// When the base model is another one, the task has another number of classes, or a tensor is missing or of another shape.
    pub fn onto(
        &self,
        base: &BaseModel,
        task: &'static str,
        outputs: i64,
        device: Device,
    ) -> Result<ClassificationHead, HeadError> {
        self.check_base(base)?;
        let head = ClassificationHead::new(base.dims.width, outputs, Seed(0), device);
        for NamedTensor { name, tensor } in head.named() {
            self.fill(&key(&name), &tensor, task, outputs)?;
        }
        Ok(head)
    }

    fn fill(&self, name: &str, tensor: &Tensor, task: &'static str, needed: i64) -> Result<(), HeadError> {
        let path = || self.path.clone();
        let found = self.tensors.iter().find(|(saved, _)| saved == name);
        let missing = || HeadError::Damaged { path: path(), reason: format!("tensor `{name}` is missing") };
        let (_, trained) = found.ok_or_else(missing)?;
        let (shape, wanted) = (trained.size(), tensor.size());
        if shape == wanted {
            no_grad(|| tensor.shallow_clone().copy_(trained));
            return Ok(());
        }
        if shape.len() == wanted.len() && shape[0] != needed && wanted[0] == needed {
            let (trained, found) = (self.note.task.clone(), shape[0]);
            return Err(HeadError::Outputs { path: path(), trained, found, task, needed });
        }
        let reason = format!("tensor `{name}` has shape {shape:?}, this model needs {wanted:?}");
        Err(HeadError::Damaged { path: path(), reason })
    }
}
