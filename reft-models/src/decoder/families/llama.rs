//! Llama 1 to 3.3, and what is built like it: `SmolLM2`, `TinyLlama`, Vicuna, Yi.

use serde_json::json;

use super::{DecoderFamily, LLAMA_NAMES};
use crate::decoder::config::DecoderConfig;
use crate::decoder::names::ModuleNames;
use crate::decoder::read::{Defaults, bias, rotary_decoder};
use crate::raw_config::{ModelConfigError, RawConfig};

static NAMES: ModuleNames = LLAMA_NAMES;

pub const FAMILY: DecoderFamily = DecoderFamily {
    architecture: "LlamaForCausalLM",
    model_type: "llama",
    title: "Llama 1 to 3.3, SmolLM2, TinyLlama, Vicuna, Yi",
    about: "all rope scalings (linear, dynamic, yarn, llama3, longrope), biases; not Llama 3.2 Vision's images and not Llama \
            4's experts, which are other architectures",
    example: || {
        json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 64,
            "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 1e4, "tie_word_embeddings": false})
    },
    read,
    harmless: &[],
};

fn read(raw: &RawConfig<'_>) -> Result<DecoderConfig, ModelConfigError> {
    let mut config = rotary_decoder(raw, &NAMES, Defaults::LLAMA)?;
    let attention = bias(raw, "attention_bias", false)?;
    (config.bias.qkv, config.bias.output) = (attention, attention);
    config.bias.mlp = bias(raw, "mlp_bias", false)?;
    Ok(config)
}
