//! Qwen 3: a norm of every head's queries and keys, heads wider than their part of the model.

use serde_json::json;

use super::qwen2::set_qwen_windows;
use super::{DecoderFamily, LLAMA_NAMES};
use crate::decoder::config::{DecoderConfig, QkNorm};
use crate::decoder::names::ModuleNames;
use crate::decoder::read::{Defaults, bias, rotary_decoder};
use crate::raw_config::{ModelConfigError, RawConfig};

static NAMES: ModuleNames = LLAMA_NAMES;

const DEFAULTS: Defaults = Defaults { context: 32768, head_width: Some(128), ..Defaults::LLAMA };

pub const FAMILY: DecoderFamily = DecoderFamily {
    architecture: "Qwen3ForCausalLM",
    model_type: "qwen3",
    title: "Qwen 3",
    about: "the dense models; query and key are hooked behind their norms; not the mixtures of experts (qwen3_moe), which \
            are another architecture",
    example: || {
        json!({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "vocab_size": 64,
            "max_position_embeddings": 128, "rope_theta": 1e6, "tie_word_embeddings": true})
    },
    read,
    harmless: &[],
};

fn read(raw: &RawConfig<'_>) -> Result<DecoderConfig, ModelConfigError> {
    let mut config = rotary_decoder(raw, &NAMES, DEFAULTS)?;
    config.qk_norm = QkNorm::Head;
    let attention = bias(raw, "attention_bias", false)?;
    (config.bias.qkv, config.bias.output) = (attention, attention);
    set_qwen_windows(raw, &mut config, DEFAULTS)?;
    Ok(config)
}
