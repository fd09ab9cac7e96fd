//! What is ModernBERT's own in `config.json`.

use reft_core::site::Dims;
use serde_json::{Value as Json, json};

use crate::nn::Bias;
use crate::raw_config::{ModelConfigError, RawConfig};
use crate::rope::{RopeConfig, RopeDefaults, Scaling};

/// What `config.json` need not say: transformers' configuration.
pub(super) const CONTEXT: i64 = 8192;
const WINDOW: i64 = 128;
const EVERY: i64 = 3;
pub(super) const EPS: f64 = 1e-5;
const GLOBAL_THETA: f64 = 160_000.0;
const LOCAL_THETA: f64 = 10_000.0;

/// Names in `layer_types`.
const GLOBAL: &str = "full_attention";
const LOCAL: &str = "sliding_attention";

/// What a classification head reads of a sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pooling {
    /// The state of its first token.
    First,
    /// The mean of all its tokens' states.
    Mean,
}

/// What an encoder of another family has not.
#[derive(Clone, PartialEq, Debug)]
pub struct ModernBertConfig {
    /// Which blocks see the whole sequence.
    pub(super) global: Vec<bool>,
    /// Places that a token of the others sees on either side.
    pub(super) reach: i64,
    /// Of global layers and of the others.
    pub(super) ropes: [RopeConfig; 2],
    pub(super) pooling: Pooling,
    pub(super) norm_bias: Bias,
    pub(super) attention_bias: Bias,
    pub(super) mlp_bias: Bias,
    pub(super) head_bias: Bias,
}

/// A configuration of a few thousand numbers.
pub(super) fn example() -> Json {
    json!({"architectures": ["ModernBertModel"], "model_type": "modernbert", "hidden_activation": "gelu",
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 64,
        "max_position_embeddings": 64, "local_attention": 4, "global_attn_every_n_layers": 3, "pad_token_id": 0})
}

/// Reads what is ModernBERT's own of a `config.json`.
pub(super) fn read(raw: &RawConfig<'_>, dims: &Dims, context: i64) -> Result<ModernBertConfig, ModelConfigError> {
    for key in ["hidden_activation", "classifier_activation"] {
        if let Some(activation) = raw.text(key)?.filter(|&name| name != "gelu") {
            return Err(raw.unsupported(key, &activation.into(), "gelu"));
        }
    }
    let bias = |key: &str| Ok::<_, ModelConfigError>(Bias::when(raw.switch(key)?.unwrap_or(false)));
    let ropes = ropes(raw, context)?;
    for rope in &ropes {
        rope.clone().build(raw, dims.head_width)?;
    }
    Ok(ModernBertConfig {
        global: global(raw, dims.layers)?,
        reach: raw.size("local_attention")?.unwrap_or(WINDOW) / 2,
        ropes,
        pooling: pooling(raw)?,
        norm_bias: bias("norm_bias")?,
        attention_bias: bias("attention_bias")?,
        mlp_bias: bias("mlp_bias")?,
        head_bias: bias("classifier_bias")?,
    })
}

fn pooling(raw: &RawConfig<'_>) -> Result<Pooling, ModelConfigError> {
    match raw.text("classifier_pooling")? {
        None | Some("cls") => Ok(Pooling::First),
        Some("mean") => Ok(Pooling::Mean),
        Some(other) => Err(raw.unsupported("classifier_pooling", &other.into(), "cls and mean")),
    }
}

/// Which blocks have no window: version 5 lists the kinds of all, version 4 says that every so many there is one.
fn global(raw: &RawConfig<'_>, layers: usize) -> Result<Vec<bool>, ModelConfigError> {
    let every = raw.size("global_attn_every_n_layers")?.unwrap_or(EVERY) as usize;
    let Some(listed) = raw.value("layer_types") else {
        return Ok((0..layers).map(|layer| layer % every == 0).collect());
    };
    let kind = |entry: &Json| match entry.as_str() {
        Some(GLOBAL) => Some(true),
        Some(LOCAL) => Some(false),
        _ => None,
    };
    let kinds: Option<Vec<bool>> = listed.as_array().and_then(|list| list.iter().map(kind).collect());
    let wanted = || format!("a list of {GLOBAL} and {LOCAL}, one for each of {layers} layers");
    kinds.filter(|kinds| kinds.len() == layers).ok_or_else(|| raw.wrong("layer_types", listed, &wanted()))
}

/// The rotations of global layers and of local ones: two objects in version 5, a base each in version 4, whose local base may be
/// null for the global one.
fn ropes(raw: &RawConfig<'_>, context: i64) -> Result<[RopeConfig; 2], ModelConfigError> {
    let theta = raw.positive("global_rope_theta")?.unwrap_or(GLOBAL_THETA);
    let local = raw.positive("local_rope_theta")?;
    let shared = raw.mentions("local_rope_theta") && local.is_none();
    let local = local.unwrap_or(if shared { theta } else { LOCAL_THETA });
    let defaults = [theta, local].map(|theta| RopeDefaults { theta, context, share: None });
    let both = raw.section("rope_parameters")?;
    let one = |key: &str, defaults: RopeDefaults| {
        let section = both.as_ref().map(|both| both.section(key)).transpose()?.flatten();
        match section {
            Some(section) => {
                let rope = RopeConfig::of_section(raw, &section, defaults)?;
                if rope.scaling != Scaling::Default {
                    let kind = section.value("rope_type").unwrap_or(&Json::Null);
                    return Err(section.unsupported("rope_type", kind, "only default"));
                }
                Ok(rope)
            }
            None => Ok(RopeConfig { theta: defaults.theta, share: 1.0, scaling: Scaling::Default }),
        }
    };
    let ropes = [one(GLOBAL, defaults[0])?, one(LOCAL, defaults[1])?];
    if let Some(both) = both {
        both.finish(&[])?;
    }
    Ok(ropes)
}

impl ModernBertConfig {
    /// Every tensor by its name, with its shape.
    pub(super) fn tensors(&self, dims: &Dims) -> Vec<(String, Vec<i64>)> {
        let Dims { layers, width, mlp_width, vocab, .. } = *dims;
        let mut tensors = vec![("embeddings.tok_embeddings.weight".to_owned(), vec![vocab, width])];
        let mut module = |name: String, shape: Vec<i64>, bias: Bias| {
            let out = vec![shape[0]];
            tensors.push((format!("{name}.weight"), shape));
            if bias == Bias::With {
                tensors.push((format!("{name}.bias"), out));
            }
        };
        module("embeddings.norm".to_owned(), vec![width], self.norm_bias);
        for layer in 0..layers {
            let of = |name: &str| format!("layers.{layer}.{name}");
            if layer > 0 {
                module(of("attn_norm"), vec![width], self.norm_bias);
            }
            module(of("attn.Wqkv"), vec![3 * width, width], self.attention_bias);
            module(of("attn.Wo"), vec![width, width], self.attention_bias);
            module(of("mlp_norm"), vec![width], self.norm_bias);
            module(of("mlp.Wi"), vec![2 * mlp_width, width], self.mlp_bias);
            module(of("mlp.Wo"), vec![width, mlp_width], self.mlp_bias);
        }
        module("final_norm".to_owned(), vec![width], self.norm_bias);
        tensors
    }
}
