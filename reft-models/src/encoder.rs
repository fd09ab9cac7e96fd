//! BERT, RoBERTa, XLM-RoBERTa and DistilBERT: encoders whose blocks normalise after each sum. One port, told apart by their
//! configuration.
//!
//! ```text
//! h ─┬─ q,k,v ─ attention ─ o ─ + ─ norm ─┬─ up ─ gelu ─ down ─ + ─ norm ─▶ Φ ─▶ h
//!    └──────────────────────────┘         └─────────────────────┘
//! ```

mod attention;
mod config;
mod family;

use std::collections::BTreeMap;

use reft_core::adaptation::{Mode, NamedTensor};
use reft_core::hooks::{Hooks, visit_linear};
use reft_core::layout::Layout;
use reft_core::lender::NormWeight;
use reft_core::site::Component::{
    self, AttentionOutput, BlockInput, BlockOutput, Embedding, Gate, HeadOutput, Key, MlpHidden, MlpOutput, Query, Up,
    Value,
};
use reft_core::site::{Dims, LayerId, LinearWeight, Site};
use tch::{Device, Kind, Tensor};

pub use self::attention::EncoderAttentionPlan;
pub use self::config::{DropoutRates, EncoderConfig};
pub use self::family::EncoderFamily;
use self::family::EncoderModuleNames;
use crate::attention::Prefixes;
use crate::container::WeightsError;
use crate::nn::{Bias, LayerNorm, Linear, WeightSource};
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
         \"bert\" or \"model_type\": \"roberta\" (or xlm-roberta, distilbert), whichever the weights are of"
    )]
    Unnamed {
        /// The model's configuration.
        path: String,
    },
    /// It is something else.
    #[error(
        "{path}: {key} `{found}` is no encoder that is read here: there are bert, roberta, xlm-roberta and distilbert"
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
    positions: Tensor,
    /// None for a model without token types.
    types: Option<Tensor>,
    norm: LayerNorm,
    blocks: Vec<EncoderBlock>,
    head: Option<PretrainedHead>,
}

