//! What the families' configurations have in common.

use reft_core::site::{Dims, Mlp};
use serde_json::Value;

use super::config::{Activation, AttentionKind, Biases, DecoderConfig, NormKind, QkNorm, Residual};
use super::names::ModuleNames;
use crate::attention::AttentionRule;
use crate::nn::Bias;
use crate::raw_config::{ConfigProblem, ModelConfigError, RawConfig};
use crate::rope::{Rope, RopeConfig, RopeDefaults};

/// What transformers' configuration class of a family says where the file is silent.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// Base of the rotary frequencies.
    pub theta: f64,
    /// The share of a head that is rotated, in families where it can be less than all.
    pub rotary_share: Option<f64>,
    /// Added to mean squares.
    pub eps: f64,
    /// Tokens of a sequence at most.
    pub context: i64,
    /// Width of a head; none for its part of the model's width.
    pub head_width: Option<i64>,
    /// Whether the head is the embedding.
    pub tied: bool,
}

impl Defaults {
    /// `LlamaConfig`'s, which most others repeat.
    pub const LLAMA: Self =
        Self { theta: 1e4, rotary_share: None, eps: 1e-6, context: 2048, head_width: None, tied: false };
}

/// A plain decoder of root-mean-square norms and a gated MLP, rotated and with full attention everywhere, without biases: what
/// the families vary.
pub fn rms_decoder(
    raw: &RawConfig<'_>,
    names: &'static ModuleNames,
    defaults: Defaults,
) -> Result<DecoderConfig, ModelConfigError> {
    let dims = dims(raw, defaults.head_width)?;
    let context = raw.size("max_position_embeddings")?.unwrap_or(defaults.context);
    let rule = AttentionRule::plain(dims.head_width);
    Ok(DecoderConfig {
        dims,
        context: context as usize,
        names,
        norm: NormKind::Rms,
        eps: raw.positive("rms_norm_eps")?.unwrap_or(defaults.eps),
        activation: Activation::Silu,
        residual: Residual::Serial,
        bias: Biases { qkv: Bias::Without, output: Bias::Without, mlp: Bias::Without },
        qk_norm: QkNorm::None,
        kinds: vec![AttentionKind { rope: Rope::none(), rule }],
        kind_of: vec![0; dims.layers],
        embedding_scale: None,
        logit_cap: None,
        tied: raw.switch("tie_word_embeddings")?.unwrap_or(defaults.tied),
        notes: Vec::new(),
    })
}

/// The same with rotated queries and keys, one rotation for all layers, and the activation `hidden_act`.
pub fn rotary_decoder(
    raw: &RawConfig<'_>,
    names: &'static ModuleNames,
    defaults: Defaults,
) -> Result<DecoderConfig, ModelConfigError> {
    let mut config = rms_decoder(raw, names, defaults)?;
    config.activation = activation(raw, "hidden_act", Activation::Silu)?;
    let rope = rope(raw, &config, defaults)?;
    config.set_layers(&[rope], |_| (0, None));
    Ok(config)
}

/// The rotation of a file that has one for all layers.
pub fn rope(raw: &RawConfig<'_>, config: &DecoderConfig, defaults: Defaults) -> Result<Rope, ModelConfigError> {
    RopeConfig::read(raw, rope_defaults(config, defaults))?.build(raw, config.dims.head_width)
}

/// What the rotation takes from the family.
pub fn rope_defaults(config: &DecoderConfig, defaults: Defaults) -> RopeDefaults {
    RopeDefaults { theta: defaults.theta, context: config.context as i64, share: defaults.rotary_share }
}

