//! What a model is, whatever file it came in: fingerprints of the weights that its port reads, of its configuration and of its
//! tokenizer. What decides no number is left out: rotary buffers, a tied head that is written out, heads of other tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use reft_core::base_model::Sketch;
use serde_json::{Map, Value};

use crate::container::{WeightsError, open_error};
use crate::digests::{self, TensorDigest};
use crate::encoder::{Encoder, EncoderError};
use crate::nn::{TensorLog, WeightSource};
use crate::registry::{self, LoadError};
use crate::weights::{Weights, is_gguf};
use crate::{gguf, tokenizer};

/// Fingerprints of a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Of every byte of the tensors that the port reads, with their names, shapes and stored types.
    pub weights: String,
    /// A sample of the weights; none where some are quantised.
    pub sketch: Option<Sketch>,
    /// Of the configuration: keys in any order, whitespace and notes of the program that wrote it aside.
    pub config: String,
    /// Of the tokenizer's files, the chat template and the end tokens among them.
    pub tokenizer: String,
}

/// A model whose identity cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No port reads it, or something that the port needs is missing.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The same of an encoder.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// A file cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// Keys of JSON files that note how a file came about and decide nothing.
const NOTES: [&str; 5] = ["_name_or_path", "name_or_path", "transformers_version", "torch_dtype", "dtype"];

/// Begins every fingerprint of weights that is made here, so that it is told from those of earlier versions.
const MARK: &str = "b3-";

/// Whether a fingerprint of weights was made by an earlier version: see [`Weights::legacy_fingerprint`].
pub fn is_legacy(fingerprint: &str) -> bool {
    !fingerprint.starts_with(MARK)
}

impl Identity {
    /// Of a checkpoint and the files beside it. Its weights are hashed once; a cache keeps their digests.
    ///
    /// # Errors
    /// When no port reads the model, or a file is missing or damaged.
    pub fn of(weights: &Weights) -> Result<Self, IdentityError> {
        let (fingerprint, sketch) = of_tensors(weights, &tensors_read(weights)?)?;
        let mut config = blake3::Hasher::new();
        config.update(canonical_json(weights.config()).as_bytes());
        Ok(Self { weights: fingerprint, sketch, config: short(&config), tokenizer: of_tokenizer(weights.path())? })
    }

    /// Whether [`Identity::of`] takes no reading of all weights, since their digests are in the user's cache.
    ///
    /// # Errors
    /// When no port reads the model, or a tensor is missing.
    pub fn is_cached(weights: &Weights) -> Result<bool, IdentityError> {
        let read = tensors_read(weights)?;
        Ok(weights.files(&read).into_iter().all(|(container, names)| digests::cached(container, &names)))
    }
}

/// Names of the tensors that the model's port reads.
///
/// # Errors
/// When no port reads the model, or one of the tensors is missing.
pub fn tensors_read(weights: &Weights) -> Result<BTreeSet<String>, IdentityError> {
    let read = match registry::tensors(weights) {
        Err(LoadError::Encoder { .. }) => {
            let record = TensorLog::default();
            Encoder::load_body(weights, &WeightSource::recording(Some(weights), &record))?;
            record.into_inner()
        }
        read => read?,
    };
    Ok(read.into_iter().map(|(name, _)| name).collect())
}

/// The fingerprint and the sketch of these tensors.
fn of_tensors(weights: &Weights, read: &BTreeSet<String>) -> Result<(String, Option<Sketch>), WeightsError> {
    let mut tensors: BTreeMap<String, (Vec<i64>, TensorDigest)> = BTreeMap::new();
    for (container, names) in weights.files(read) {
        for (name, digest) in digests::of(container, &names)? {
            let shape = weights.shape(&name).unwrap_or_default().to_vec();
            tensors.insert(canonical_name(role(&name, read)), (shape, digest));
        }
    }
    let mut hash = blake3::Hasher::new();
    for (name, (shape, TensorDigest { stored_as, digest, .. })) in &tensors {
        hash.update(format!("{name} {shape:?} {stored_as} {digest}\n").as_bytes());
    }
    let stored_as: BTreeSet<&str> = tensors.values().map(|(_, tensor)| tensor.stored_as.as_str()).collect();
    let samples: Option<Vec<&Vec<u32>>> = tensors.values().map(|(_, tensor)| tensor.sample.as_ref()).collect();
    let sketch = samples.map(|samples| {
        let values: Vec<f32> = samples.into_iter().flatten().map(|&bits| f32::from_bits(bits)).collect();
        Sketch::new(stored_as.into_iter().collect::<Vec<_>>().join("+"), &values)
    });
    Ok((format!("{MARK}{}", short(&hash)), sketch))
}

