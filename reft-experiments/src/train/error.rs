//! Why training stopped before its end.

use std::path::PathBuf;

use reft_core::adaptation::OverlapError;
use reft_models::distributed::GroupError;

use super::checkpoint::CheckpointError;

/// Why training stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The loss or the gradient is NaN or infinite.
    #[error(
        "step {step} (epoch {epoch}): loss {loss}, gradient norm {norm} in the batch of {rows}: the adapter of \
         the last finite loss is kept; lower the learning rate, or look at these rows"
    )]
    NonFinite {
        /// The update, from 0.
        step: u64,
        /// The epoch, from 0.
        epoch: u64,
        /// The loss.
        loss: f64,
        /// The gradient's norm.
        norm: f64,
        /// The rows of the batch.
        rows: String,
    },
    /// The last update left parameters that are NaN or infinite.
    #[error(
        "after update {updates} the adapter is not finite: that of the last finite loss is kept; lower the learning rate, and delete the folder \
         to begin anew"
    )]
    NotFinite {
        /// Updates done.
        updates: u64,
    },
    /// There is nothing to train on.
    #[error(
        "no training row has an answer within {max_length} tokens, the maximum length: raise it, or give other data"
    )]
    NoLabels {
        /// Tokens a row may have.
        max_length: usize,
    },
    /// Two interventions edit one token.
    #[error(transparent)]
    Overlap(#[from] OverlapError),
    /// A process that trains with this one has ended.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The checkpoint cannot be written or used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Metrics cannot be written.
    #[error("{path}: {source}: check the path, its permissions and the space left")]
    Observe {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

impl TrainError {
    /// Whether the parameters are worth keeping all the same: those that gave the last finite loss.
    pub fn keeps_parameters(&self) -> bool {
        match self {
            Self::NonFinite { .. } | Self::NotFinite { .. } => true,
            Self::NoLabels { .. } | Self::Overlap(_) | Self::Group(_) | Self::Checkpoint(_) | Self::Observe { .. } => {
                false
            }
        }
    }
}
