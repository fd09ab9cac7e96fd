//! The metadata of a GGUF file in Hugging Face's terms.

use serde_json::{Map, Value, json};

use crate::config_keys;
use crate::raw_config::{ModelConfigError, RawConfig};

/// What metadata alone does not say.
pub struct GgufContext<'f> {
    /// The architecture in Hugging Face's words, and in llama.cpp's.
    pub names: [&'static str; 2],
    /// Tokens in the vocabulary.
    pub vocab: Option<i64>,
    /// Whether the file has a tensor of this name.
    pub has: &'f dyn Fn(&str) -> bool,
    /// Tokens that begin and end texts.
    pub ends: [Option<i64>; 2],
    /// Divisors of rotary frequencies: for all lengths, for short ones, for long ones.
    pub divisors: [Option<Vec<f64>>; 3],
}

/// Names of the tensors that hold divisors of rotary frequencies.
pub const DIVISORS: [&str; 3] = ["rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"];

/// The `config.json` that says the same.
///
/// # Errors
/// When the metadata is incomplete, wrong, or says something that changes results and is not understood.
pub fn translated(raw: &RawConfig<'_>, known: &GgufContext<'_>) -> Result<Value, ModelConfigError> {
    let config = match known.names[1] {
        "gpt2" => gpt2(raw, known)?,
        "gptneox" => neox(raw, known)?,
        architecture => {
            let mut config = common(raw, known, architecture == "phi3")?;
            config.extend(own(raw, known, architecture)?);
            config
        }
    };
    raw.finish(&[config_keys::GGUF])?;
    Ok(Value::Object(config))
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(object) = value { object } else { Map::new() }
}