/// The head that came with the checkpoint: `W_o tanh(W_d h_1 + b_d) + b_o` (eq. 5, before the softmax); DistilBERT's has `relu`
/// in the place of `tanh`.
#[derive(Debug)]
struct PretrainedHead {
    dense: Linear,
    out: Linear,
    family: EncoderFamily,
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
        let mut encoder = Self::assemble(config, &source)?;
        encoder.head = PretrainedHead::load(weights, &root, &source, config.family, config.dims.width)?;
        Ok(encoder)
    }

    /// The same without a classification head, whether one is there or not, from a source of the checkpoint's tensors.
    ///
    /// # Errors
    /// As for [`Encoder::load`].
    pub fn load_body(weights: &Weights, root: &WeightSource<'_>) -> Result<Self, EncoderError> {
        let config = read_config(weights)?;
        Ok(Self::assemble(config, &below_prefix(root, config.family))?)
    }

    /// The encoder on other weights: those of [`lend`], perhaps moved since. Without a head of its own.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn on(&self, weights: &BTreeMap<String, Tensor>) -> Result<Self, WeightsError> {
        Self::assemble(self.config, &WeightSource::given(weights, self.words.kind()))
    }

    fn assemble(config: EncoderConfig, source: &WeightSource<'_>) -> Result<Self, WeightsError> {
        let EncoderConfig { dims, eps, .. } = config;
        let embeddings = source.sub("embeddings");
        let table = |name: &str, rows: i64| embeddings.sub(name).tensor("weight", &[rows, dims.width]);
        let names = config.family.names();
        let layers = source.sub(names.blocks);
        let block = |layer| EncoderBlock::load(&layers.sub(layer), names, LayerId(layer), (&dims, eps));
        Ok(Self {
            config,
            words: table("word_embeddings", dims.vocab)?,
            positions: table("position_embeddings", config.positions)?,
            types: if config.types > 0 { Some(table("token_type_embeddings", config.types)?) } else { None },
            norm: LayerNorm::load(&embeddings, "LayerNorm", dims.width, eps)?,
            blocks: (0..dims.layers).map(block).collect::<Result<Vec<_>, _>>()?,
            head: None,
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
        let before = hooks.prefix(LayerId(0)).map_or(0, |prefix| prefix.keys.size()[0]);
        let positions = layout.position_ids(ids.device()) + self.config.first_position + before;
        let words = self.words.index_select(0, ids);
        let typed = match (&self.types, types) {
            (Some(table), Some(types)) => words + table.index_select(0, types),
            (Some(table), None) => words + table.narrow(0, 0, 1),
            (None, _) => words,
        };
        let sum = typed + self.positions.index_select(0, &positions);
        hooks.visit(Site { layer: LayerId(0), component: Embedding }, ids, self.norm.forward(&sum))
    }

    /// The last block's output for these tokens, `[N] -> [N, D]`. Every token sees its whole sequence.
    pub fn hidden(&self, ids: &Tensor, types: Option<&Tensor>, reading: &EncoderPass<'_>) -> Tensor {
        let (kind, device) = self.options();
        let dropout = match reading.mode {
            Mode::Train => self.config.dropout,
            Mode::Eval => DropoutRates::OFF,
        };
        let dims = &self.config.dims;
        let prefixes: Prefixes =
            (0..dims.layers).map(LayerId).filter_map(|layer| Some((layer, reading.hooks.prefix(layer)?))).collect();
        let together = match prefixes.values().next().map(|prefix| prefix.keys.size()[0]) {
            None => EncoderAttentionPlan::new(reading.layout, dims, kind, device, dropout.attention),
            Some(rows) => EncoderAttentionPlan::after(rows, reading.layout, (kind, device), dropout.attention),
        };
        let attention = (&together, &prefixes);
        let begin = dropped(self.embed(ids, types, reading.layout, reading.hooks), dropout.hidden);
        self.blocks.iter().fold(begin, |h, block| block.forward(&h, dims, attention, reading.hooks, dropout))
    }

    /// The frozen weight behind a linear component; none where there is no such map.
    pub fn weight(&self, at: Site) -> Option<LinearWeight> {
        self.blocks.get(at.layer.0)?.weight(at.component, &self.config.dims)
    }

    /// The normalisation that ends a block.
    pub fn last_norm(&self, layer: LayerId) -> Option<NormWeight> {
        self.blocks.get(layer.0).map(|block| block.norm2.lent())
    }

    /// The checkpoint's own scores of the classes `[B, C]` from each sequence's first token `[B, D]`; none without a head.
    pub fn classify(&self, first: &Tensor) -> Option<Tensor> {
        self.head.as_ref().map(|head| head.scores(first))
    }
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
    if root.sub("embeddings").contains("word_embeddings.weight") { root.clone() } else { root.sub(family.prefix()) }
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

/// `x` with coordinates dropped with probability `p`, the others scaled up.
fn dropped(x: Tensor, p: f64) -> Tensor {
    if p > 0.0 { x.dropout(p, true) } else { x }
}

impl PretrainedHead {
    fn load(
        weights: &Weights,
        root: &WeightSource<'_>,
        encoder: &WeightSource<'_>,
        family: EncoderFamily,
        width: i64,
    ) -> Result<Option<Self>, WeightsError> {
        let name = match family {
            EncoderFamily::Bert | EncoderFamily::DistilBert => "classifier",
            EncoderFamily::Roberta | EncoderFamily::XlmRoberta => "classifier.out_proj",
        };
        let Some(shape) = weights.shape(&format!("{name}.weight")) else { return Ok(None) };
        let out = Linear::load(root, name, width, shape[0], Bias::With)?;
        let dense = match family {
            EncoderFamily::Bert => Linear::load(&encoder.sub("pooler"), "dense", width, width, Bias::With)?,
            EncoderFamily::Roberta | EncoderFamily::XlmRoberta => {
                Linear::load(&root.sub("classifier"), "dense", width, width, Bias::With)?
            }
            EncoderFamily::DistilBert => Linear::load(root, "pre_classifier", width, width, Bias::With)?,
        };
        Ok(Some(Self { dense, out, family }))
    }

    /// `[B, D] -> [B, C]`.
    fn scores(&self, first: &Tensor) -> Tensor {
        let inner = self.dense.forward(first);
        let inner = match self.family {
            EncoderFamily::Bert | EncoderFamily::Roberta | EncoderFamily::XlmRoberta => inner.tanh(),
            EncoderFamily::DistilBert => inner.relu(),
        };
        self.out.forward(&inner)
    }
}

/// One block.
#[derive(Debug)]
struct EncoderBlock {
    layer: LayerId,
    qkv: Linear,
    o: Linear,
    norm1: LayerNorm,
    up: Linear,
    down: Linear,
    norm2: LayerNorm,
}

impl EncoderBlock {
    fn load(
        source: &WeightSource<'_>,
        names: &EncoderModuleNames,
        layer: LayerId,
        (dims, eps): (&Dims, f64),
    ) -> Result<Self, WeightsError> {
        let (width, inner) = (dims.width, dims.mlp_width);
        Ok(Self {
            layer,
            qkv: Linear::fused(source, &names.qkv, width, &[width; 3], Bias::With)?,
            o: Linear::load(source, names.o, width, width, Bias::With)?,
            norm1: LayerNorm::load(source, names.norm1, width, eps)?,
            up: Linear::load(source, names.up, width, inner, Bias::With)?,
            down: Linear::load(source, names.down, inner, width, Bias::With)?,
            norm2: LayerNorm::load(source, names.norm2, width, eps)?,
        })
    }

    fn forward(
        &self,
        h: &Tensor,
        dims: &Dims,
        (together, prefixes): (&EncoderAttentionPlan, &Prefixes),
        hooks: &dyn Hooks,
        dropout: DropoutRates,
    ) -> Tensor {
        let at = |component: Component| Site { layer: self.layer, component };
        let h = hooks.visit(at(BlockInput), h, h.shallow_clone());
        let parts = self.qkv.forward(&h).chunk(3, -1).into_iter().zip([Query, Key, Value]);
        let parts: Vec<Tensor> = parts.map(|(part, component)| visit_linear(hooks, at(component), &h, part)).collect();
        let a = hooks.visit(at(HeadOutput), &h, together.attend_after(dims, &parts, prefixes.get(&self.layer)));
        let attended = visit_linear(hooks, at(AttentionOutput), &a, self.o.forward(&a));
        let middle = self.norm1.forward(&(&h + dropped(attended, dropout.hidden)));
        let up = visit_linear(hooks, at(Up), &middle, self.up.forward(&middle));
        let inner = hooks.visit(at(MlpHidden), &middle, up.gelu("none"));
        let added = visit_linear(hooks, at(MlpOutput), &inner, self.down.forward(&inner));
        let end = self.norm2.forward(&(&middle + dropped(added, dropout.hidden)));
        hooks.visit(at(BlockOutput), &end.shallow_clone(), end) // h_p <- Φ(h_p), eq. 7
    }

    /// The weight behind a linear component.
    fn weight(&self, component: Component, dims: &Dims) -> Option<LinearWeight> {
        let width = dims.width;
        match component {
            Query => Some(self.qkv.rows(0, width)),
            Key => Some(self.qkv.rows(width, width)),
            Value => Some(self.qkv.rows(2 * width, width)),
            AttentionOutput => Some(self.o.rows(0, width)),
            Up => Some(self.up.rows(0, dims.mlp_width)),
            MlpOutput => Some(self.down.rows(0, width)),
            Embedding | BlockInput | HeadOutput | Gate | MlpHidden | BlockOutput => None,
        }
    }
}
