//! GPT-NeoX and Pythia: attention and MLP beside each other, a quarter of each head rotated, projections fused head by head.

use reft_core::site::{Dims, Mlp};
use serde_json::json;

use super::DecoderFamily;
use crate::attention::AttentionRule;
use crate::config_keys::always;
use crate::decoder::config::{Activation, AttentionKind, Biases, DecoderConfig, NormKind, QkNorm, Residual};
use crate::decoder::names::{ModuleNames, Orientation, ProjectionStorage, SublayerNorms};
use crate::decoder::read::{Defaults, activation, bias, part_of_width, rope};
use crate::nn::Bias;
use crate::raw_config::{ModelConfigError, RawConfig};
use crate::rope::Rope;

static NAMES: ModuleNames = ModuleNames {
    roots: &["gpt_neox"],
    embedding: "embed_in",
    positions: None,
    layers: "layers",
    final_norm: "final_layer_norm",
    head: "embed_out",
    attention_norms: SublayerNorms { before: Some("input_layernorm"), after: None },
    mlp_norms: SublayerNorms { before: Some("post_attention_layernorm"), after: None },
    qkv: ProjectionStorage::ByHead("attention.query_key_value"),
    qk_norms: ["", ""],
    output: "attention.dense",
    up: ProjectionStorage::Joined("mlp.dense_h_to_4h"),
    down: "mlp.dense_4h_to_h",
    orientation: Orientation::OutIn,
    // The causal mask.
    buffers: &["attention.bias"],
};

/// The share of a head that is rotated where the file does not say, as for the other defaults.
const DEFAULT_SHARE: f64 = 0.25;

pub const FAMILY: DecoderFamily = DecoderFamily {
    architecture: "GPTNeoXForCausalLM",
    model_type: "gpt_neox",
    title: "Pythia, GPT-NeoX 20B",
    about: "parallel and serial residual; dropout of a configuration that has any is refused",
    example: || {
        json!({"architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox", "hidden_size": 16,
            "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64,
            "max_position_embeddings": 128, "rotary_pct": 0.5, "use_parallel_residual": true, "hidden_act": "gelu",
            "tie_word_embeddings": false})
    },
    read,
    // Of a classification head.
    harmless: &[always("classifier_dropout")],
};

fn read(raw: &RawConfig<'_>) -> Result<DecoderConfig, ModelConfigError> {
    let (width, heads) = (raw.needed_size("hidden_size")?, raw.needed_size("num_attention_heads")?);
    let dims = Dims {
        layers: raw.layers("num_hidden_layers")?,
        width,
        heads,
        kv_heads: heads,
        head_width: part_of_width(raw, ["hidden_size", "num_attention_heads"], [width, heads])?,
        mlp_width: raw.needed_size("intermediate_size")?,
        vocab: raw.needed_size("vocab_size")?,
        mlp: Mlp::Plain,
    };
    let attention = bias(raw, "attention_bias", true)?;
    let parallel = raw.switch("use_parallel_residual")?.unwrap_or(true);
    let rule = AttentionRule::plain(dims.head_width);
    let mut config = DecoderConfig {
        dims,
        context: raw.size("max_position_embeddings")?.unwrap_or(2048) as usize,
        names: &NAMES,
        norm: NormKind::Layer,
        eps: raw.positive("layer_norm_eps")?.unwrap_or(1e-5),
        activation: activation(raw, "hidden_act", Activation::Gelu)?,
        residual: if parallel { Residual::Parallel } else { Residual::Serial },
        bias: Biases { qkv: attention, output: attention, mlp: Bias::With },
        qk_norm: QkNorm::None,
        kinds: vec![AttentionKind { rope: Rope::none(), rule }],
        kind_of: vec![0; dims.layers],
        embedding_scale: None,
        logit_cap: None,
        tied: raw.switch("tie_word_embeddings")?.unwrap_or(false),
        notes: Vec::new(),
    };
    // Names of version 4 for what is `rope_theta` and `partial_rotary_factor` in version 5.
    let theta = raw.positive("rotary_emb_base")?.unwrap_or(Defaults::LLAMA.theta);
    let share = raw.positive("rotary_pct")?.unwrap_or(DEFAULT_SHARE);
    let rope = rope(raw, &config, Defaults { theta, rotary_share: Some(share), ..Defaults::LLAMA })?;
    config.set_layers(&[rope], |_| (0, None));
    Ok(config)
}
