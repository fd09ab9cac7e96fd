//! Gemma 2: norms on both sides, soft-capped scores and logits, every other layer with a window.

use serde_json::json;

use super::{DecoderFamily, GEMMA_NAMES};
use crate::config_keys::{KnownKey, Neutral, always, only};
use crate::decoder::config::{Activation, DecoderConfig, NormKind};
use crate::decoder::names::ModuleNames;
use crate::decoder::read::{Defaults, activation, bias, rms_decoder, rope, set_windows};
use crate::raw_config::{ModelConfigError, RawConfig};

static NAMES: ModuleNames = GEMMA_NAMES;

const DEFAULTS: Defaults = Defaults { context: 8192, head_width: Some(256), tied: true, ..Defaults::LLAMA };

/// What `Gemma2Config` has where the file does not say; `null` is none.
const CAPS: [(&str, f64); 2] = [("attn_logit_softcapping", 50.0), ("final_logit_softcapping", 30.0)];

/// The same of windows and of the number whose root divides scores.
pub const DEFAULT_WINDOW: i64 = 4096;
const DEFAULT_SCALED_BY: f64 = 256.0;

pub const FAMILY: DecoderFamily = DecoderFamily {
    architecture: "Gemma2ForCausalLM",
    model_type: "gemma2",
    title: "Gemma 2",
    about: "soft-capped scores by explicit products, not by the fused kernel; attention_output and mlp_output are hooked \
            behind their norms; not Gemma 1, which has no norms behind",
    example: || {
        json!({"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "vocab_size": 64,
            "max_position_embeddings": 128, "sliding_window": 5, "query_pre_attn_scalar": 5,
            "attn_logit_softcapping": 2.0, "final_logit_softcapping": 6.0, "hidden_activation": "gelu_pytorch_tanh"})
    },
    read,
    harmless: HARMLESS,
};

/// Of both Gemmas.
pub const HARMLESS: &[KnownKey] = &[
    // The library takes `hidden_activation`, whatever this one says.
    always("hidden_act"),
    // Which of the library's caches generation uses.
    always("cache_implementation"),
    only("use_bidirectional_attention", Neutral::Switch(false)),
];

fn read(raw: &RawConfig<'_>) -> Result<DecoderConfig, ModelConfigError> {
    let mut config = gemma(raw, &NAMES, DEFAULTS, CAPS.map(|(_, cap)| Some(cap)))?;
    let (rope, window) = (rope(raw, &config, DEFAULTS)?, window(raw)?);
    set_windows(raw, &mut config, &[rope], window, |layer| layer % 2 == 0)?;
    Ok(config)
}

/// The window of sliding layers.
pub fn window(raw: &RawConfig<'_>) -> Result<Option<i64>, ModelConfigError> {
    if raw.mentions("sliding_window") { raw.size("sliding_window") } else { Ok(Some(DEFAULT_WINDOW)) }
}

/// What Gemma 2 and 3 have in common, layers not yet set. `caps` are those of scores and of logits where the file is silent.
pub fn gemma(
    raw: &RawConfig<'_>,
    names: &'static ModuleNames,
    defaults: Defaults,
    caps: [Option<f64>; 2],
) -> Result<DecoderConfig, ModelConfigError> {
    let mut config = rms_decoder(raw, names, defaults)?;
    config.norm = NormKind::RmsFromZero;
    config.activation = activation(raw, "hidden_activation", Activation::GeluTanh)?;
    let attention = bias(raw, "attention_bias", false)?;
    (config.bias.qkv, config.bias.output) = (attention, attention);
    config.embedding_scale = Some((config.dims.width as f64).sqrt());
    let cap = |which: usize| {
        let (key, _) = CAPS[which];
        if raw.mentions(key) { raw.positive(key) } else { Ok(caps[which]) }
    };
    config.logit_cap = cap(1)?;
    config.set_scores(raw.positive("query_pre_attn_scalar")?.unwrap_or(DEFAULT_SCALED_BY), cap(0)?);
    Ok(config)
}
