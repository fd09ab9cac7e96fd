//! The training loop and its parts.

pub mod adamw;
pub mod batches;
pub mod checkpoint;
pub mod frozen;
pub mod learner;
pub mod objective;
pub mod observe;
pub mod progress;
mod recompute;
pub mod schedule;
mod spill;
pub mod tensorboard;
pub mod trainer;
