//! BERT and RoBERTa: encoders whose blocks normalise after each sum. One port, told apart by their configuration.
//!
//! ```text
//! h ─┬─ q,k,v ─ attention ─ o ─ + ─ norm ─┬─ up ─ gelu ─ down ─ + ─ norm ─▶ Φ ─▶ h
//!    └──────────────────────────┘         └─────────────────────┘
//! ```

use reft_core::hooks::Hooks;
use reft_core::layout::Layout;
use reft_core::site::Component::{
    self, AttentionOutput, BlockInput, BlockOutput, HeadOutput, Key, MlpHidden, MlpOutput, Query, Value,
};
use reft_core::site::{Dims, LayerId, Site};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::nn::{LayerNorm, Linear, Source};
use crate::weights::{Weights, WeightsError};

/// An encoder that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// `config.json` lacks a field, or holds something that this port does not have.
    #[error("{path}: config.json: {reason}: this port reads BERT's and RoBERTa's configurations")]
    Config {
        /// The model.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is missing or wrong.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

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
}

/// A loaded encoder.
#[derive(Debug)]
pub struct Encoder {
    dims: Dims,
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    norm: LayerNorm,
    /// Position id of a sequence's first token.
    first_position: i64,
    blocks: Vec<Block>,
    head: Option<Head>,
}

/// The head that came with the checkpoint: `W_o tanh(W_d h_1 + b_d) + b_o` (eq. 5, before the softmax).
#[derive(Debug)]
struct Head {
    dense: Linear,
    out: Linear,
}

impl Encoder {
    /// Reads a checkpoint into this type and device. A classification head is read if it is there.
    ///
    /// # Errors
    /// When the configuration is of another family, or a tensor is missing or of another shape.
    pub fn load(weights: &Weights, kind: Kind, device: Device) -> Result<Self, EncoderError> {
        let path = weights.path().display().to_string();
        let wrong = |reason: String| EncoderError::Config { path: path.clone(), reason };
        let raw = RawConfig::deserialize(weights.config()).map_err(|error| wrong(error.to_string()))?;
        if raw.hidden_act != "gelu" {
            return Err(wrong(format!("hidden_act `{}` is not supported, only gelu", raw.hidden_act)));
        }
        let heads = raw.num_attention_heads;
        if heads <= 0 || raw.hidden_size % heads != 0 {
            return Err(wrong(format!("a width of {} does not divide among {heads} heads", raw.hidden_size)));
        }
        let dims = Dims {
            layers: raw.num_hidden_layers,
            width: raw.hidden_size,
            heads,
            kv_heads: heads,
            head_width: raw.hidden_size / heads,
            mlp_width: raw.intermediate_size,
            vocab: raw.vocab_size,
        };
        let root = Source::new(weights, kind, device);
        let prefix = match raw.model_type {
            Family::Bert => "bert",
            Family::Roberta => "roberta",
        };
        // A checkpoint without a head is often stored without the prefix.
        let bare = root.sub("embeddings").contains("word_embeddings.weight");
        let source = if bare { root.clone() } else { root.sub(prefix) };
        let table = |name: &str, rows: i64| source.sub("embeddings").sub(name).tensor("weight", &[rows, dims.width]);
        let (words, positions) =
            (table("word_embeddings", dims.vocab)?, table("position_embeddings", raw.max_position_embeddings)?);
        let types = table("token_type_embeddings", raw.type_vocab_size)?;
        let norm = LayerNorm::load(&source.sub("embeddings"), "LayerNorm", dims.width, raw.layer_norm_eps)?;
        let layers = source.sub("encoder").sub("layer");
        let block = |layer| Block::load(&layers.sub(layer), LayerId(layer), &dims, raw.layer_norm_eps);
        let blocks = (0..dims.layers).map(block).collect::<Result<Vec<_>, _>>()?;
        let head = Head::load(weights, &root, &source, raw.model_type, dims.width)?;
        let first_position = if raw.model_type == Family::Roberta { raw.pad_token_id + 1 } else { 0 };
        Ok(Self { dims, words, positions, types, norm, first_position, blocks, head })
    }

    /// Its sizes.
    pub fn dims(&self) -> &Dims {
        &self.dims
    }

    /// Type and device of its weights and hidden states.
    pub fn options(&self) -> (Kind, Device) {
        (self.words.kind(), self.words.device())
    }

    /// `h^(0)` `[N, D]` of token ids `[N]`, with the type of each token `[N]` where there are several.
    pub fn embed(&self, ids: &Tensor, types: Option<&Tensor>, layout: &Layout) -> Tensor {
        let positions = layout.position_ids(ids.device()) + self.first_position;
        let of_type = match types {
            Some(types) => self.types.index_select(0, types),
            None => self.types.narrow(0, 0, 1),
        };
        let sum = self.words.index_select(0, ids) + of_type + self.positions.index_select(0, &positions);
        self.norm.forward(&sum)
    }

    /// The last block's output for these tokens, `[N] -> [N, D]`. Every token sees its whole sequence.
    pub fn hidden(&self, ids: &Tensor, types: Option<&Tensor>, layout: &Layout, hooks: &dyn Hooks) -> Tensor {
        let (kind, device) = self.options();
        let pairs = Pairs::new(layout, kind, device);
        let begin = self.embed(ids, types, layout);
        self.blocks.iter().fold(begin, |h, block| block.forward(&h, &self.dims, &pairs, hooks))
    }

