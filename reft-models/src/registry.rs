//! From a checkpoint's `architectures` to the port that reads it.

use std::cell::RefCell;

use reft_core::adaptation::NamedTensor;
use tch::{Device, Kind};

use crate::encoder::EncoderConfig;
use crate::llama::{Llama, LlamaError};
use crate::model::Decoder;
use crate::nn::Source;
use crate::weights::Weights;

type Load = fn(&Weights, &Source<'_>) -> Result<Box<dyn Decoder>, LlamaError>;

/// Every port, by the names its checkpoints give. A new one is a file and a line here.
const PORTS: &[(&str, Load)] = &[("LlamaForCausalLM", |weights, source| Ok(Box::new(Llama::load(weights, source)?)))];

/// A model that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No port reads it.
    #[error("{path}: config.json: architecture {found} has no port here: there is {known}")]
    Unknown {
        /// The model.
        path: String,
        /// What its configuration says.
        found: String,
        /// The architectures there are.
        known: String,
    },
    /// It is read, but does not speak.
    #[error(
        "{path}: an encoder, which classifies and does not continue texts: give it one GLUE task to train and score, such \
         as data.train=[cola] data.eval=[cola], or take a language model"
    )]
    Encoder {
        /// The model.
        path: String,
    },
    /// A port failed.
    #[error(transparent)]
    Llama(#[from] LlamaError),
}

/// Loads the model that a checkpoint holds.
///
/// # Errors
/// When no port knows its architecture, or the port finds something missing.
pub fn load(weights: &Weights, kind: Kind, device: Device) -> Result<Box<dyn Decoder>, LoadError> {
    read(weights, &Source::new(weights, kind, device))
}

/// The model's own tensors, f32, by the names of its checkpoint, for methods that train them: see [`Decoder::on`]. A head
/// that is tied to the embedding is not among them.
///
/// # Errors
/// As for [`load`].
pub fn lend(weights: &Weights, device: Device) -> Result<Vec<NamedTensor>, LoadError> {
    let notes = RefCell::new(Vec::new());
    read(weights, &Source::noting(weights, device, &notes))?;
    Ok(notes.into_inner())
}

fn read(weights: &Weights, source: &Source<'_>) -> Result<Box<dyn Decoder>, LoadError> {
    let architectures = weights.config().get("architectures").and_then(|value| value.as_array());
    let named = |name: &str| architectures.is_some_and(|list| list.iter().any(|item| item.as_str() == Some(name)));
    match PORTS.iter().find(|(name, _)| named(name)) {
        Some((_, load)) => Ok(load(weights, source)?),
        None if EncoderConfig::is_one(weights.config()) => {
            Err(LoadError::Encoder { path: weights.path().display().to_string() })
        }
        None => Err(LoadError::Unknown {
            path: weights.path().display().to_string(),
            found: weights.config().get("architectures").map_or("(none)".to_owned(), ToString::to_string),
            known: PORTS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
        }),
    }
}
