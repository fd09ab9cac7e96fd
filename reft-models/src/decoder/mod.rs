//! Decoders by configuration: one model, whose switches a family's file sets.
//!
//! A family ([`families`]) reads `config.json` into a [`DecoderConfig`] and names its tensors ([`names::ModuleNames`]); the rest is
//! the same for all: [`block`], [`attention`], [`mlp`], [`norm`], and the model around them.

pub mod attention;
pub mod block;
pub mod config;
mod ends;
pub mod families;
pub mod mlp;
pub mod names;
pub mod norm;
mod read;
mod transformer;

use std::path::PathBuf;

pub use self::config::DecoderConfig;
pub use self::families::{DecoderFamily, FAMILIES};
pub use self::transformer::Transformer;
use crate::container::WeightsError;
use crate::raw_config::ModelConfigError;

/// A model that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum DecoderError {
    /// The configuration is of another family, or asks for what the port does not compute.
    #[error(transparent)]
    Config(#[from] ModelConfigError),
    /// A tensor is missing or wrong.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A tensor inside a block that no part of the port reads.
    #[error(
        "{path}: tensor `{name}` has no place in this port and may change results: take a checkpoint of the plain \
         architecture, with adapters merged"
    )]
    Unread {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// Neither a head nor leave to take the embedding for it.
    #[error(
        "{path}: tensor `{name}` is missing, and config.json does not say that the head is the embedding: add \
         \"tie_word_embeddings\": true if it is, else copy the complete checkpoint"
    )]
    NoHead {
        /// The checkpoint.
        path: PathBuf,
        /// The head's tensor.
        name: String,
    },
}
