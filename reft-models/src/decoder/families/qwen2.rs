//! Qwen 2 and 2.5: biases of queries, keys and values.

use serde_json::json;

use super::{DecoderFamily, LLAMA_NAMES};
use crate::decoder::config::DecoderConfig;
use crate::decoder::names::ModuleNames;
use crate::decoder::read::{Defaults, rope, rotary_decoder, set_windows};
use crate::nn::Bias;
use crate::raw_config::{ModelConfigError, RawConfig};

static NAMES: ModuleNames = LLAMA_NAMES;

const DEFAULTS: Defaults = Defaults { context: 32768, ..Defaults::LLAMA };

/// What `Qwen2Config` has where the file does not say.
const DEFAULT_WINDOW: i64 = 4096;
const DEFAULT_FULL_LAYERS: i64 = 28;

pub const FAMILY: DecoderFamily = DecoderFamily {
    architecture: "Qwen2ForCausalLM",
    model_type: "qwen2",
    title: "Qwen 2, Qwen 2.5",
    about: "windows as use_sliding_window says; not the mixtures of experts (qwen2_moe) and not the models with images or \
            sound, which are other architectures",
    example: || {
        json!({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 64,
            "max_position_embeddings": 128, "use_sliding_window": true, "sliding_window": 5, "max_window_layers": 1,
            "rope_theta": 1e6, "tie_word_embeddings": true})
    },
    read,
    harmless: &[],
};

fn read(raw: &RawConfig<'_>) -> Result<DecoderConfig, ModelConfigError> {
    let mut config = rotary_decoder(raw, &NAMES, DEFAULTS)?;
    config.bias.qkv = Bias::With;
    set_qwen_windows(raw, &mut config, DEFAULTS)?;
    Ok(config)
}

/// Layers from `max_window_layers` on slide, if `use_sliding_window` is on.
pub fn set_qwen_windows(
    raw: &RawConfig<'_>,
    config: &mut DecoderConfig,
    defaults: Defaults,
) -> Result<(), ModelConfigError> {
    let (given, full) = (raw.size("sliding_window")?, raw.id("max_window_layers")?.unwrap_or(DEFAULT_FULL_LAYERS));
    let written = if raw.mentions("sliding_window") { given } else { Some(DEFAULT_WINDOW) };
    let window = if raw.switch("use_sliding_window")?.unwrap_or(false) { written } else { None };
    let rope = rope(raw, config, defaults)?;
    set_windows(raw, config, &[rope], window, |layer| layer as i64 >= full)
}
