//! An encoder's `config.json`, and everything that follows from it without the weights.

use reft_core::site::{Dims, Mlp};
use serde::Deserialize;
use serde_json::Value;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Positions count from 0; the classification head pools first.
    Bert,
    /// Positions count from the padding id plus 1; the head has a layer of its own.
    Roberta,
}

/// `config.json` as it is written.
#[derive(Deserialize)]
struct RawConfig {
    model_type: Family,
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    vocab_size: i64,
    max_position_embeddings: i64,
    type_vocab_size: i64,
    layer_norm_eps: f64,
    hidden_act: String,
    #[serde(default)]
    pad_token_id: i64,
    #[serde(default = "usual")]
    hidden_dropout_prob: f64,
    #[serde(default = "usual")]
    attention_probs_dropout_prob: f64,
    classifier_dropout: Option<f64>,
}

/// What both families drop where a file does not say.
fn usual() -> f64 {
    0.1
}

/// Probabilities of dropout in training.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Dropout {
    /// Of the embeddings, and of what attention and MLP add to the stream.
    pub hidden: f64,
    /// Of attention's weights.
    pub attention: f64,
    /// Of a classification head's input.
    pub head_input: f64,
    /// Of its inner state.
    pub head_inner: f64,
}

impl Dropout {
    /// None anywhere.
    pub const OFF: Self = Self { hidden: 0.0, attention: 0.0, head_input: 0.0, head_inner: 0.0 };
}

/// Sizes and constants of an encoder.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct EncoderConfig {
    /// BERT or RoBERTa.
    pub family: Family,
    /// Sizes that decide the shapes of interventions.
    pub dims: Dims,
    /// Rows of the position table.
    pub positions: i64,
    /// Rows of the table of token types.
    pub types: i64,
    /// Position id of a sequence's first token.
    pub first_position: i64,
    /// Added to the variance in normalisation.
    pub eps: f64,
    /// As the model was trained.
    pub dropout: Dropout,
}

impl EncoderConfig {
    /// Whether a configuration is of one of the families.
    pub fn is_one(config: &Value) -> bool {
        config.get("model_type").is_some_and(|family| Family::deserialize(family).is_ok())
    }

    /// Reads `config.json`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(config: &Value) -> Result<Self, String> {
        let raw = RawConfig::deserialize(config).map_err(|error| error.to_string())?;
        if raw.hidden_act != "gelu" {
            return Err(format!("hidden_act `{}` is not supported, only gelu", raw.hidden_act));
        }
        let heads = raw.num_attention_heads;
        if heads <= 0 || raw.hidden_size % heads != 0 {
            return Err(format!("a width of {} does not divide among {heads} heads", raw.hidden_size));
        }
        let dims = Dims {
            layers: raw.num_hidden_layers,
            width: raw.hidden_size,
            heads,
            kv_heads: heads,
            head_width: raw.hidden_size / heads,
            mlp_width: raw.intermediate_size,
            vocab: raw.vocab_size,
            mlp: Mlp::Plain,
        };
        let (hidden, attention) = (raw.hidden_dropout_prob, raw.attention_probs_dropout_prob);
        let head_inner = raw.classifier_dropout.unwrap_or(hidden);
        // BERT's head begins with its pooler, before which nothing is dropped.
        let (head_input, first_position) = match raw.model_type {
            Family::Bert => (0.0, 0),
            Family::Roberta => (head_inner, raw.pad_token_id + 1),
        };
        Ok(Self {
            family: raw.model_type,
            dims,
            positions: raw.max_position_embeddings,
            types: raw.type_vocab_size,
            first_position,
            eps: raw.layer_norm_eps,
            dropout: Dropout { hidden, attention, head_input, head_inner },
        })
    }

    /// Tokens of a sequence at most.
    pub fn longest(&self) -> usize {
        (self.positions - self.first_position).max(0) as usize
    }

    /// Every tensor of the encoder, by its name below the family's prefix, with its shape. Heads and poolers are not
    /// among them.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
        let Dims { layers, width, mlp_width, vocab, .. } = self.dims;
        let mut tensors = Vec::new();
        for (name, rows) in [("word", vocab), ("position", self.positions), ("token_type", self.types)] {
            tensors.push((format!("embeddings.{name}_embeddings.weight"), vec![rows, width]));
        }
        let norm = |prefix: &str| ["weight", "bias"].map(|name| (format!("{prefix}.LayerNorm.{name}"), vec![width]));
        tensors.extend(norm("embeddings"));
        for layer in 0..layers {
            let prefix = format!("encoder.layer.{layer}");
            let linear = |name: &str, input: i64, out: i64| {
                let module = format!("{prefix}.{name}");
                [(format!("{module}.weight"), vec![out, input]), (format!("{module}.bias"), vec![out])]
            };
            for name in ["query", "key", "value"] {
                tensors.extend(linear(&format!("attention.self.{name}"), width, width));
            }
            tensors.extend(linear("attention.output.dense", width, width));
            tensors.extend(norm(&format!("{prefix}.attention.output")));
            tensors.extend(linear("intermediate.dense", width, mlp_width));
            tensors.extend(linear("output.dense", mlp_width, width));
            tensors.extend(norm(&format!("{prefix}.output")));
        }
        tensors
    }

    /// Numbers in the encoder.
    pub fn parameters(&self) -> i64 {
        self.tensors().iter().map(|(_, shape)| shape.iter().product::<i64>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use reft_core::AdaptSpec;
    use serde_json::json;

    use super::*;

    /// RoBERTa's sizes, as its `config.json` states them.
    fn roberta(layers: usize, width: i64) -> EncoderConfig {
        let config = json!({"model_type": "roberta", "hidden_size": width, "intermediate_size": 4 * width,
            "num_hidden_layers": layers, "num_attention_heads": width / 64, "vocab_size": 50265,
            "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "hidden_act": "gelu",
            "pad_token_id": 1, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1});
        EncoderConfig::read(&config).expect("valid")
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
