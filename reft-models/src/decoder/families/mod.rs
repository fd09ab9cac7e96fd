//! The families that are read: each a file, which sets the switches, and a line here.

mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neox;
mod llama;
mod mistral;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;

use serde_json::Value;

use super::config::DecoderConfig;
use super::names::{ModuleNames, Orientation, ProjectionStorage, SublayerNorms};
use crate::config_keys::{self, KnownKey};
use crate::raw_config::{ModelConfigError, RawConfig};

/// A family of decoders.
#[derive(Debug)]
pub struct DecoderFamily {
    /// As `architectures` names it.
    pub architecture: &'static str,
    /// As `model_type` names it.
    pub model_type: &'static str,
    /// Models of it, for lists.
    pub title: &'static str,
    /// What is read, and what is left out and why, in a line.
    pub about: &'static str,
    /// A configuration of a few thousand numbers, as `config.json` writes it.
    pub example: fn() -> Value,
    /// From `config.json` to switches.
    read: fn(&RawConfig<'_>) -> Result<DecoderConfig, ModelConfigError>,
    /// Keys of its own that change nothing.
    harmless: &'static [KnownKey],
}

/// Every family. A new one is a file and a line here.
pub const FAMILIES: &[&DecoderFamily] = &[
    &llama::FAMILY,
    &mistral::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &gemma2::FAMILY,
    &gemma3::FAMILY,
    &phi3::FAMILY,
    &olmo2::FAMILY,
    &smollm3::FAMILY,
    &gpt_neox::FAMILY,
    &gpt2::FAMILY,
];

impl DecoderFamily {
    /// Reads a configuration, of which every key must be understood or known to change nothing.
    ///
    /// # Errors
    /// When a key is missing, wrong, or says what is not computed here.
    pub fn config(&self, raw: &RawConfig<'_>) -> Result<DecoderConfig, ModelConfigError> {
        raw.check_not_quantised()?;
        let (_, _) = (raw.value("architectures"), raw.value("model_type"));
        let config = (self.read)(raw)?;
        raw.finish(&[config_keys::GENERAL, config_keys::DECODER, self.harmless])?;
        Ok(config)
    }
}

/// The names that most families share with Llama.
const LLAMA_NAMES: ModuleNames = ModuleNames {
    roots: &["model"],
    embedding: "embed_tokens",
    positions: None,
    layers: "layers",
    final_norm: "norm",
    head: "lm_head",
    attention_norms: SublayerNorms { before: Some("input_layernorm"), after: None },
    mlp_norms: SublayerNorms { before: Some("post_attention_layernorm"), after: None },
    qkv: ProjectionStorage::Apart(&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    qk_norms: ["self_attn.q_norm", "self_attn.k_norm"],
    output: "self_attn.o_proj",
    up: ProjectionStorage::Apart(&["mlp.gate_proj", "mlp.up_proj"]),
    down: "mlp.down_proj",
    orientation: Orientation::OutIn,
    buffers: &[],
};

/// Those of Gemma 2 and 3, which have norms on both sides.
const GEMMA_NAMES: ModuleNames = ModuleNames {
    attention_norms: SublayerNorms { before: Some("input_layernorm"), after: Some("post_attention_layernorm") },
    mlp_norms: SublayerNorms { before: Some("pre_feedforward_layernorm"), after: Some("post_feedforward_layernorm") },
    ..LLAMA_NAMES
};