fn dims(raw: &RawConfig<'_>, default_head: Option<i64>) -> Result<Dims, ModelConfigError> {
    let (width, heads) = (raw.needed_size("hidden_size")?, raw.needed_size("num_attention_heads")?);
    let kv_heads = raw.size("num_key_value_heads")?.unwrap_or(heads);
    let head_width = match raw.size("head_dim")?.or(default_head) {
        Some(own) => own,
        None => part_of_width(raw, ["hidden_size", "num_attention_heads"], [width, heads])?,
    };
    if heads % kv_heads != 0 {
        let reason = format!("{heads} num_attention_heads do not divide among {kv_heads} num_key_value_heads");
        return Err(wrong_sizes(raw, &reason));
    }
    Ok(Dims {
        layers: raw.layers("num_hidden_layers")?,
        width,
        heads,
        kv_heads,
        head_width,
        mlp_width: raw.needed_size("intermediate_size")?,
        vocab: raw.needed_size("vocab_size")?,
        mlp: Mlp::Gated,
    })
}

/// A head's part of the model's width.
pub fn part_of_width(raw: &RawConfig<'_>, keys: [&str; 2], [width, heads]: [i64; 2]) -> Result<i64, ModelConfigError> {
    if width % heads != 0 {
        let reason = format!("{} {width} does not divide among {heads} {}", keys[0], keys[1]);
        return Err(wrong_sizes(raw, &reason));
    }
    Ok(width / heads)
}

/// Sizes that do not fit together.
pub fn wrong_sizes(raw: &RawConfig<'_>, reason: &str) -> ModelConfigError {
    raw.error(ConfigProblem::Sizes(format!("{reason}: copy the model's configuration again")))
}

/// Whether the layers that a switch names have biases.
pub fn bias(raw: &RawConfig<'_>, key: &str, default: bool) -> Result<Bias, ModelConfigError> {
    Ok(Bias::when(raw.switch(key)?.unwrap_or(default)))
}

/// The activation function that a key names.
pub fn activation(raw: &RawConfig<'_>, key: &str, default: Activation) -> Result<Activation, ModelConfigError> {
    match raw.text(key)? {
        None => Ok(default),
        // Two names of one function.
        Some("silu" | "swish") => Ok(Activation::Silu),
        Some("gelu") => Ok(Activation::Gelu),
        Some("gelu_new" | "gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
        Some("relu") => Ok(Activation::Relu),
        Some(other) => Err(raw.unsupported(key, &other.into(), "silu, gelu, gelu_new, gelu_pytorch_tanh and relu")),
    }
}

/// Gives layers windows: those that `layer_types` says, or where it is missing those that `slides` says. `window` is the
/// file's; without one there is no window to slide.
pub fn set_windows(
    raw: &RawConfig<'_>,
    config: &mut DecoderConfig,
    ropes: &[Rope],
    window: Option<i64>,
    slides: impl Fn(usize) -> bool,
) -> Result<(), ModelConfigError> {
    let sliding = sliding_layers(raw, config.dims.layers)?
        .unwrap_or_else(|| (0..config.dims.layers).map(|layer| window.is_some() && slides(layer)).collect());
    if window.is_none() && sliding.contains(&true) {
        return Err(raw.error(ConfigProblem::Missing(raw.named("sliding_window"))));
    }
    let last = ropes.len() - 1;
    // The first rotation is that of sliding layers where there are two.
    config.set_layers(ropes, |layer| if sliding[layer] { (0, window) } else { (last, None) });
    Ok(())
}

/// Which layers have a window, as `layer_types` says.
fn sliding_layers(raw: &RawConfig<'_>, layers: usize) -> Result<Option<Vec<bool>>, ModelConfigError> {
    let key = "layer_types";
    let Some(value) = raw.value(key) else { return Ok(None) };
    let slides = |name: &Value| match name.as_str() {
        Some("sliding_attention") => Some(true),
        Some("full_attention") => Some(false),
        Some(_) | None => None,
    };
    let sliding: Option<Vec<bool>> = value.as_array().and_then(|list| list.iter().map(slides).collect());
    let wanted = format!("a list of {layers} names, each full_attention or sliding_attention,");
    match sliding.filter(|list| list.len() == layers) {
        Some(sliding) => Ok(Some(sliding)),
        None => Err(raw.wrong(key, value, &wanted)),
    }
}