    /// The checkpoint's own scores of the classes `[B, C]` from each sequence's first token `[B, D]`; none without a head.
    pub fn classify(&self, first: &Tensor) -> Option<Tensor> {
        self.head.as_ref().map(|head| head.out.forward(&head.dense.forward(first).tanh()))
    }
}

impl Head {
    fn load(
        weights: &Weights,
        root: &Source<'_>,
        encoder: &Source<'_>,
        family: Family,
        width: i64,
    ) -> Result<Option<Self>, WeightsError> {
        let name = match family {
            Family::Bert => "classifier",
            Family::Roberta => "classifier.out_proj",
        };
        let Some(shape) = weights.shape(&format!("{name}.weight")) else { return Ok(None) };
        let out = Linear::load(root, name, width, shape[0])?;
        let dense = match family {
            Family::Bert => Linear::load(&encoder.sub("pooler"), "dense", width, width)?,
            Family::Roberta => Linear::load(&root.sub("classifier"), "dense", width, width)?,
        };
        Ok(Some(Self { dense, out }))
    }
}

/// One block.
#[derive(Debug)]
struct Block {
    layer: LayerId,
    qkv: Linear,
    o: Linear,
    norm1: LayerNorm,
    up: Linear,
    down: Linear,
    norm2: LayerNorm,
}

impl Block {
    fn load(source: &Source<'_>, layer: LayerId, dims: &Dims, eps: f64) -> Result<Self, WeightsError> {
        let (width, inner) = (dims.width, dims.mlp_width);
        let (attention, output) = (source.sub("attention"), source.sub("output"));
        Ok(Self {
            layer,
            qkv: Linear::fused(&attention.sub("self"), &["query", "key", "value"], width, &[width; 3])?,
            o: Linear::load(&attention.sub("output"), "dense", width, width)?,
            norm1: LayerNorm::load(&attention.sub("output"), "LayerNorm", width, eps)?,
            up: Linear::load(&source.sub("intermediate"), "dense", width, inner)?,
            down: Linear::load(&output, "dense", inner, width)?,
            norm2: LayerNorm::load(&output, "LayerNorm", width, eps)?,
        })
    }

    fn forward(&self, h: &Tensor, dims: &Dims, pairs: &Pairs, hooks: &dyn Hooks) -> Tensor {
        let at = |component: Component| Site { layer: self.layer, component };
        let h = hooks.visit(at(BlockInput), h, h.shallow_clone());
        let parts = self.qkv.forward(&h).chunk(3, -1).into_iter().zip([Query, Key, Value]);
        let parts: Vec<Tensor> = parts.map(|(part, component)| hooks.visit(at(component), &h, part)).collect();
        let a = hooks.visit(at(HeadOutput), &h, pairs.attend(dims, &parts[0], &parts[1], &parts[2]));
        let attended = hooks.visit(at(AttentionOutput), &a, self.o.forward(&a));
        let middle = self.norm1.forward(&(&h + attended));
        let inner = hooks.visit(at(MlpHidden), &middle, self.up.forward(&middle).gelu("none"));
        let added = hooks.visit(at(MlpOutput), &inner, self.down.forward(&inner));
        let end = self.norm2.forward(&(&middle + added));
        hooks.visit(at(BlockOutput), &h, end) // h_p <- Φ(h_p), eq. 7
    }
}

/// Which tokens see each other: those of one sequence.
struct Pairs {
    sequences: i64,
    longest: i64,
    /// Row of each cell `[B*T]`.
    rows: Tensor,
    /// Cell of each row `[N]`.
    cells: Tensor,
    /// 0 for a token's cell and -inf for an empty one, `[B, 1, 1, T]`.
    mask: Tensor,
}

impl Pairs {
    fn new(layout: &Layout, kind: Kind, device: Device) -> Self {
        let spans = layout.spans();
        let longest = spans.iter().map(|span| span.len).max().unwrap_or(0);
        // Cells and rows without a token point at 0: what they hold is never seen.
        let (mut rows, mut cells) = (vec![0i64; spans.len() * longest as usize], vec![0i64; layout.rows() as usize]);
        let mut mask = vec![f32::NEG_INFINITY; rows.len()];
        for (index, span) in spans.iter().enumerate() {
            for token in 0..span.len {
                let cell = index as i64 * longest + token;
                rows[cell as usize] = span.row + token;
                cells[(span.row + token) as usize] = cell;
                mask[cell as usize] = 0.0;
            }
        }
        let sequences = spans.len() as i64;
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        let mask = Tensor::from_slice(&mask).to_device(device).to_kind(kind).view([sequences, 1, 1, longest]);
        Self { sequences, longest, rows: tensor(&rows), cells: tensor(&cells), mask }
    }

    /// `[N, D]` each; `[N, D]`.
    fn attend(&self, dims: &Dims, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let shape = [self.sequences, self.longest, dims.heads, dims.head_width];
        let block = |x: &Tensor| x.index_select(0, &self.rows).view(shape).transpose(1, 2);
        let mask = Some(&self.mask);
        let seen = Tensor::scaled_dot_product_attention(&block(q), &block(k), &block(v), mask, 0.0, false, None, false);
        seen.transpose(1, 2).reshape([self.sequences * self.longest, -1]).index_select(0, &self.cells)
    }
}
