//! The training loop and its parts.

pub mod adamw;
pub mod batches;
pub mod best;
pub mod causal;
pub mod checkpoint;
pub mod classification;
pub mod composed;
pub mod error;
pub mod frozen;
pub mod head;
pub mod head_file;
pub mod interchange;
pub mod kept;
pub mod learner;
pub mod likelihood;
pub mod objective;
pub mod observe;
pub mod progress;
pub mod ranks;
mod recompute;
pub mod schedule;
pub mod shelf;
mod spill;
pub mod targets;
pub mod tensorboard;
pub mod trainer;
pub mod validation;
