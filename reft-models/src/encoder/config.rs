//! An encoder's `config.json`, and everything that follows from it without the weights.

use reft_core::site::{Dims, Mlp};
use serde_json::{Value, json};

use crate::config_keys;
use crate::raw_config::{ConfigProblem, ModelConfigError, RawConfig};
use crate::registry::architectures;
use crate::weights::Weights;

/// Which family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncoderFamily {
    /// Positions count from 0; the classification head pools first.
    Bert,
    /// Positions count from the padding id plus 1; the head has a layer of its own.
    Roberta,
    /// RoBERTa with another vocabulary; its tensors have RoBERTa's names.
    XlmRoberta,
    /// BERT without token types and pooler; the head has a layer of its own.
    DistilBert,
}

/// What a family calls the modules of a block, below it.
pub(super) struct EncoderModuleNames {
    /// Where the blocks are.
    pub blocks: &'static str,
    pub qkv: [&'static str; 3],
    pub o: &'static str,
    pub norm1: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    pub norm2: &'static str,
}

const BERT: EncoderModuleNames = EncoderModuleNames {
    blocks: "encoder.layer",
    qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
    o: "attention.output.dense",
    norm1: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm2: "output.LayerNorm",
};

const DISTILBERT: EncoderModuleNames = EncoderModuleNames {
    blocks: "transformer.layer",
    qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    o: "attention.out_lin",
    norm1: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    norm2: "output_layer_norm",
};

/// What a family calls the entries of its configuration.
struct EncoderConfigKeys {
    width: &'static str,
    heads: &'static str,
    layers: &'static str,
    inner: &'static str,
    activation: &'static str,
    dropout: &'static str,
    attention_dropout: &'static str,
    head_dropout: &'static str,
}

const BERT_KEYS: EncoderConfigKeys = EncoderConfigKeys {
    width: "hidden_size",
    heads: "num_attention_heads",
    layers: "num_hidden_layers",
    inner: "intermediate_size",
    activation: "hidden_act",
    dropout: "hidden_dropout_prob",
    attention_dropout: "attention_probs_dropout_prob",
    head_dropout: "classifier_dropout",
};

const DISTILBERT_KEYS: EncoderConfigKeys = EncoderConfigKeys {
    width: "dim",
    heads: "n_heads",
    layers: "n_layers",
    inner: "hidden_dim",
    activation: "activation",
    dropout: "dropout",
    attention_dropout: "attention_dropout",
    head_dropout: "seq_classif_dropout",
};

impl EncoderFamily {
    /// Every family.
    pub const ALL: [Self; 4] = [Self::Bert, Self::Roberta, Self::XlmRoberta, Self::DistilBert];

