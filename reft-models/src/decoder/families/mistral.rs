//! Mistral 7B, with and without its sliding window, and Mistral Nemo.

use serde_json::json;

use super::{DecoderFamily, LLAMA_NAMES};
use crate::decoder::config::DecoderConfig;
use crate::decoder::names::ModuleNames;
use crate::decoder::read::{Defaults, rope, rotary_decoder, set_windows};
use crate::raw_config::{ModelConfigError, RawConfig};

static NAMES: ModuleNames = LLAMA_NAMES;

const DEFAULTS: Defaults = Defaults { context: 4096 * 32, ..Defaults::LLAMA };

/// Where the file does not say; `null` is none.
const DEFAULT_WINDOW: i64 = 4096;

pub const FAMILY: DecoderFamily = DecoderFamily {
    architecture: "MistralForCausalLM",
    model_type: "mistral",
    title: "Mistral 7B, Mistral Nemo",
    about: "a sliding window in all layers or in those of layer_types; not Mixtral's experts and not Mistral 3's images, \
            which are other architectures; its GGUF files call themselves llama",
    example: || {
        json!({"architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 16,
            "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 6, "vocab_size": 64, "max_position_embeddings": 128, "sliding_window": 5, "rope_theta": 1e4})
    },
    read,
    harmless: &[],
};

fn read(raw: &RawConfig<'_>) -> Result<DecoderConfig, ModelConfigError> {
    let mut config = rotary_decoder(raw, &NAMES, DEFAULTS)?;
    let window = if raw.mentions("sliding_window") { raw.size("sliding_window")? } else { Some(DEFAULT_WINDOW) };
    let rope = rope(raw, &config, DEFAULTS)?;
    set_windows(raw, &mut config, &[rope], window, |_| true)?;
    Ok(config)
}
