//! An encoder's `config.json`, and everything that follows from it without the weights.

use super::family::{EncoderConfigKeys, EncoderFamily};
use super::modernbert_config::{self, ModernBertConfig, Pooling};
use crate::config_keys;
use crate::raw_config::{ConfigProblem, ModelConfigError, RawConfig};
use reft_core::site::{Dims, Mlp};

/// What the families drop, and how large their tables are, where a file does not say: transformers'
/// configurations.
const DEFAULT_DROPOUT: f64 = 0.1;
const DEFAULT_EPS: f64 = 1e-12;
const DEFAULT_POSITIONS: i64 = 512;
const DEFAULT_TYPES: i64 = 2;
const DEFAULT_DISTILBERT_HEAD: f64 = 0.2;

/// Probabilities of dropout in training.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DropoutRates {
    /// Of the embeddings, and of what attention and MLP add to the stream.
    pub hidden: f64,
    /// Of attention's weights.
    pub attention: f64,
    /// Of a classification head's input.
    pub head_input: f64,
    /// Of its inner state.
    pub head_inner: f64,
}

impl DropoutRates {
    /// None anywhere.
    pub const OFF: Self = Self { hidden: 0.0, attention: 0.0, head_input: 0.0, head_inner: 0.0 };
}

/// Sizes and constants of an encoder.
#[derive(Clone, PartialEq, Debug)]
pub struct EncoderConfig {
    /// Whose names and head it has.
    pub family: EncoderFamily,
    /// Sizes that decide the shapes of interventions.
    pub dims: Dims,
    /// Rows of the position table.
    pub positions: i64,
    /// Rows of the table of token types; 0 where there is no such table.
    pub types: i64,
    /// Position id of a sequence's first token.
    pub first_position: i64,
    /// Added to the variance in normalisation.
    pub eps: f64,
    /// As the model was trained.
    pub dropout: DropoutRates,
    /// What a classification head reads.
    pub pooling: Pooling,
    /// What only ModernBERT's blocks have.
    pub(super) modern: Option<ModernBertConfig>,
}

impl EncoderConfig {
    /// Reads the `config.json` of this family.
    ///
    /// # Errors
    /// When a key is missing, wrong, or not understood.
    pub fn read(raw: &RawConfig<'_>, family: EncoderFamily) -> Result<Self, ModelConfigError> {
        if family == EncoderFamily::ModernBert {
            return read_modernbert(raw);
        }
        raw.check_not_quantised()?;
        let (_, _) = (raw.value("architectures"), raw.value("model_type"));
        let keys = family.keys();
        // The first two are names of one function; the approximations by tanh are others.
        if let Some(activation) = raw.text(keys.activation)?.filter(|name| !["gelu", "gelu_python"].contains(name)) {
            return Err(raw.unsupported(keys.activation, &activation.into(), "gelu"));
        }
        let dims = read_dims(raw, keys)?;
        let or_usual = |p: Option<f64>| p.unwrap_or(DEFAULT_DROPOUT);
        let hidden = or_usual(raw.probability(keys.dropout)?);
        let attention = or_usual(raw.probability(keys.attention_dropout)?);
        let head = raw.probability(keys.head_dropout)?;
        let padding = raw.id("pad_token_id")?.unwrap_or(family.default_padding());
        // BERT's head begins with its pooler, before which nothing is dropped.
        let (head_input, head_inner, first_position) = match family {
            EncoderFamily::Bert => (0.0, head.unwrap_or(hidden), 0),
            EncoderFamily::Roberta | EncoderFamily::XlmRoberta => {
                (head.unwrap_or(hidden), head.unwrap_or(hidden), padding + 1)
            }
            EncoderFamily::DistilBert | EncoderFamily::ModernBert => (0.0, head.unwrap_or(DEFAULT_DISTILBERT_HEAD), 0),
        };
        let (types, eps, known) = match family {
            EncoderFamily::Bert | EncoderFamily::Roberta | EncoderFamily::XlmRoberta => {
                let types = raw.size("type_vocab_size")?.unwrap_or(DEFAULT_TYPES);
                (types, raw.positive("layer_norm_eps")?.unwrap_or(DEFAULT_EPS), config_keys::ENCODER)
            }
            EncoderFamily::DistilBert | EncoderFamily::ModernBert => (0, DEFAULT_EPS, config_keys::DISTILBERT),
        };
        let config = Self {
            family,
            dims,
            positions: raw.size("max_position_embeddings")?.unwrap_or(DEFAULT_POSITIONS),
            types,
            first_position,
            eps,
            dropout: DropoutRates { hidden, attention, head_input, head_inner },
            pooling: Pooling::First,
            modern: None,
        };
        if config.longest() == 0 {
            let (key, wanted) = ("max_position_embeddings", format!("more than {first_position}"));
            return Err(raw.wrong(key, &config.positions.into(), &wanted));
        }
        raw.finish(&[config_keys::GENERAL, known])?;
        Ok(config)
    }

    /// Tokens of a sequence at most.
    pub fn longest(&self) -> usize {
        (self.positions - self.first_position).max(0) as usize
    }

    /// Rows of the table of positions; 0 where queries and keys are rotated instead.
    pub(super) fn position_rows(&self) -> i64 {
        if self.modern.is_some() { 0 } else { self.positions }
    }

