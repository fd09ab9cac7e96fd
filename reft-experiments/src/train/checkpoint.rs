//! The state of a training run between two updates, enough to continue it to the same end.

use std::path::{Path, PathBuf};

use reft_core::params::ParamSet;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tch::{Device, Tensor, no_grad};

use super::adamw::AdamW;

/// A checkpoint that cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system said no.
    #[error("{path}: {source}: check the path and its permissions")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Truncated, or not of this run.
    #[error("{path}: {reason}: the checkpoint is damaged or of another run; delete it to start this run anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Everything that a step changes: parameters, both moments, updates done. The batches and the dropout masks of a step
/// follow from the seed and the step's number, so no generator and no cursor need saving.
///
/// # Errors
/// When the file system refuses.
pub fn save(path: &Path, params: &ParamSet, optimiser: &AdamW) -> Result<(), CheckpointError> {
    let tensors = [("flat", params.flat()), ("first", &optimiser.first), ("second", &optimiser.second)];
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, tensor)| bytes_of(tensor)).collect();
    let updates = [optimiser.updates.to_le_bytes()].concat();
    let count = params.count() as usize;
    let mut views: Vec<(&str, TensorView<'_>)> = Vec::new();
    for ((name, _), bytes) in tensors.iter().zip(&bytes) {
        views.push((name, TensorView::new(Dtype::F32, vec![count], bytes).expect("bytes of that shape")));
    }
    views.push(("updates", TensorView::new(Dtype::U64, vec![1], &updates).expect("eight bytes")));
    let file = safetensors::serialize(views, None).expect("consistent views");
    crate::atomic::write(path, &file).map_err(|source| CheckpointError::Io { path: path.to_owned(), source })
}

fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let values = Vec::<f32>::try_from(&tensor.detach().to_device(Device::Cpu)).expect("a flat f32 tensor");
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// Puts a saved state into `params` and `optimiser`; false when there is none.
///
/// # Errors
/// When the file is truncated or belongs to parameters of another number.
pub fn load(path: &Path, params: &mut ParamSet, optimiser: &mut AdamW) -> Result<bool, CheckpointError> {
    let damaged = |reason: String| CheckpointError::Damaged { path: path.to_owned(), reason };
    let Some(bytes) = read(path)? else { return Ok(false) };
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let tensor = |name: &str| -> Result<Tensor, CheckpointError> {
        let view = file.tensor(name).map_err(|error| damaged(error.to_string()))?;
        let values = view.data().chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four bytes")));
        let tensor = Tensor::from_slice(&values.collect::<Vec<_>>());
        if tensor.numel() as i64 == params.count() {
            Ok(tensor)
        } else {
            Err(damaged(format!("{} numbers where this run trains {}", tensor.numel(), params.count())))
        }
    };
    let (flat, first, second) = (tensor("flat")?, tensor("first")?, tensor("second")?);
    let updates = updates_in(&file).map_err(damaged)?;
    params.load(&flat);
    no_grad(|| {
        optimiser.first.copy_(&first);
        optimiser.second.copy_(&second);
    });
    optimiser.updates = updates;
    Ok(true)
}

/// Updates that a saved state holds; none when there is no state.
///
/// # Errors
/// When the file is damaged.
pub fn updates(path: &Path) -> Result<Option<u64>, CheckpointError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    let file = SafeTensors::deserialize(&bytes).map_err(|error| error.to_string());
    let damaged = |reason: String| CheckpointError::Damaged { path: path.to_owned(), reason };
    file.and_then(|file| updates_in(&file)).map(Some).map_err(damaged)
}

fn updates_in(file: &SafeTensors<'_>) -> Result<u64, String> {
    let updates = file.tensor("updates").map_err(|error| error.to_string())?;
    updates.data().try_into().map(u64::from_le_bytes).map_err(|_| "updates is not one number".to_owned())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, CheckpointError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CheckpointError::Io { path: path.to_owned(), source }),
    }
}
