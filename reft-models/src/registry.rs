//! From a checkpoint's `architectures` to the port that reads it.

use tch::{Device, Kind};

use crate::encoder::EncoderConfig;
use crate::llama::{Llama, LlamaError};
use crate::model::Decoder;
use crate::weights::Weights;

type Load = fn(&Weights, Kind, Device) -> Result<Box<dyn Decoder>, LlamaError>;

/// Every port, by the names its checkpoints give. A new one is a file and a line here.
const PORTS: &[(&str, Load)] =
    &[("LlamaForCausalLM", |weights, kind, device| Ok(Box::new(Llama::load(weights, kind, device)?)))];

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
    let architectures = weights.config().get("architectures").and_then(|value| value.as_array());
    let named = |name: &str| architectures.is_some_and(|list| list.iter().any(|item| item.as_str() == Some(name)));
    match PORTS.iter().find(|(name, _)| named(name)) {
        Some((_, load)) => Ok(load(weights, kind, device)?),
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
