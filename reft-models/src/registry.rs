//! From what a checkpoint says it is to the port that reads it.

use std::cell::RefCell;

use reft_core::adaptation::NamedTensor;
use serde_json::Value;
use tch::{Device, Kind};

use crate::encoder::Family;
use crate::llama::{Llama, LlamaError};
use crate::model::Decoder;
use crate::nn::Source;
use crate::raw_config::{ConfigError, Problem, RawConfig};
use crate::weights::Weights;

type Load = fn(&Weights, &Source<'_>) -> Result<Box<dyn Decoder>, LlamaError>;

/// A family of language models that is read here.
struct Port {
    /// As `architectures` names it.
    architecture: &'static str,
    /// As `model_type` names it.
    model_type: &'static str,
    load: Load,
}

/// Every port. A new one is a file and a line here.
const PORTS: &[Port] = &[Port {
    architecture: "LlamaForCausalLM",
    model_type: "llama",
    load: |weights, source| Ok(Box::new(Llama::load(weights, source)?)),
}];

/// A model that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No port reads it.
    #[error("{path}: {key} {found} has no port here: there is {known}")]
    Unknown {
        /// The model's configuration.
        path: String,
        /// The key that says what it is.
        key: &'static str,
        /// What it says.
        found: String,
        /// What there is.
        known: String,
    },
    /// The configuration does not say what the model is.
    #[error(
        "{path}: neither architectures nor model_type says what the model is: add \"model_type\" with {known}, whichever \
         the weights are of"
    )]
    Unnamed {
        /// The model's configuration.
        path: String,
        /// What there is.
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
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
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
    let path = weights.config_path();
    let raw = RawConfig::new(&path, weights.config())?;
    let port = match find(&raw)? {
        Named::Port(port) => port,
        Named::Unknown(..) | Named::Nothing if Family::find(&raw, weights)?.is_some() => {
            return Err(LoadError::Encoder { path: weights.path().display().to_string() });
        }
        Named::Unknown(key, found) => {
            let name = |port: &Port| if key == "model_type" { port.model_type } else { port.architecture };
            let known = PORTS.iter().map(name).collect::<Vec<_>>().join(", ");
            return Err(LoadError::Unknown { path: path.display().to_string(), key, found, known });
        }
        Named::Nothing => {
            let known = PORTS.iter().map(|port| format!("\"{}\"", port.model_type)).collect::<Vec<_>>().join(" or ");
            return Err(LoadError::Unnamed { path: path.display().to_string(), known });
        }
    };
    Ok((port.load)(weights, source)?)
}

/// What a configuration says the model is.
enum Named {
    /// A family that is read here.
    Port(&'static Port),
    /// Another, by this key.
    Unknown(&'static str, String),
    /// Nothing.
    Nothing,
}

/// By `architectures`, and where they are missing by `model_type`.
fn find(raw: &RawConfig<'_>) -> Result<Named, ConfigError> {
    let architectures = architectures(raw)?;
    let model_type = raw.text("model_type")?;
    if architectures.is_empty() {
        let Some(name) = model_type else { return Ok(Named::Nothing) };
        let port = PORTS.iter().find(|port| port.model_type == name);
        return Ok(port.map_or_else(|| Named::Unknown("model_type", format!("`{name}`")), Named::Port));
    }
    let Some(port) = PORTS.iter().find(|port| architectures.contains(&port.architecture)) else {
        return Ok(Named::Unknown("architecture", format!("`{}`", architectures.join("`, `"))));
    };
    if model_type.is_some_and(|name| name != port.model_type) {
        return Err(raw.error(Problem::Disagree { first: "architectures".to_owned(), second: "model_type".to_owned() }));
    }
    Ok(Named::Port(port))
}

/// The names in `architectures`; none when it is missing.
pub(crate) fn architectures<'a>(raw: &RawConfig<'a>) -> Result<Vec<&'a str>, ConfigError> {
    let Some(value) = raw.value("architectures") else { return Ok(Vec::new()) };
    let names: Option<Vec<&str>> = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
    names.ok_or_else(|| raw.wrong("architectures", value, "a list of names"))
}