/// What all decoders of root-mean-square norms and gated MLPs have.
fn common(raw: &RawConfig<'_>, known: &GgufContext<'_>, partial: bool) -> Result<Map<String, Value>, ModelConfigError> {
    let (heads, width) = (raw.needed_size("attention.head_count")?, raw.needed_size("embedding_length")?);
    let rotated = raw.size("rope.dimension_count")?;
    let own = raw.size("attention.key_length")?.or(rotated.filter(|_| !partial));
    let head_width = own.unwrap_or((width / heads).max(1));
    let value_length = raw.size("attention.value_length")?;
    for (key, size) in
        [("rope.dimension_count", rotated.filter(|_| !partial)), ("attention.value_length", value_length)]
    {
        if let Some(size) = size.filter(|&size| size != head_width) {
            return Err(raw.unsupported(key, &size.into(), &format!("only the width of a head, {head_width}")));
        }
    }
    let eps = raw.positive("attention.layer_norm_rms_epsilon")?;
    let mut config = object(json!({
        "architectures": [known.names[0]],
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": raw.needed_size("feed_forward_length")?,
        "num_hidden_layers": raw.layers("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": raw.size("attention.head_count_kv")?.unwrap_or(heads),
        "head_dim": head_width,
        "vocab_size": known.vocab,
        "rms_norm_eps": raw.needed("attention.layer_norm_rms_epsilon", eps)?,
        "rope_theta": raw.positive("rope.freq_base")?.unwrap_or(10_000.0),
        "rope_scaling": rope_scaling(raw, known)?,
        "max_position_embeddings": raw.needed_size("context_length")?,
        "tie_word_embeddings": !(known.has)("output.weight"),
        "bos_token_id": known.ends[0],
        "eos_token_id": known.ends[1],
    }));
    if partial {
        let share = rotated.map_or(1.0, |rotated| rotated as f64 / head_width as f64);
        config.insert("partial_rotary_factor".to_owned(), json!(share));
    }
    Ok(config)
}

/// What is one family's own.
fn own(
    raw: &RawConfig<'_>,
    known: &GgufContext<'_>,
    architecture: &str,
) -> Result<Map<String, Value>, ModelConfigError> {
    let attention_bias = (known.has)("blk.0.attn_q.bias");
    let window = || raw.id("attention.sliding_window");
    Ok(object(match architecture {
        "llama" | "smollm3" => json!({
            "attention_bias": attention_bias,
            "mlp_bias": (known.has)("blk.0.ffn_gate.bias"),
        }),
        "qwen3" | "olmo2" => json!({ "attention_bias": attention_bias }),
        "phi3" => json!({ "sliding_window": window()?.filter(|&window| window > 0) }),
        "gemma2" => json!({
            "sliding_window": window()?,
            "attn_logit_softcapping": raw.positive("attn_logit_softcapping")?,
            "final_logit_softcapping": raw.positive("final_logit_softcapping")?,
            // The file does not say it; it is the width of a head but in the largest model.
            "query_pre_attn_scalar": gemma_scale(raw, 46)?,
        }),
        "gemma3" => json!({
            "sliding_window": window()?,
            "final_logit_softcapping": raw.positive("final_logit_softcapping")?,
            "sliding_window_pattern": raw.size("attention.sliding_window_pattern")?,
            "rope_local_base_freq": raw.positive("rope.freq_base_swa")?,
            "query_pre_attn_scalar": gemma_scale(raw, 62)?,
        }),
        // Qwen 2: llama.cpp runs it without a window, and so does the library where none is switched on.
        _ => json!({}),
    }))
}

/// The number whose root divides Gemma's scores: the width of a head, and the heads' part of the model's width in the largest
/// model of a generation, which has so many blocks.
fn gemma_scale(raw: &RawConfig<'_>, blocks: usize) -> Result<i64, ModelConfigError> {
    let part = raw.needed_size("embedding_length")? / raw.needed_size("attention.head_count")?;
    if raw.layers("block_count")? == blocks {
        return Ok(part);
    }
    Ok(raw.size("attention.key_length")?.unwrap_or(part))
}

fn gpt2(raw: &RawConfig<'_>, known: &GgufContext<'_>) -> Result<Map<String, Value>, ModelConfigError> {
    let eps = raw.positive("attention.layer_norm_epsilon")?;
    Ok(object(json!({
        "architectures": [known.names[0]],
        "activation_function": "gelu_new",
        "n_embd": raw.needed_size("embedding_length")?,
        "n_inner": raw.needed_size("feed_forward_length")?,
        "n_layer": raw.layers("block_count")?,
        "n_head": raw.needed_size("attention.head_count")?,
        "n_positions": raw.needed_size("context_length")?,
        "vocab_size": known.vocab,
        "layer_norm_epsilon": raw.needed("attention.layer_norm_epsilon", eps)?,
        // A converter may write the head out although it is the embedding; where it differs, both are used.
        "tie_word_embeddings": true,
        "bos_token_id": known.ends[0],
        "eos_token_id": known.ends[1],
    })))
}

fn neox(raw: &RawConfig<'_>, known: &GgufContext<'_>) -> Result<Map<String, Value>, ModelConfigError> {
    let (heads, width) = (raw.needed_size("attention.head_count")?, raw.needed_size("embedding_length")?);
    let rotated = raw.needed_size("rope.dimension_count")?;
    let eps = raw.positive("attention.layer_norm_epsilon")?;
    Ok(object(json!({
        "architectures": [known.names[0]],
        "hidden_act": "gelu",
        "hidden_size": width,
        "intermediate_size": raw.needed_size("feed_forward_length")?,
        "num_hidden_layers": raw.layers("block_count")?,
        "num_attention_heads": heads,
        "vocab_size": known.vocab,
        "layer_norm_eps": raw.needed("attention.layer_norm_epsilon", eps)?,
        "rotary_pct": rotated as f64 / (width / heads).max(1) as f64,
        "rotary_emb_base": raw.positive("rope.freq_base")?.unwrap_or(10_000.0),
        "use_parallel_residual": raw.switch("use_parallel_residual")?.unwrap_or(true),
        "attention_bias": (known.has)("blk.0.attn_qkv.bias"),
        "max_position_embeddings": raw.needed_size("context_length")?,
        "tie_word_embeddings": !(known.has)("output.weight"),
        "bos_token_id": known.ends[0],
        "eos_token_id": known.ends[1],
    })))
}

/// Left to the port to accept or refuse by its type. Divisors that the file holds are the scaling.
fn rope_scaling(raw: &RawConfig<'_>, known: &GgufContext<'_>) -> Result<Option<Value>, ModelConfigError> {
    let (factor, original) =
        (raw.positive("rope.scaling.factor")?, raw.positive("rope.scaling.original_context_length")?);
    let kind = raw.text("rope.scaling.type")?.filter(|kind| *kind != "none");
    match &known.divisors {
        [Some(divisors), None, None] => return Ok(Some(json!({ "rope_type": "divided", "divisors": divisors }))),
        [None, Some(short), Some(long)] => {
            return Ok(Some(json!({
                "rope_type": "longrope",
                "short_factor": short,
                "long_factor": long,
                "attention_factor": raw.positive("rope.scaling.attn_factor")?,
                "original_max_position_embeddings": original,
            })));
        }
        [_, _, _] => {}
    }
    match kind {
        Some("yarn") => Ok(Some(json!({
            "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original
        }))),
        Some(kind) => Ok(Some(json!({ "rope_type": kind, "factor": factor }))),
        None => match factor.filter(|&factor| (factor - 1.0).abs() > f64::EPSILON) {
            Some(factor) => {
                Err(raw.unsupported("rope.scaling.factor", &factor.into(), "only 1 without a scaling type"))
            }
            None => Ok(None),
        },
    }
}
