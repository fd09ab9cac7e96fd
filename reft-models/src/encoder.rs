//! BERT, RoBERTa, XLM-RoBERTa and DistilBERT, whose blocks normalise after each sum (`post_norm.rs`), and ModernBERT, whose blocks
//! do so before (`modernbert.rs`). One port, told apart by their configuration.

mod attention;
mod config;
mod family;
mod head;
mod modernbert;
mod modernbert_config;
mod post_norm;

use std::collections::BTreeMap;

use reft_core::adaptation::{Mode, NamedTensor};
use reft_core::hooks::Hooks;
use reft_core::layout::Layout;
use reft_core::lender::NormWeight;
use reft_core::site::Component::Embedding;
use reft_core::site::{Dims, LayerId, LinearWeight, Site};
use tch::{Device, Kind, Tensor};

pub use self::attention::EncoderAttentionPlan;
pub use self::config::{DropoutRates, EncoderConfig};
pub use self::family::EncoderFamily;
use self::head::PretrainedHead;
use self::modernbert::ModernBertStack;
pub use self::modernbert_config::Pooling;
use self::post_norm::{PostNormBlock, dropped};
use crate::attention::Prefixes;
use crate::container::WeightsError;
use crate::nn::{Bias, LayerNorm, WeightSource};
use crate::raw_config::{ModelConfigError, RawConfig};
use crate::weights::Weights;

/// An encoder that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// The configuration is of another family, or asks for what this port does not compute.
    #[error(transparent)]
    Config(#[from] ModelConfigError),
    /// Nothing says which family it is.
    #[error(
        "{path}: neither model_type, nor architectures, nor the tensors' names say which encoder it is: add \"model_type\": \
         \"bert\" or \"model_type\": \"roberta\" (or xlm-roberta, distilbert, modernbert), whichever the weights are of"
    )]
    Unnamed {
        /// The model's configuration.
        path: String,
    },
    /// It is something else.
    #[error(
        "{path}: {key} `{found}` is no encoder that is read here: there are bert, roberta, xlm-roberta, distilbert and modernbert; \
         rows with labels need one of these"
    )]
    Unknown {
        /// The model's configuration.
        path: String,
        /// The key that says what it is.
        key: &'static str,
        /// What it says.
        found: String,
    },
    /// A tensor is missing or wrong.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// Everything one forward pass depends on beside weights and tokens.
pub struct EncoderPass<'a> {
    /// Which row is which token.
    pub layout: &'a Layout,
    /// Who reads and edits hidden states.
    pub hooks: &'a dyn Hooks,
    /// Whether the model's own dropout is on.
    pub mode: Mode,
}

/// A loaded encoder.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    words: Tensor,
    /// None for a model that rotates queries and keys.
    positions: Option<Tensor>,
    /// None for a model without token types.
    types: Option<Tensor>,
    norm: LayerNorm,
    blocks: Blocks,
    head: Option<PretrainedHead>,
}

#[derive(Debug)]
enum Blocks {
    PostNorm(Vec<PostNormBlock>),
    ModernBert(Box<ModernBertStack>),
}

impl Encoder {
    /// Reads a checkpoint into this type and device. A classification head is read if it is there.
    ///
    /// # Errors
    /// When the configuration is of another family, or a tensor is missing or of another shape.
    pub fn load(weights: &Weights, kind: Kind, device: Device) -> Result<Self, EncoderError> {
        let config = read_config(weights)?;
        let root = WeightSource::new(weights, kind, device);
        let source = below_prefix(&root, config.family);
        let head = PretrainedHead::load(weights, &root, &source, &config)?;
        let mut encoder = Self::assemble(config, &source)?;
        encoder.head = head;
        Ok(encoder)
    }

    /// The same without a classification head, whether one is there or not, from a source of the checkpoint's tensors.
    ///
    /// # Errors
    /// As for [`Encoder::load`].
    pub fn load_body(weights: &Weights, root: &WeightSource<'_>) -> Result<Self, EncoderError> {
        let config = read_config(weights)?;
        let source = below_prefix(root, config.family);
        Ok(Self::assemble(config, &source)?)
    }

