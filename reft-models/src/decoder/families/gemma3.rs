//! Gemma 3, the language model: norms of queries and keys, and two rotations, one for layers with a window and one for those
//! without.

use serde_json::json;

use super::gemma2::{HARMLESS, gemma, window};
use super::{DecoderFamily, GEMMA_NAMES};
use crate::decoder::config::{DecoderConfig, QkNorm};
use crate::decoder::names::ModuleNames;
use crate::decoder::read::{Defaults, rope_defaults, set_windows};
use crate::raw_config::{ConfigProblem, ModelConfigError, RawConfig};
use crate::rope::{Rope, RopeConfig, RopeDefaults, Scaling};

static NAMES: ModuleNames = GEMMA_NAMES;

const DEFAULTS: Defaults =
    Defaults { theta: 1e6, context: 131_072, head_width: Some(256), tied: true, ..Defaults::LLAMA };

/// Base of sliding layers' frequencies where the file does not say.
const LOCAL_THETA: f64 = 1e4;

/// Every such layer has no window, where the file does not say.
const DEFAULT_PATTERN: i64 = 6;

pub const FAMILY: DecoderFamily = DecoderFamily {
    architecture: "Gemma3ForCausalLM",
    model_type: "gemma3_text",
    title: "Gemma 3 (text)",
    about: "270M, 1B, and text models saved by themselves; query, key, attention_output and mlp_output are hooked behind \
            their norms; not the models with images (gemma3), whose attention is not causal inside one",
    example: || {
        json!({"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "hidden_size": 16,
            "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 1,
            "head_dim": 6, "vocab_size": 64, "max_position_embeddings": 128, "sliding_window": 5,
            "sliding_window_pattern": 2, "query_pre_attn_scalar": 5, "rope_theta": 1e6, "rope_local_base_freq": 1e4})
    },
    read,
    harmless: HARMLESS,
};

fn read(raw: &RawConfig<'_>) -> Result<DecoderConfig, ModelConfigError> {
    let mut config = gemma(raw, &NAMES, DEFAULTS, [None, None])?;
    config.qk_norm = QkNorm::Head;
    let (ropes, window) = (ropes(raw, &config)?, window(raw)?);
    let pattern = raw.size("sliding_window_pattern")?.or(raw.size("_sliding_window_pattern")?);
    let pattern = pattern.unwrap_or(DEFAULT_PATTERN);
    set_windows(raw, &mut config, &ropes, window, |layer| (layer as i64 + 1) % pattern != 0)?;
    Ok(config)
}

/// The rotations of layers with a window and of those without: two objects in version 5, keys with names of their own in
/// version 4, whose scaling is that of the latter alone.
fn ropes(raw: &RawConfig<'_>, config: &DecoderConfig) -> Result<[Rope; 2], ModelConfigError> {
    let full = rope_defaults(config, DEFAULTS);
    let theta = raw.positive("rope_local_base_freq")?.unwrap_or(LOCAL_THETA);
    let local = RopeDefaults { theta, ..full };
    let width = config.dims.head_width;
    let Some(both) = raw.section("rope_parameters")?.filter(|both| both.mentions("full_attention")) else {
        let plain = RopeConfig { theta, share: 1.0, scaling: Scaling::Default };
        return Ok([plain.build(raw, width)?, RopeConfig::read(raw, full)?.build(raw, width)?]);
    };
    let full = RopeDefaults { theta: raw.positive("rope_theta")?.unwrap_or(full.theta), ..full };
    let one = |key: &str, defaults: RopeDefaults| match both.section(key)? {
        Some(section) => RopeConfig::of_section(raw, &section, defaults)?.build(raw, width),
        None => Err(raw.error(ConfigProblem::Missing(both.named(key)))),
    };
    let ropes = [one("sliding_attention", local)?, one("full_attention", full)?];
    both.finish(&[])?;
    Ok(ropes)
}
