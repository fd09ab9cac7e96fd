//! From what a checkpoint says it is to the port that reads it.

use std::path::Path;

use reft_core::adaptation::NamedTensor;
use reft_core::site::Dims;
use serde_json::Value;
use tch::{Device, Kind};

use crate::container::WeightsError;
use crate::decoder::{DecoderError, DecoderFamily, FAMILIES, Transformer};
use crate::encoder;
use crate::model::Decoder;
use crate::nn::{TensorLog, WeightCopies, WeightSource};
use crate::raw_config::{ConfigProblem, ModelConfigError, RawConfig};
use crate::weights::Weights;

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
         classification task, such as cola or rows with a text and a label, or take a language model"
    )]
    Encoder {
        /// The model.
        path: String,
    },
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ModelConfigError),
    /// A port failed.
    #[error(transparent)]
    Decoder(#[from] DecoderError),
}

/// Loads the model that a checkpoint holds.
///
/// # Errors
/// When no port knows its architecture, or the port finds something missing.
pub fn load(weights: &Weights, kind: Kind, device: Device) -> Result<Box<dyn Decoder>, LoadError> {
    load_held(weights, kind, device, WeightCopies::Two)
}

/// The same with its frozen weights held as often as this at most.
///
/// # Errors
/// As for [`load`].
pub fn load_held(
    weights: &Weights,
    kind: Kind,
    device: Device,
    copies: WeightCopies,
) -> Result<Box<dyn Decoder>, LoadError> {
    read(weights, &WeightSource::new(weights, kind, device).held(copies))
}

/// The model's own tensors, f32, by the names of its checkpoint, for methods that train them: see [`Decoder::on`]. A head
/// that is tied to the embedding is not among them.
///
/// # Errors
/// As for [`load`].
pub fn lend(weights: &Weights, device: Device) -> Result<Vec<NamedTensor>, LoadError> {
    let read = |(name, shape): (String, Vec<i64>)| {
        let tensor = weights.tensor(&name, &shape, Kind::Float, device)?;
        Ok(NamedTensor { name, tensor })
    };
    let tensors: Result<Vec<_>, WeightsError> = tensors(weights)?.into_iter().map(read).collect();
    Ok(tensors.map_err(DecoderError::from)?)
}

/// The model's dimensions; no tensor is read.
///
/// # Errors
/// As for [`load`].
pub fn dims(weights: &Weights) -> Result<Dims, LoadError> {
    let model = read(weights, &WeightSource::recording(Some(weights), &TensorLog::default()))?;
    Ok(*model.dims())
}

/// Names and shapes of the tensors that the model's port reads, in its order; none of them is read.
///
/// # Errors
/// As for [`load`].
pub fn tensors(weights: &Weights) -> Result<Vec<(String, Vec<i64>)>, LoadError> {
    let record = TensorLog::default();
    read(weights, &WeightSource::recording(Some(weights), &record))?;
    Ok(record.into_inner())
}

/// Names and shapes of the tensors that a checkpoint with this `config.json` has.
///
/// # Errors
/// When no port knows its architecture, or the configuration is wrong.
pub fn tensors_of(config: &Value) -> Result<Vec<(String, Vec<i64>)>, LoadError> {
    let path = Path::new("config.json");
    let raw = RawConfig::new(path, config)?;
    let config = known(find(&raw)?, path)?.config(&raw)?;
    Ok(Transformer::tensors(config).map_err(DecoderError::from)?)
}

/// `model_type` of a decoder's configuration, also where only `architectures` names the model; none where no port knows it.
pub fn model_type(weights: &Weights) -> Option<&'static str> {
    let path = weights.config_path();
    match find(&RawConfig::new(&path, weights.config()).ok()?) {
        Ok(Architecture::Family(family)) => Some(family.model_type),
        Ok(Architecture::Unknown(..) | Architecture::Nothing) | Err(_) => None,
    }
}

fn read(weights: &Weights, source: &WeightSource<'_>) -> Result<Box<dyn Decoder>, LoadError> {
    let path = weights.config_path();
    let raw = RawConfig::new(&path, weights.config())?;
    let named = find(&raw)?;
    if !matches!(named, Architecture::Family(_)) && encoder::EncoderFamily::find(&raw, weights)?.is_some() {
        return Err(LoadError::Encoder { path: weights.path().display().to_string() });
    }
    let config = known(named, &path)?.config(&raw)?;
    Ok(Box::new(Transformer::load(config, weights, source)?))
}

/// The family, or the error that there is none.
fn known(named: Architecture, path: &Path) -> Result<&'static DecoderFamily, LoadError> {
    let all = |name: &dyn Fn(&DecoderFamily) -> String, between: &str| {
        FAMILIES.iter().map(|family| name(family)).collect::<Vec<_>>().join(between)
    };
    let path = path.display().to_string();
    match named {
        Architecture::Family(family) => Ok(family),
        Architecture::Unknown(key @ "model_type", found) => {
            Err(LoadError::Unknown { path, key, found, known: all(&|family| family.model_type.to_owned(), ", ") })
        }
        Architecture::Unknown(key, found) => {
            Err(LoadError::Unknown { path, key, found, known: all(&|family| family.architecture.to_owned(), ", ") })
        }
        Architecture::Nothing => {
            Err(LoadError::Unnamed { path, known: all(&|family| format!("\"{}\"", family.model_type), " or ") })
        }
    }
}

/// What a configuration says the model is.
enum Architecture {
    /// A family that is read here.
    Family(&'static DecoderFamily),
    /// Another, by this key.
    Unknown(&'static str, String),
    /// Nothing.
    Nothing,
}

/// By `architectures`, and where they are missing by `model_type`.
fn find(raw: &RawConfig<'_>) -> Result<Architecture, ModelConfigError> {
    let architectures = raw.architectures()?;
    let model_type = raw.text("model_type")?;
    if architectures.is_empty() {
        let Some(name) = model_type else { return Ok(Architecture::Nothing) };
        let family = FAMILIES.iter().find(|family| family.model_type == name);
        return Ok(family.map_or_else(
            || Architecture::Unknown("model_type", format!("`{name}`")),
            |found| Architecture::Family(found),
        ));
    }
    let Some(family) = FAMILIES.iter().find(|family| architectures.contains(&family.architecture)) else {
        return Ok(Architecture::Unknown("architecture", format!("`{}`", architectures.join("`, `"))));
    };
    if model_type.is_some_and(|name| name != family.model_type) {
        return Err(
            raw.error(ConfigProblem::Disagree { first: "architectures".to_owned(), second: "model_type".to_owned() })
        );
    }
    Ok(Architecture::Family(family))
}
