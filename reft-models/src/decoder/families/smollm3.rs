//! `SmolLM3`: a Llama of which every few layers are not rotated.

use serde_json::{Value, json};

use super::{DecoderFamily, LLAMA_NAMES};
use crate::decoder::config::DecoderConfig;
use crate::decoder::names::ModuleNames;
use crate::decoder::read::{Defaults, bias, rope, rotary_decoder, set_windows};
use crate::raw_config::{ModelConfigError, RawConfig};
use crate::rope::Rope;

static NAMES: ModuleNames = LLAMA_NAMES;

const DEFAULTS: Defaults = Defaults { theta: 2e6, context: 32768, tied: true, ..Defaults::LLAMA };

/// Every such layer is not rotated, where the file does not say.
const DEFAULT_INTERVAL: i64 = 4;

pub const FAMILY: DecoderFamily = DecoderFamily {
    architecture: "SmolLM3ForCausalLM",
    model_type: "smollm3",
    title: "SmolLM3",
    about: "all of it",
    example: || {
        json!({"architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3", "hidden_size": 16,
            "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "vocab_size": 64, "max_position_embeddings": 128, "no_rope_layers": [1, 0], "rope_theta": 5e6})
    },
    read,
    harmless: &[],
};

fn read(raw: &RawConfig<'_>) -> Result<DecoderConfig, ModelConfigError> {
    let mut config = rotary_decoder(raw, &NAMES, DEFAULTS)?;
    let attention = bias(raw, "attention_bias", false)?;
    (config.bias.qkv, config.bias.output) = (attention, attention);
    config.bias.mlp = bias(raw, "mlp_bias", false)?;
    // As in Qwen: a window counts only where it is switched on.
    let (given, _) = (raw.size("sliding_window")?, raw.id("max_window_layers")?);
    let window = if raw.switch("use_sliding_window")?.unwrap_or(false) { given } else { None };
    let rope = rope(raw, &config, DEFAULTS)?;
    set_windows(raw, &mut config, std::slice::from_ref(&rope), window, |_| false)?;
    let rotated = rotated(raw, config.dims.layers)?;
    let windows: Vec<_> = config.kind_of.iter().map(|&kind| config.kinds[kind].rule.window).collect();
    config.set_layers(&[rope, Rope::none()], |layer| (usize::from(!rotated[layer]), windows[layer]));
    Ok(config)
}

/// Which layers are rotated: a 1 in `no_rope_layers` says so, or the interval does.
fn rotated(raw: &RawConfig<'_>, layers: usize) -> Result<Vec<bool>, ModelConfigError> {
    let interval = raw.size("no_rope_layer_interval")?.unwrap_or(DEFAULT_INTERVAL);
    let key = "no_rope_layers";
    let Some(value) = raw.value(key) else {
        return Ok((0..layers as i64).map(|layer| (layer + 1) % interval != 0).collect());
    };
    let switch = |value: &Value| value.as_i64().filter(|switch| [0, 1].contains(switch)).map(|switch| switch == 1);
    let list: Option<Vec<bool>> = value.as_array().and_then(|list| list.iter().map(switch).collect());
    let wanted = format!("a list of {layers} numbers, 1 for a layer that is rotated and 0 for one that is not,");
    list.filter(|list| list.len() == layers).ok_or_else(|| raw.wrong(key, value, &wanted))
}
