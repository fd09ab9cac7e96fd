//! GPT-2: learned positions, weights stored `[in, out]`, a tied head.

use reft_core::site::{Dims, Mlp};
use serde_json::json;

use super::DecoderFamily;
use crate::attention::AttentionRule;
use crate::config_keys::{Neutral, always, only};
use crate::decoder::config::{Activation, AttentionKind, Biases, DecoderConfig, NormKind, QkNorm, Residual};
use crate::decoder::names::{ModuleNames, Orientation, ProjectionStorage, SublayerNorms};
use crate::decoder::read::{activation, part_of_width};
use crate::nn::Bias;
use crate::raw_config::{ModelConfigError, RawConfig};
use crate::rope::Rope;

static NAMES: ModuleNames = ModuleNames {
    // The checkpoints on the hub have no prefix, those that the library saves do.
    roots: &["transformer", ""],
    embedding: "wte",
    positions: Some("wpe"),
    layers: "h",
    final_norm: "ln_f",
    head: "lm_head",
    attention_norms: SublayerNorms { before: Some("ln_1"), after: None },
    mlp_norms: SublayerNorms { before: Some("ln_2"), after: None },
    qkv: ProjectionStorage::Joined("attn.c_attn"),
    qk_norms: ["", ""],
    output: "attn.c_proj",
    up: ProjectionStorage::Joined("mlp.c_fc"),
    down: "mlp.c_proj",
    orientation: Orientation::InOut,
    // The causal mask.
    buffers: &["attn.bias"],
};

pub const FAMILY: DecoderFamily = DecoderFamily {
    architecture: "GPT2LMHeadModel",
    model_type: "gpt2",
    title: "GPT-2, DistilGPT-2",
    about: "the frozen model runs without its dropout, in training too; not scale_attn_by_inverse_layer_idx and \
            reorder_and_upcast_attn, which no released model has",
    example: || {
        json!({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2,
            "n_positions": 128, "n_inner": 24, "vocab_size": 64, "activation_function": "gelu_new"})
    },
    read,
    harmless: &[
        // Another name of n_positions in old files.
        always("n_ctx"),
        // Of heads for other tasks.
        always("summary_activation"),
        always("summary_first_dropout"),
        always("summary_proj_to_labels"),
        always("summary_type"),
        always("summary_use_proj"),
        only("scale_attn_by_inverse_layer_idx", Neutral::Switch(false)),
        only("reorder_and_upcast_attn", Neutral::Switch(false)),
    ],
};

fn read(raw: &RawConfig<'_>) -> Result<DecoderConfig, ModelConfigError> {
    let (width, heads) = (raw.needed_size("n_embd")?, raw.needed_size("n_head")?);
    let dims = Dims {
        layers: raw.layers("n_layer")?,
        width,
        heads,
        kv_heads: heads,
        head_width: part_of_width(raw, ["n_embd", "n_head"], [width, heads])?,
        mlp_width: raw.size("n_inner")?.unwrap_or(4 * width),
        vocab: raw.needed_size("vocab_size")?,
        mlp: Mlp::Plain,
    };
    let scaled = raw.switch("scale_attn_weights")?.unwrap_or(true);
    let scaled_by = if scaled { dims.head_width as f64 } else { 1.0 };
    let rule = AttentionRule { scaled_by, ..AttentionRule::plain(dims.head_width) };
    Ok(DecoderConfig {
        dims,
        context: raw.size("n_positions")?.unwrap_or(1024) as usize,
        names: &NAMES,
        norm: NormKind::Layer,
        eps: raw.positive("layer_norm_epsilon")?.unwrap_or(1e-5),
        activation: activation(raw, "activation_function", Activation::GeluTanh)?,
        residual: Residual::Serial,
        bias: Biases { qkv: Bias::With, output: Bias::With, mlp: Bias::With },
        qk_norm: QkNorm::None,
        kinds: vec![AttentionKind { rope: Rope::none(), rule }],
        kind_of: vec![0; dims.layers],
        embedding_scale: None,
        logit_cap: None,
        tied: raw.switch("tie_word_embeddings")?.unwrap_or(true),
        notes: dropout_note(raw)?,
    })
}

/// Said of a configuration with dropout, which the library applies to a frozen model that is trained on.
fn dropout_note(raw: &RawConfig<'_>) -> Result<Vec<String>, ModelConfigError> {
    let mut notes = Vec::new();
    for key in ["attn_pdrop", "embd_pdrop", "resid_pdrop"] {
        if let Some(p) = raw.probability(key)?.filter(|&p| p > 0.0) {
            notes.push(format!("{key} {p} is not applied: the frozen model runs without dropout, in training too"));
        }
    }
    Ok(notes)
}