    /// The encoder on other weights: those of [`lend`], perhaps moved since. Without a head of its own.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn on(&self, weights: &BTreeMap<String, Tensor>) -> Result<Self, WeightsError> {
        Self::assemble(self.config.clone(), &WeightSource::given(weights, self.words.kind()))
    }

    fn assemble(config: EncoderConfig, source: &WeightSource<'_>) -> Result<Self, WeightsError> {
        let (dims, eps) = (config.dims, config.eps);
        let embeddings = source.sub("embeddings");
        let table = |name: &str, rows: i64| {
            let read = || embeddings.sub(name).tensor("weight", &[rows, dims.width]);
            if rows > 0 { read().map(Some) } else { Ok(None) }
        };
        let names = config.family.names();
        let layers = source.sub(names.blocks);
        let block = |layer| PostNormBlock::load(&layers.sub(layer), names, LayerId(layer), (&dims, eps));
        let blocks = match &config.modern {
            Some(modern) => Blocks::ModernBert(Box::new(ModernBertStack::load(source, modern, (&dims, eps))?)),
            None => Blocks::PostNorm((0..dims.layers).map(block).collect::<Result<_, _>>()?),
        };
        let norm_bias = config.modern.as_ref().map_or(Bias::With, |modern| modern.norm_bias);
        Ok(Self {
            words: embeddings.sub(names.words).tensor("weight", &[dims.vocab, dims.width])?,
            positions: table("position_embeddings", config.position_rows())?,
            types: table("token_type_embeddings", config.types)?,
            norm: LayerNorm::load_with(&embeddings, names.embedding_norm, (dims.width, eps), norm_bias)?,
            blocks,
            head: None,
            config,
        })
    }

    /// Its sizes.
    pub fn dims(&self) -> &Dims {
        &self.config.dims
    }

    /// Its sizes and constants.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Type and device of its weights and hidden states.
    pub fn options(&self) -> (Kind, Device) {
        (self.words.kind(), self.words.device())
    }

    /// `h^(0)` `[N, D]` of token ids `[N]`, with the type of each token `[N]` where there are several. Positions begin behind
    /// the prefix that hooks bring.
    pub fn embed(&self, ids: &Tensor, types: Option<&Tensor>, layout: &Layout, hooks: &dyn Hooks) -> Tensor {
        let words = self.words.index_select(0, ids);
        let typed = match (&self.types, types) {
            (Some(table), Some(types)) => words + table.index_select(0, types),
            (Some(table), None) => words + table.narrow(0, 0, 1),
            (None, _) => words,
        };
        let sum = match &self.positions {
            None => typed,
            Some(table) => {
                let before = hooks.prefix(LayerId(0)).map_or(0, |prefix| prefix.keys.size()[0]);
                let positions = layout.position_ids(ids.device()) + self.config.first_position + before;
                typed + table.index_select(0, &positions)
            }
        };
        hooks.visit(Site { layer: LayerId(0), component: Embedding }, ids, self.norm.forward(&sum))
    }

    /// The last block's output for these tokens, `[N] -> [N, D]`, behind the norm that ends the model where there is one. Every
    /// token sees its whole sequence, or what its layer's window shows of it.
    pub fn hidden(&self, ids: &Tensor, types: Option<&Tensor>, reading: &EncoderPass<'_>) -> Tensor {
        let (kind, device) = self.options();
        let dropout = match reading.mode {
            Mode::Train => self.config.dropout,
            Mode::Eval => DropoutRates::OFF,
        };
        let dims = &self.config.dims;
        let prefixes: Prefixes =
            (0..dims.layers).map(LayerId).filter_map(|layer| Some((layer, reading.hooks.prefix(layer)?))).collect();
        let begin = dropped(self.embed(ids, types, reading.layout, reading.hooks), dropout.hidden);
        let blocks = match &self.blocks {
            Blocks::ModernBert(stack) => {
                return stack.forward(begin, dims, (reading.layout, reading.hooks), (kind, device), &prefixes);
            }
            Blocks::PostNorm(blocks) => blocks,
        };
        let together = match prefixes.values().next().map(|prefix| prefix.keys.size()[0]) {
            None => EncoderAttentionPlan::new(reading.layout, dims, kind, device, dropout.attention),
            Some(rows) => EncoderAttentionPlan::after(rows, reading.layout, (kind, device), dropout.attention),
        };
        let attention = (&together, &prefixes);
        blocks.iter().fold(begin, |h, block| block.forward(&h, dims, attention, reading.hooks, dropout))
    }

    /// The frozen weight behind a linear component; none where there is no such map.
    pub fn weight(&self, at: Site) -> Option<LinearWeight> {
        match &self.blocks {
            Blocks::PostNorm(blocks) => blocks.get(at.layer.0)?.weight(at.component, &self.config.dims),
            Blocks::ModernBert(stack) => stack.weight(at, &self.config.dims),
        }
    }

    /// The normalisation that ends a block; none where it ends with a sum.
    pub fn last_norm(&self, layer: LayerId) -> Option<NormWeight> {
        match &self.blocks {
            Blocks::PostNorm(blocks) => blocks.get(layer.0).map(PostNormBlock::last_norm),
            Blocks::ModernBert(_) => None,
        }
    }

    /// What a classification head reads of each sequence, `[N, D] -> [B, D]`: the state of its first token, or the mean of all
    /// of them, as the configuration says.
    pub fn pooled(&self, h: &Tensor, layout: &Layout) -> Tensor {
        let spans = layout.spans();
        match self.config.pooling {
            Pooling::First => {
                let first: Vec<i64> = spans.iter().map(|span| span.row).collect();
                h.index_select(0, &Tensor::from_slice(&first).to_device(h.device()))
            }
            Pooling::Mean => {
                let mean = |(row, len): (i64, i64)| h.narrow(0, row, len).mean_dim(0i64, false, h.kind());
                Tensor::stack(&spans.iter().map(|span| mean((span.row, span.len))).collect::<Vec<_>>(), 0)
            }
        }
    }

    /// The checkpoint's own scores of the classes `[B, C]` from what is [`pooled`](Self::pooled) `[B, D]`; none without a head.
    pub fn classify(&self, pooled: &Tensor) -> Option<Tensor> {
        self.head.as_ref().map(|head| head.scores(pooled))
    }
}

