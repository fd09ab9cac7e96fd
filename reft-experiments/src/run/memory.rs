//! How much memory a run will take, said before it starts, and refused where it cannot fit.

use tch::Device;

use crate::config::plan::RunPlan;
use crate::machine::memory::{AvailableMemory, MemoryLimit};
use crate::machine::{self, env, root};

/// libtorch's own libraries, threads and buffers, measured with a tiny model.
pub const FIXED: usize = 400 << 20;

/// The passes that a model is loaded for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModelPasses {
    /// It answers.
    Forward,
    /// Gradients pass through its weights as well.
    ForwardAndBackward,
}

impl ModelPasses {
    /// What a plan's run does: the weights of an encoder are not held twice.
    pub fn of(plan: &RunPlan) -> Self {
        if plan.adapt.is_some() && !plan.kind().has_head() { Self::ForwardAndBackward } else { Self::Forward }
    }

    /// How often each weight is held: once more, transposed, for gradients.
    pub fn weight_copies(self) -> usize {
        match self {
            Self::Forward => 1,
            Self::ForwardAndBackward => 2,
        }
    }

    /// The least that a model takes whose weights have so many bytes, known before any is read.
    pub fn least(self, weights: usize) -> usize {
        match self {
            Self::Forward => weights,
            Self::ForwardAndBackward => FIXED.saturating_add(weights.saturating_mul(self.weight_copies())),
        }
    }
}

/// Bytes that a run needs, by what for.
pub trait MemoryEstimate {
    /// All of it, what does not happen at the same time counted once.
    fn total(&self) -> usize;

    /// In words.
    fn describe(&self) -> String;

    /// The settings that make it less.
    fn remedy(&self) -> &'static str;

    /// Refuses a run that cannot fit into `available` bytes.
    ///
    /// # Errors
    /// When it cannot.
    fn check(&self, available: Option<AvailableMemory>) -> Result<(), TooLarge> {
        match available {
            Some(AvailableMemory { bytes, limit }) if self.total() > bytes => Err(TooLarge {
                needed: self.total() >> 20,
                available: bytes >> 20,
                limit,
                estimate: self.describe(),
                remedy: self.remedy(),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// A run that does not fit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "this run needs about {needed} MiB of memory and {available} MiB are available, by {limit} ({estimate}): {remedy}, or take a \
     smaller model"
)]
pub struct TooLarge {
    needed: usize,
    available: usize,
    limit: MemoryLimit,
    estimate: String,
    remedy: &'static str,
}

/// Says what memory a run will take, and refuses one that cannot fit. `resident` bytes of it are there already: the weights.
///
/// # Errors
/// When it cannot fit.
pub fn settle(estimate: &dyn MemoryEstimate, device: Device, resident: usize) -> Result<(), TooLarge> {
    estimate.check(available(device).map(|available| available.plus(resident)))?;
    eprintln!("memory: about {} MiB ({})", estimate.total() >> 20, estimate.describe());
    Ok(())
}

/// Memory that this process can still take, where the machine, a control group or Slurm says so; nothing is known of other
/// devices.
pub fn available(device: Device) -> Option<AvailableMemory> {
    if device == Device::Cpu { machine::memory::available(root(), &env) } else { None }
}
