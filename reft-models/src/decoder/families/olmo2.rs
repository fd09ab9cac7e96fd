//! `OLMo` 2: norms behind attention and MLP only, and of all queries and all keys together.

use serde_json::json;

use super::{DecoderFamily, LLAMA_NAMES};
use crate::decoder::config::{DecoderConfig, QkNorm};
use crate::decoder::names::{ModuleNames, SublayerNorms};
use crate::decoder::read::{Defaults, bias, rotary_decoder};
use crate::raw_config::{ModelConfigError, RawConfig};

static NAMES: ModuleNames = ModuleNames {
    attention_norms: SublayerNorms { before: None, after: Some("post_attention_layernorm") },
    mlp_norms: SublayerNorms { before: None, after: Some("post_feedforward_layernorm") },
    ..LLAMA_NAMES
};

const DEFAULTS: Defaults = Defaults { eps: 1e-5, ..Defaults::LLAMA };

pub const FAMILY: DecoderFamily = DecoderFamily {
    architecture: "Olmo2ForCausalLM",
    model_type: "olmo2",
    title: "OLMo 2",
    about: "query, key, attention_output and mlp_output are hooked behind their norms; not OLMo 1 (norms without weights) and \
            OLMo 3, which are other architectures",
    example: || {
        json!({"architectures": ["Olmo2ForCausalLM"], "model_type": "olmo2", "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 64,
            "max_position_embeddings": 128, "rope_theta": 5e5, "tie_word_embeddings": false})
    },
    read,
    harmless: &[],
};

fn read(raw: &RawConfig<'_>) -> Result<DecoderConfig, ModelConfigError> {
    let mut config = rotary_decoder(raw, &NAMES, DEFAULTS)?;
    config.qk_norm = QkNorm::Whole;
    let attention = bias(raw, "attention_bias", false)?;
    (config.bias.qkv, config.bias.output) = (attention, attention);
    Ok(config)
}
