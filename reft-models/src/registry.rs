//! From what a checkpoint says it is to the port that reads it.

use std::cell::RefCell;

use reft_core::adaptation::NamedTensor;
use serde_json::{Value, json};
use tch::{Device, Kind};

use crate::encoder::Family;
use crate::llama::{Llama, LlamaError};
use crate::model::Decoder;
use crate::nn::Source;
use crate::raw_config::{ConfigError, Problem, RawConfig};
use crate::weights::Weights;

type Load = fn(&Weights, &Source<'_>) -> Result<Box<dyn Decoder>, LlamaError>;

/// A family of language models that is read here.
#[derive(Debug)]
pub struct Port {
    /// As `architectures` names it.
    pub architecture: &'static str,
    /// As `model_type` names it.
    pub model_type: &'static str,
    /// Models of it, for lists.
    pub title: &'static str,
    /// What is read, and what is left out and why, in a line.
    pub about: &'static str,
    /// A configuration of a few thousand parameters, as `config.json` writes it.
    pub example: fn() -> Value,
    load: Load,
}

/// Every port. A new one is a file and a line here.
pub const PORTS: &[Port] = &[Port {
    architecture: "LlamaForCausalLM",
    model_type: "llama",
    title: "LLaMA, Llama 2 and 3, SmolLM2",
    about: "rotary positions of all kinds that Llama 3 knows; not the mixtures of experts (llama4)",
    example: || {
        json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 64,
            "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "rope_theta": 1e4, "tie_word_embeddings": false})
    },
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
        "{path}: an encoder, which classifies and does not continue texts: train and score it on one \
         classification task, such as cola, or take a language model"
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