/// An encoder's dimensions; no tensor is read.
///
/// # Errors
/// When the configuration is of another family, or wrong.
pub fn dims(weights: &Weights) -> Result<Dims, EncoderError> {
    read_config(weights).map(|config| config.dims)
}

fn read_config(weights: &Weights) -> Result<EncoderConfig, EncoderError> {
    let path = weights.config_path();
    let raw = RawConfig::new(&path, weights.config())?;
    let path = || path.display().to_string();
    let Some(family) = EncoderFamily::find(&raw, weights)? else {
        let (key, found) = match (raw.text("model_type")?, raw.architectures()?.first()) {
            (Some(found), _) => ("model_type", found.to_owned()),
            (None, Some(found)) => ("architecture", (*found).to_owned()),
            (None, None) => return Err(EncoderError::Unnamed { path: path() }),
        };
        return Err(EncoderError::Unknown { path: path(), key, found });
    };
    let config = EncoderConfig::read(&raw, family)?;
    weights.check_not_quantised()?;
    Ok(config)
}

/// The encoder's module in a checkpoint. One without a head is often stored without the prefix.
fn below_prefix<'a>(root: &WeightSource<'a>, family: EncoderFamily) -> WeightSource<'a> {
    let words = format!("{}.weight", family.names().words);
    if root.sub("embeddings").contains(&words) { root.clone() } else { root.sub(family.prefix()) }
}

/// The encoder's tensors, f32, for training them: see [`Encoder::on`].
///
/// # Errors
/// When the checkpoint is not an encoder's, or a tensor is missing or of another shape.
pub fn lend(weights: &Weights, device: Device) -> Result<Vec<NamedTensor>, EncoderError> {
    let config = read_config(weights)?;
    let root = WeightSource::new(weights, Kind::Float, device);
    let source = below_prefix(&root, config.family);
    let read = |(name, shape): (String, Vec<i64>)| {
        // Old checkpoints call a norm's weight and bias `gamma` and `beta`.
        let old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        let tensor = source.tensor(if source.contains(&old) { &old } else { &name }, &shape)?;
        Ok(NamedTensor { name, tensor })
    };
    config.tensors().into_iter().map(read).collect()
}
