//! The state of a training run between two updates, enough to continue it to the same end.

use std::path::{Path, PathBuf};

use reft_core::f32_bytes;
use reft_core::params::ParamSet;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tch::{Tensor, no_grad};

use super::adamw::AdamW;

/// A checkpoint that cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system said no.
    #[error("{path}: {source}: check the path, its permissions and the space left")]
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

/// The head's gradient of the last update, where it is kept.
const KEPT: &str = "head.gradient";

/// The tensors of the `index`-th set of parameters: the adaptation's come first, a head's are set apart by a prefix.
fn key(index: usize, name: &str) -> String {
    if index == 0 { name.to_owned() } else { format!("head.{name}") }
}

/// Everything that a step changes: parameters, both moments, updates done, and a head's gradient where that is kept. The
/// batches and the dropout masks of a step follow from the seed and the step's number, so no generator and no cursor need
/// saving.
///
/// # Errors
/// When the file system refuses.
pub fn save(
    path: &Path,
    sets: &[&ParamSet],
    optimisers: &[AdamW],
    kept: Option<&Tensor>,
) -> Result<(), CheckpointError> {
    let of_set = |(index, (set, optimiser)): (usize, (&&ParamSet, &AdamW))| {
        [("flat", set.flat()), ("first", &optimiser.first), ("second", &optimiser.second)]
            .map(|(name, tensor)| (key(index, name), tensor.shallow_clone()))
    };
    let states = sets.iter().zip(optimisers).enumerate().flat_map(of_set);
    let kept = kept.map(|kept| (KEPT.to_owned(), kept.shallow_clone()));
    let tensors: Vec<(String, Tensor)> = states.chain(kept).collect();
    write(path, &tensors, optimisers[0].updates)
}

/// Writes the parameters alone, with one number.
///
/// # Errors
/// When the file system refuses.
pub fn save_parameters(path: &Path, sets: &[&ParamSet], number: u64) -> Result<(), CheckpointError> {
    let of_set = |(index, set): (usize, &&ParamSet)| (key(index, "flat"), set.flat().shallow_clone());
    write(path, &sets.iter().enumerate().map(of_set).collect::<Vec<_>>(), number)
}

/// Puts saved parameters back, bit for bit; the number written with them, or none when there is no file.
///
/// # Errors
/// When the file is truncated or belongs to parameters of another number.
pub fn load_parameters(path: &Path, sets: Vec<&mut ParamSet>) -> Result<Option<u64>, CheckpointError> {
    let Some(saved) = Saved::read(path)? else { return Ok(None) };
    for (index, set) in sets.into_iter().enumerate() {
        set.load(&saved.tensor(&key(index, "flat"), set.count())?);
    }
    Ok(Some(saved.number))
}

fn write(path: &Path, tensors: &[(String, Tensor)], number: u64) -> Result<(), CheckpointError> {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, tensor)| f32_bytes::to_bytes(tensor)).collect();
    let updates = number.to_le_bytes();
    let mut views: Vec<(&str, TensorView<'_>)> = Vec::new();
    for ((name, tensor), bytes) in tensors.iter().zip(&bytes) {
        views.push((name, TensorView::new(Dtype::F32, vec![tensor.numel()], bytes).expect("bytes of that shape")));
    }
    views.push(("updates", TensorView::new(Dtype::U64, vec![1], &updates).expect("eight bytes")));
    let file = safetensors::serialize(views, None).expect("consistent views");
    crate::atomic::write(path, &file).map_err(|source| CheckpointError::Io { path: path.to_owned(), source })
}

/// A saved state, read.
pub struct Saved {
    path: PathBuf,
    bytes: Vec<u8>,
    number: u64,
}

impl Saved {
    /// None when there is no file.
    ///
    /// # Errors
    /// When the file is truncated.
    pub fn read(path: &Path) -> Result<Option<Self>, CheckpointError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CheckpointError::Io { path: path.to_owned(), source }),
        };
        let mut saved = Self { path: path.to_owned(), bytes, number: 0 };
        let number = saved.view("updates", |view| view.data().try_into().ok())?;
        saved.number = u64::from_le_bytes(number.ok_or(saved.damaged("updates is not one number".to_owned()))?);
        Ok(Some(saved))
    }

    /// Updates done when it was saved.
    pub fn updates(&self) -> u64 {
        self.number
    }

    /// Puts the state into the parameters, the optimisers and a head's gradient where that is kept.
    ///
    /// # Errors
    /// When it belongs to parameters of another number; nothing is changed then.
    pub fn restore(
        &self,
        sets: Vec<&mut ParamSet>,
        optimisers: &mut [AdamW],
        kept: Option<&mut Tensor>,
    ) -> Result<(), CheckpointError> {
        let counts = sets.iter().map(|set| set.count());
        let of_set = |(index, count)| -> Result<[Tensor; 3], CheckpointError> {
            let tensor = |name: &str| self.tensor(&key(index, name), count);
            Ok([tensor("flat")?, tensor("first")?, tensor("second")?])
        };
        // All are read before any is used: a damaged file changes nothing.
        let read: Vec<[Tensor; 3]> = counts.enumerate().map(of_set).collect::<Result<_, _>>()?;
        if let Some(kept) = kept {
            let gradient = self.tensor(KEPT, kept.numel() as i64)?;
            no_grad(|| kept.copy_(&gradient));
        }
        for ((set, optimiser), [flat, first, second]) in sets.into_iter().zip(optimisers).zip(&read) {
            set.load(flat);
            no_grad(|| {
                optimiser.first.copy_(first);
                optimiser.second.copy_(second);
            });
            optimiser.updates = self.number;
        }
        Ok(())
    }

    fn damaged(&self, reason: String) -> CheckpointError {
        CheckpointError::Damaged { path: self.path.clone(), reason }
    }

    fn view<T>(&self, name: &str, read: impl Fn(&TensorView<'_>) -> T) -> Result<T, CheckpointError> {
        let file = SafeTensors::deserialize(&self.bytes).map_err(|error| self.damaged(error.to_string()))?;
        file.tensor(name).map(|view| read(&view)).map_err(|error| self.damaged(error.to_string()))
    }

    /// A tensor of `count` numbers.
    fn tensor(&self, name: &str, count: i64) -> Result<Tensor, CheckpointError> {
        let (tensor, bytes) =
            self.view(name, |view| (f32_bytes::from_bytes(view.data(), &[count]), view.data().len()))?;
        tensor.ok_or_else(|| self.damaged(format!("{} numbers where this run trains {count}", bytes / 4)))
    }
}
