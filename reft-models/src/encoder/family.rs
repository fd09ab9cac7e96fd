//! The families of encoders: how each calls its modules and the keys of its `config.json`.

use serde_json::{Value, json};

use super::modernbert_config;
use crate::raw_config::{ConfigProblem, ModelConfigError, RawConfig};
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
    /// Rotated positions, windows in most layers, norms before attention and MLP.
    ModernBert,
}

/// What a family calls the modules of a block, below it.
pub(super) struct EncoderModuleNames {
    /// The table of tokens, below `embeddings`.
    pub words: &'static str,
    /// Its norm.
    pub embedding_norm: &'static str,
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
    words: "word_embeddings",
    embedding_norm: "LayerNorm",
    blocks: "encoder.layer",
    qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
    o: "attention.output.dense",
    norm1: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm2: "output.LayerNorm",
};

const DISTILBERT: EncoderModuleNames = EncoderModuleNames {
    words: "word_embeddings",
    embedding_norm: "LayerNorm",
    blocks: "transformer.layer",
    qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    o: "attention.out_lin",
    norm1: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    norm2: "output_layer_norm",
};

/// Its blocks have names of their own.
const MODERNBERT: EncoderModuleNames =
    EncoderModuleNames { words: "tok_embeddings", embedding_norm: "norm", blocks: "layers", ..BERT };

/// What a family calls the entries of its configuration.
pub(super) struct EncoderConfigKeys {
    pub width: &'static str,
    pub heads: &'static str,
    pub layers: &'static str,
    pub inner: &'static str,
    pub activation: &'static str,
    pub dropout: &'static str,
    pub attention_dropout: &'static str,
    pub head_dropout: &'static str,
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

const MODERNBERT_KEYS: EncoderConfigKeys = EncoderConfigKeys { activation: "hidden_activation", ..BERT_KEYS };

impl EncoderFamily {
    /// Every family.
    pub const ALL: [Self; 5] = [Self::Bert, Self::Roberta, Self::XlmRoberta, Self::DistilBert, Self::ModernBert];

    /// As `model_type` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::XlmRoberta => "xlm-roberta",
            Self::DistilBert => "distilbert",
            Self::ModernBert => "modernbert",
        }
    }

    /// The prefix of its tensors in a checkpoint with a head.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta | Self::XlmRoberta => "roberta",
            Self::DistilBert => "distilbert",
            Self::ModernBert => "model",
        }
    }

    pub(super) fn names(self) -> &'static EncoderModuleNames {
        match self {
            Self::Bert | Self::Roberta | Self::XlmRoberta => &BERT,
            Self::DistilBert => &DISTILBERT,
            Self::ModernBert => &MODERNBERT,
        }
    }

    pub(super) fn keys(self) -> &'static EncoderConfigKeys {
        match self {
            Self::Bert | Self::Roberta | Self::XlmRoberta => &BERT_KEYS,
            Self::DistilBert => &DISTILBERT_KEYS,
            Self::ModernBert => &MODERNBERT_KEYS,
        }
    }

    /// Models of it, for lists.
    pub fn title(self) -> &'static str {
        match self {
            Self::Bert => "BERT, MiniLM",
            Self::Roberta => "RoBERTa",
            Self::XlmRoberta => "XLM-RoBERTa",
            Self::DistilBert => "DistilBERT",
            Self::ModernBert => "ModernBERT base and large",
        }
    }

    /// What is read, and what is left out and why, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Self::Bert => {
                "absolute positions, exact GELU; a classification head is read; not relative positions and not cross-attention, \
                 which no classifier of the paper has"
            }
            Self::Roberta => "as bert, positions from the padding id on; the head reads the first token",
            Self::XlmRoberta => "as roberta, with a SentencePiece vocabulary; not XLM-RoBERTa-XL, another architecture",
            Self::DistilBert => "as bert, without token types and pooler",
            Self::ModernBert => {
                "global and local layers, biases as the file says, a head that pools the first token or the mean; not the heads of \
                 masked words, tokens and questions; dropout other than the head's is refused, as base and large have none"
            }
        }
    }

    /// A configuration of a few thousand parameters, as `config.json` writes it.
    pub fn example(self) -> Value {
        let positions = match self {
            Self::Bert | Self::DistilBert => 64,
            Self::Roberta | Self::XlmRoberta => 66,
            Self::ModernBert => return modernbert_config::example(),
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
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Bert => "Bert",
            Self::Roberta => "Roberta",
            Self::XlmRoberta => "XLMRoberta",
            Self::DistilBert => "DistilBert",
            Self::ModernBert => "ModernBert",
        }
    }

    /// The family that a configuration names: by `model_type`; in files without one by `architectures`; in those without
    /// both by the tensors' prefix. None when it is another, or nothing says.
    ///
    /// # Errors
    /// When one of the keys has another type, or they name different families.
    pub fn find(raw: &RawConfig<'_>, weights: &Weights) -> Result<Option<Self>, ModelConfigError> {
        let architectures = raw.architectures()?;
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
    pub(super) fn default_padding(self) -> i64 {
        match self {
            Self::Bert | Self::DistilBert | Self::ModernBert => 0,
            Self::Roberta | Self::XlmRoberta => 1,
        }
    }
}