    /// As `model_type` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::XlmRoberta => "xlm-roberta",
            Self::DistilBert => "distilbert",
        }
    }

    /// The prefix of its tensors in a checkpoint with a head.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta | Self::XlmRoberta => "roberta",
            Self::DistilBert => "distilbert",
        }
    }

    pub(super) fn names(self) -> &'static EncoderModuleNames {
        match self {
            Self::Bert | Self::Roberta | Self::XlmRoberta => &BERT,
            Self::DistilBert => &DISTILBERT,
        }
    }

    fn keys(self) -> &'static EncoderConfigKeys {
        match self {
            Self::Bert | Self::Roberta | Self::XlmRoberta => &BERT_KEYS,
            Self::DistilBert => &DISTILBERT_KEYS,
        }
    }

    /// Models of it, for lists.
    pub fn title(self) -> &'static str {
        match self {
            Self::Bert => "BERT, MiniLM",
            Self::Roberta => "RoBERTa",
            Self::XlmRoberta => "XLM-RoBERTa",
            Self::DistilBert => "DistilBERT",
        }
    }

    /// A configuration of a few thousand parameters, as `config.json` writes it.
    pub fn example(self) -> Value {
        let positions = match self {
            Self::Bert | Self::DistilBert => 64,
            Self::Roberta | Self::XlmRoberta => 66,
        };
        let EncoderConfigKeys { width, heads, layers, inner, activation, .. } = self.keys();
        let mut config = json!({"architectures": [format!("{}Model", self.class())], "model_type": self.name(),
            (*activation): "gelu", (*width): 16, (*inner): 24, (*layers): 2, (*heads): 4, "vocab_size": 64,
            "max_position_embeddings": positions, "pad_token_id": self.default_padding()});
        if self != Self::DistilBert {
            config["type_vocab_size"] = json!(1);
            config["layer_norm_eps"] = json!(1e-5);
        }
        config
    }

    /// How names of its architectures begin.
    fn class(self) -> &'static str {
        match self {
            Self::Bert => "Bert",
            Self::Roberta => "Roberta",
            Self::XlmRoberta => "XLMRoberta",
            Self::DistilBert => "DistilBert",
        }
    }

    /// The family that a configuration names: by `model_type`; in files without one by `architectures`; in those without
    /// both by the tensors' prefix. None when it is another, or nothing says.
    ///
    /// # Errors
    /// When one of the keys has another type, or they name different families.
    pub fn find(raw: &RawConfig<'_>, weights: &Weights) -> Result<Option<Self>, ModelConfigError> {
        let architectures = architectures(raw)?;
        // `BertModel`, `BertForMaskedLM`, but not the `BertGeneration…` of another port.
        let named = |family: &Self| {
            let rest = |name: &&str| name.strip_prefix(family.class()).map(str::to_owned);
            architectures.iter().filter_map(rest).any(|rest| rest == "Model" || rest.starts_with("For"))
        };
        let by_class = Self::ALL.into_iter().find(named);
        let Some(model_type) = raw.text("model_type")? else {
            let prefixed = |family: &Self| {
                let prefix = format!("{}.embeddings.", family.prefix());
                weights.names().iter().any(|name| name.starts_with(&prefix))
            };
            let by_tensors = || Self::ALL.into_iter().find(prefixed).filter(|_| architectures.is_empty());
            return Ok(by_class.or_else(by_tensors));
        };
        let by_type = Self::ALL.into_iter().find(|family| family.name() == model_type);
        if by_type.zip(by_class).is_some_and(|(by_type, by_class)| by_type != by_class) {
            let (first, second) = ("architectures".to_owned(), "model_type".to_owned());
            return Err(raw.error(ConfigProblem::Disagree { first, second }));
        }
        Ok(by_type)
    }

    /// The padding id where a file says none; RoBERTa's positions begin after it.
    fn default_padding(self) -> i64 {
        match self {
            Self::Bert | Self::DistilBert => 0,
            Self::Roberta | Self::XlmRoberta => 1,
        }
    }
}

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
#[derive(Clone, Copy, PartialEq, Debug)]
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
}

impl EncoderConfig {
    /// Reads the `config.json` of this family.
    ///
    /// # Errors
    /// When a key is missing, wrong, or not understood.
    pub fn read(raw: &RawConfig<'_>, family: EncoderFamily) -> Result<Self, ModelConfigError> {
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
            EncoderFamily::DistilBert => (0.0, head.unwrap_or(DEFAULT_DISTILBERT_HEAD), 0),
        };
        let (types, eps, known) = match family {
            EncoderFamily::Bert | EncoderFamily::Roberta | EncoderFamily::XlmRoberta => {
                let types = raw.size("type_vocab_size")?.unwrap_or(DEFAULT_TYPES);
                (types, raw.positive("layer_norm_eps")?.unwrap_or(DEFAULT_EPS), config_keys::ENCODER)
            }
            EncoderFamily::DistilBert => (0, DEFAULT_EPS, config_keys::DISTILBERT),
        };
        let config = Self {
            family,
            dims,
            positions: raw.size("max_position_embeddings")?.unwrap_or(DEFAULT_POSITIONS),
            types,
            first_position,
            eps,
            dropout: DropoutRates { hidden, attention, head_input, head_inner },
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

    /// Every tensor of the encoder, by its name below the family's prefix, with its shape. Heads and poolers are not
    /// among them.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
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