    /// Every tensor of the encoder, by its name below the family's prefix, with its shape. Heads and poolers are not
    /// among them.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
        if let Some(modern) = &self.modern {
            return modern.tensors(&self.dims);
        }
        let Dims { layers, width, mlp_width, vocab, .. } = self.dims;
        let names = self.family.names();
        let mut tensors = Vec::new();
        for (name, rows) in [("word", vocab), ("position", self.positions), ("token_type", self.types)] {
            if rows > 0 {
                tensors.push((format!("embeddings.{name}_embeddings.weight"), vec![rows, width]));
            }
        }
        let norm = |module: &str| ["weight", "bias"].map(|name| (format!("{module}.{name}"), vec![width]));
        tensors.extend(norm("embeddings.LayerNorm"));
        for layer in 0..layers {
            let module = |name: &str| format!("{}.{layer}.{name}", names.blocks);
            let linear = |name: &str, input: i64, out: i64| {
                let module = module(name);
                [(format!("{module}.weight"), vec![out, input]), (format!("{module}.bias"), vec![out])]
            };
            for name in names.qkv {
                tensors.extend(linear(name, width, width));
            }
            tensors.extend(linear(names.o, width, width));
            tensors.extend(norm(&module(names.norm1)));
            tensors.extend(linear(names.up, width, mlp_width));
            tensors.extend(linear(names.down, mlp_width, width));
            tensors.extend(norm(&module(names.norm2)));
        }
        tensors
    }

    /// Numbers in the encoder.
    pub fn parameters(&self) -> i64 {
        self.tensors().iter().map(|(_, shape)| shape.iter().product::<i64>()).sum()
    }
}

fn read_modernbert(raw: &RawConfig<'_>) -> Result<EncoderConfig, ModelConfigError> {
    raw.check_not_quantised()?;
    let (_, _) = (raw.value("architectures"), raw.value("model_type"));
    let family = EncoderFamily::ModernBert;
    let dims = Dims { mlp: Mlp::Gated, ..read_dims(raw, family.keys())? };
    let positions = raw.size("max_position_embeddings")?.unwrap_or(modernbert_config::CONTEXT);
    let modern = modernbert_config::read(raw, &dims, positions)?;
    let head_inner = raw.probability(family.keys().head_dropout)?.unwrap_or(0.0);
    let config = EncoderConfig {
        family,
        dims,
        positions,
        types: 0,
        first_position: 0,
        eps: raw.positive("norm_eps")?.unwrap_or(modernbert_config::EPS),
        dropout: DropoutRates { head_inner, ..DropoutRates::OFF },
        pooling: modern.pooling,
        modern: Some(modern),
    };
    raw.finish(&[config_keys::GENERAL, config_keys::MODERNBERT])?;
    Ok(config)
}

fn read_dims(raw: &RawConfig<'_>, keys: &EncoderConfigKeys) -> Result<Dims, ModelConfigError> {
    let (width, heads) = (raw.needed_size(keys.width)?, raw.needed_size(keys.heads)?);
    let head_width = width / heads;
    if width % heads != 0 || head_width % 2 != 0 {
        // The attention kernels take two coordinates at a time.
        let (of_width, of_heads) = (keys.width, keys.heads);
        let reason = format!("{of_width} {width} does not divide among {heads} {of_heads} of even width");
        return Err(raw.error(ConfigProblem::Sizes(format!("{reason}: copy the model's configuration again"))));
    }
    Ok(Dims {
        layers: raw.layers(keys.layers)?,
        width,
        heads,
        kv_heads: heads,
        head_width,
        mlp_width: raw.needed_size(keys.inner)?,
        vocab: raw.needed_size("vocab_size")?,
        mlp: Mlp::Plain,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use reft_core::AdaptSpec;
    use serde_json::json;

    use super::*;

    /// RoBERTa's sizes, as its `config.json` states them.
    fn roberta(layers: usize, width: i64) -> EncoderConfig {
        let config = json!({"model_type": "roberta", "hidden_size": width, "intermediate_size": 4 * width,
            "num_hidden_layers": layers, "num_attention_heads": width / 64, "vocab_size": 50265,
            "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "hidden_act": "gelu",
            "pad_token_id": 1, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1});
        let raw = RawConfig::new(Path::new("config.json"), &config).expect("an object");
        EncoderConfig::read(&raw, EncoderFamily::Roberta).expect("valid")
    }

    #[test]
    fn counts_follow_from_the_configuration_alone() {
        let loreft = json!({"reft": {"intervention": "loreft", "rank": 1, "positions": "f3", "tying": "untied"}});
        let spec: AdaptSpec = serde_json::from_value(loreft).expect("valid");
        for (config, encoder, model, trained, percent) in [
            (roberta(12, 768), 124_055_040, 124_645_632, 18_444, "0.0148"),
            (roberta(24, 1024), 354_310_144, 355_359_744, 49_176, "0.0138"),
        ] {
            let width = config.dims.width;
            assert_eq!(config.parameters(), encoder);
            assert_eq!(config.parameters() + width * width + width, model, "with the pooler, as others count");
            let trainable = spec.trainable(&config.dims).expect("it fits");
            assert_eq!(trainable, trained);
            assert_eq!(format!("{:.4}", 100.0 * trainable as f64 / model as f64), percent);
            assert_eq!(config.longest(), 512);
        }
        let biases = |config: EncoderConfig| -> i64 {
            let tensors = config.tensors().into_iter().filter(|(name, _)| name.ends_with(".bias"));
            tensors.map(|(_, shape)| shape.iter().product::<i64>()).sum()
        };
        assert_eq!(biases(roberta(12, 768)), 102_144, "BitFit");
    }
}