/// The embedding, where only its other name is stored: that of the head which is tied to it.
fn role<'n>(name: &'n str, read: &BTreeSet<String>) -> &'n str {
    let embedded = read.iter().any(|name| name.ends_with("embed_tokens.weight"));
    if name == "lm_head.weight" && !embedded { "embed_tokens.weight" } else { name }
}

/// A tensor's name without the module that holds the whole model, which some exports leave out, and with the names of
/// normalisation's parameters that replaced `gamma` and `beta`.
fn canonical_name(name: &str) -> String {
    let prefixes = ["model.", "bert.", "roberta.", "gpt_neox.", "transformer."];
    let bare = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    bare.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
}

/// JSON with its keys sorted at every level, without whitespace, nulls at their place left out, notes at the top left out.
fn canonical_json(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(object) => {
                let ordered: BTreeMap<&String, Value> = object
                    .iter()
                    .filter(|(_, value)| !value.is_null())
                    .map(|(key, value)| (key, sorted(value)))
                    .collect();
                Value::Object(ordered.into_iter().map(|(key, value)| (key.clone(), value)).collect::<Map<_, _>>())
            }
            Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
            other => other.clone(),
        }
    }
    let mut value = sorted(value);
    if let Value::Object(object) = &mut value {
        object.retain(|key, _| !NOTES.contains(&key.as_str()));
    }
    value.to_string()
}

/// The fingerprint of a model's tokenizer: of the files that it may be read from, or of a GGUF file's header.
fn of_tokenizer(model: &Path) -> Result<String, WeightsError> {
    let mut hash = blake3::Hasher::new();
    if is_gguf(model) {
        hash.update(&gguf::header(model)?);
        return Ok(short(&hash));
    }
    for name in tokenizer::FILES {
        let path = model.join(name);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            read => read.map_err(|error| open_error(&path, format!("{error}: make it readable")))?,
        };
        let json = if name.ends_with(".json") { serde_json::from_slice::<Value>(&bytes).ok() } else { None };
        // What is not JSON although its name says so is reported by its parser.
        let content = json.map_or(bytes, |json| canonical_json(&json).into_bytes());
        hash.update(format!("{name} {}\n", content.len()).as_bytes());
        hash.update(&content);
    }
    Ok(short(&hash))
}

/// The first sixteen bytes of a hash, hexadecimal.
fn short(hash: &blake3::Hasher) -> String {
    hash.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_whitespace_nulls_and_notes_are_no_settings_and_numbers_at_any_depth_are() {
        let text =
            r#"{ "rope_parameters": {"rope_theta": 1e4, "a": null, "rope_type": "x"}, "n": 1, "dtype": "bf16" }"#;
        let one: Value = serde_json::from_str(text).expect("JSON");
        let same =
            json!({"n": 1, "z": null, "torch_dtype": "f32", "rope_parameters": {"rope_type": "x", "rope_theta": 1e4}});
        assert_eq!(canonical_json(&one), canonical_json(&same));
        let other = json!({"n": 1, "rope_parameters": {"rope_type": "x", "rope_theta": 10001.0}});
        assert_ne!(canonical_json(&one), canonical_json(&other));
        let list = |ids: &[u32]| canonical_json(&json!({ "eos_token_id": ids }));
        assert_ne!(list(&[1, 2]), list(&[2, 1]), "of end tokens the first is the model's own");
    }

    #[test]
    fn names_are_those_of_the_port_whatever_stands_before_them() {
        assert_eq!(canonical_name("bert.embeddings.LayerNorm.gamma"), "embeddings.LayerNorm.weight");
        assert_eq!(canonical_name("embeddings.LayerNorm.weight"), "embeddings.LayerNorm.weight");
        assert_eq!(canonical_name("model.layers.0.mlp.up_proj.weight"), "layers.0.mlp.up_proj.weight");
    }
}
