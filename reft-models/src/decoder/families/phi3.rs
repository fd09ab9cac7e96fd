//! Phi 3, 3.5 and 4 (text): projections fused on disk, a part of each head rotated, `LongRoPE`.

use serde_json::json;

use super::{DecoderFamily, LLAMA_NAMES};
use crate::config_keys::{Neutral, only};
use crate::decoder::config::DecoderConfig;
use crate::decoder::names::{ModuleNames, ProjectionStorage};
use crate::decoder::read::{Defaults, rope, rotary_decoder, set_windows};
use crate::raw_config::{ModelConfigError, RawConfig};

static NAMES: ModuleNames = ModuleNames {
    qkv: ProjectionStorage::Joined("self_attn.qkv_proj"),
    up: ProjectionStorage::Joined("mlp.gate_up_proj"),
    ..LLAMA_NAMES
};

const DEFAULTS: Defaults = Defaults { eps: 1e-5, context: 4096, rotary_share: Some(1.0), ..Defaults::LLAMA };

pub const FAMILY: DecoderFamily = DecoderFamily {
    architecture: "Phi3ForCausalLM",
    model_type: "phi3",
    title: "Phi 3, Phi 3.5 mini, Phi 4 mini",
    about: "a sequence takes the long factors of longrope from its own length, not from the longest of its batch; not the \
            mixtures of experts, the models with images, and Phi 3 small, which are other architectures",
    example: || {
        // Sequences of the conformance suite end before token 24, prefixes included: beyond the original length, cached keys
        // keep the rotation of their time, so that decoding and a pass without cache are not the same function.
        json!({"architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 64,
            "max_position_embeddings": 128, "original_max_position_embeddings": 24, "partial_rotary_factor": 0.5,
            "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.1], "long_factor": [2.0, 3.0]},
            "sliding_window": 9, "rope_theta": 1e4})
    },
    read,
    harmless: &[
        // Off in every file of this architecture; neighbours with such keys compute something else.
        only("attention_bias", Neutral::Switch(false)),
        only("mlp_bias", Neutral::Switch(false)),
        only("lm_head_bias", Neutral::Switch(false)),
        only("full_attn_mod", Neutral::Number(1.0)),
        only("interpolate_factor", Neutral::Number(1.0)),
    ],
};

fn read(raw: &RawConfig<'_>) -> Result<DecoderConfig, ModelConfigError> {
    let mut config = rotary_decoder(raw, &NAMES, DEFAULTS)?;
    let (rope, window) = (rope(raw, &config, DEFAULTS)?, raw.size("sliding_window")?);
    set_windows(raw, &mut config, &[rope], window, |_| true)?;
    Ok(config)
}
