//! The Llama family: Llama 1 to 3.2, SmolLM2, TinyLlama. One configuration, no checks by name.
//!
//! ```text
//! h ─┬─ norm ─ q,k,v ─ rope ─ attention ─ o ─ + ─┬─ norm ─ gate,up ─ silu ─ down ─ + ─▶ Φ ─▶ h
//!    └────────────────────────────────────────┘ └──────────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use reft_core::hooks::Hooks;
use reft_core::site::Component::{
    self, AttentionOutput, BlockInput, BlockOutput, Embedding, Gate, HeadOutput, Key, MlpHidden, MlpOutput, Query, Up,
    Value,
};
use reft_core::site::{Dims, LayerId, LinearWeight, Mlp, Site};
use tch::{Device, Kind, Tensor};

use crate::attention::{Plan, Prefixes};
use crate::config_keys;
use crate::model::{Decoder, Pass};
use crate::nn::{Bias, Linear, RmsNorm, Source, gated_silu};
use crate::raw_config::{ConfigError, Problem, RawConfig};
use crate::rope::{Rope, RopeConfig};
use crate::weights::{Weights, WeightsError};

/// A model that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum LlamaError {
    /// The configuration is of another family, or asks for what this port does not compute.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A tensor is missing or wrong.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A tensor inside a block that no part of this port reads.
    #[error(
        "{path}: tensor `{name}` has no place in this port and may change results: take a checkpoint of the plain \
         architecture, with adapters merged"
    )]
    Unread {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// Neither a head nor leave to take the embedding for it.
    #[error(
        "{path}: tensor `lm_head.weight` is missing, and config.json does not say that the head is the embedding: add \
         \"tie_word_embeddings\": true if it is, else copy the complete checkpoint"
    )]
    NoHead {
        /// The checkpoint.
        path: PathBuf,
    },
}

/// Base of the rotary frequencies where the file says none: `LlamaConfig`'s in transformers.
const DEFAULT_THETA: f64 = 10_000.0;

/// Added to the mean square where the file does not say: `LlamaConfig`'s in transformers.
const DEFAULT_EPS: f64 = 1e-6;

/// Tokens of a sequence at most where the file does not say: `LlamaConfig`'s in transformers.
const DEFAULT_CONTEXT: i64 = 2048;

/// The resolved configuration.
#[derive(Clone, Debug)]
struct Config {
    dims: Dims,
    eps: f64,
    rope: Rope,
    context: usize,
    /// Whether the head is the embedding.
    tied: bool,
    /// Whether the projections of attention, and those of the MLP, have biases.
    bias: (Bias, Bias),
}

impl Config {
    fn read(weights: &Weights) -> Result<Self, ConfigError> {
        let path = weights.config_path();
        let raw = RawConfig::new(&path, weights.config())?;
        raw.check_not_quantised()?;
        let (_, _) = (raw.value("architectures"), raw.value("model_type"));
        let dims = read_dims(&raw)?;
        // Two names of one function.
        if let Some(activation) = raw.text("hidden_act")?.filter(|name| !["silu", "swish"].contains(name)) {
            return Err(raw.unsupported("hidden_act", &activation.into(), "silu"));
        }
        let rope = RopeConfig::read(&raw, DEFAULT_THETA)?;
        let biased = |key: &str| Ok::<_, ConfigError>(Bias::when(raw.switch(key)?.unwrap_or(false)));
        let config = Self {
            dims,
            eps: raw.positive("rms_norm_eps")?.unwrap_or(DEFAULT_EPS),
            rope: Rope::new(dims.head_width, rope.theta, rope.scaling),
            context: raw.size("max_position_embeddings")?.unwrap_or(DEFAULT_CONTEXT) as usize,
            tied: raw.switch("tie_word_embeddings")?.unwrap_or(false),
            bias: (biased("attention_bias")?, biased("mlp_bias")?),
        };
        raw.finish(&[config_keys::GENERAL, config_keys::LLAMA])?;
        Ok(config)
    }
}

fn read_dims(raw: &RawConfig<'_>) -> Result<Dims, ConfigError> {
    let (width, heads) = (raw.needed_size("hidden_size")?, raw.needed_size("num_attention_heads")?);
    let kv_heads = raw.size("num_key_value_heads")?.unwrap_or(heads);
    let own = raw.size("head_dim")?;
    let sizes =
        |reason: String| Err(raw.error(Problem::Sizes(format!("{reason}: copy the model's configuration again"))));
    if own.is_none() && width % heads != 0 {
        return sizes(format!("hidden_size {width} does not divide among {heads} num_attention_heads"));
    }
    let head_width = own.unwrap_or(width / heads);
    if heads % kv_heads != 0 {
        return sizes(format!("{heads} num_attention_heads do not divide among {kv_heads} num_key_value_heads"));
    }
    if head_width % 2 != 0 {
        return sizes(format!("heads have an odd width of {head_width}, whose halves cannot be rotated"));
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

/// A loaded model.
#[derive(Debug)]
pub struct Llama {
    config: Config,
    ends: Ends,
    embedding: Tensor,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Linear,
    parameters: i64,
    notes: Vec<String>,
}

impl Llama {
    /// Reads a checkpoint from a source of its tensors.
    ///
    /// # Errors
    /// When the configuration is not one of this family, or a tensor is missing, of another shape or without a place.
    pub fn load(weights: &Weights, source: &Source<'_>) -> Result<Self, LlamaError> {
        let config = Config::read(weights)?;
        weights.check_not_quantised()?;
        check_all_read(weights, &config)?;
        let ends = Ends::find(weights, config.tied)?;
        let mut model = Self::assemble(config, ends, source)?;
        model.parameters = parameters(weights, ends.are_one());
        model.notes = ends.note(weights, model.config.tied).into_iter().collect();
        Ok(model)
    }

    fn assemble(config: Config, ends: Ends, root: &Source<'_>) -> Result<Self, WeightsError> {
        let dims = config.dims;
        let model = root.sub("model");
        let embedding = root.tensor(ends.embedding(), &[dims.vocab, dims.width])?;
        let block = |layer| Block::load(&model.sub("layers").sub(layer), LayerId(layer), &config);
        let blocks = (0..dims.layers).map(block).collect::<Result<Vec<_>, _>>()?;
        let norm = RmsNorm::load(&model, "norm", dims.width, config.eps)?;
        let head = if ends.are_one() {
            Linear::tied_to(root, &embedding)
        } else {
            Linear::load(root, "lm_head", dims.width, dims.vocab, Bias::Without)?
        };
        Ok(Self { config, ends, embedding, blocks, norm, head, parameters: 0, notes: Vec::new() })
    }

    /// How the layers of `range` attend in this pass; positions begin behind the prefix that hooks bring.
    fn attention(&self, range: Range<usize>, pass: &Pass<'_>) -> Plan {
        let (kind, device) = self.options();
        let prefixes: Prefixes =
            range.map(LayerId).filter_map(|layer| Some((layer, pass.hooks.prefix(layer)?))).collect();
        let positions = pass.layout.position_ids(device);
        match prefixes.values().next().map(|prefix| prefix.keys.size()[0]) {
            None => Plan::new(pass.layout, self.config.rope.angles(&positions, kind), &pass.cache, kind, device),
            Some(rows) => {
                let angles = self.config.rope.angles(&(positions + rows), kind);
                Plan::after(prefixes, pass.layout, angles, &pass.cache, (kind, device))
            }
        }
    }
}

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// The two ends of the model: one tensor, which may be stored under either name, or two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ends {
    /// The embedding is the head.
    Embedding,
    /// The head is the embedding.
    Head,
    /// Each has its own.
    Two,
}

impl Ends {
    /// Tied ends that are stored under both names with different values are two tensors, as in transformers 5;
    /// transformers 4 took the embedding for both.
    fn find(weights: &Weights, tied: bool) -> Result<Self, LlamaError> {
        let (stored, head_stored) = (weights.contains(EMBEDDING), weights.contains(HEAD));
        if !tied && stored && !head_stored && weights.stored_otherwise(HEAD).is_none() {
            return Err(LlamaError::NoHead { path: weights.path().to_owned() });
        }
        if tied && !stored && head_stored {
            return Ok(Self::Head);
        }
        Ok(if tied && (!head_stored || weights.equal(EMBEDDING, HEAD)?) { Self::Embedding } else { Self::Two })
    }

    fn are_one(self) -> bool {
        self != Self::Two
    }

    /// The tensor that the embedding is read from.
    fn embedding(self) -> &'static str {
        if self == Self::Head { HEAD } else { EMBEDDING }
    }

    /// What a user should know of a checkpoint that contradicts its configuration.
    fn note(self, weights: &Weights, tied: bool) -> Option<String> {
        (tied && !self.are_one()).then(|| {
            format!(
                "{}: tie_word_embeddings is true, but `{HEAD}` and `{EMBEDDING}` differ: both are used, as transformers 5 \
                 does; remove `{HEAD}` to tie them, or set tie_word_embeddings to false",
                weights.path().display()
            )
        })
    }
}

/// Weights of a block, below `model.layers.N`.
const NORMS: [&str; 2] = ["input_layernorm", "post_attention_layernorm"];
const ATTENTION: [&str; 4] = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
const MLP: [&str; 3] = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];

/// Refuses a checkpoint with a weight inside its blocks that this port would pass over: a norm of queries, a bias that
/// the configuration does not announce, an adapter that is not merged. Buffers of older versions are no weights.
fn check_all_read(weights: &Weights, config: &Config) -> Result<(), LlamaError> {
    let (attention, mlp) = config.bias;
    let has = |modules: &[&str], module: &str| modules.contains(&module);
    let read = |module: &str, parameter: &str| match parameter {
        "weight" => has(&NORMS, module) || has(&ATTENTION, module) || has(&MLP, module),
        "bias" => (attention == Bias::With && has(&ATTENTION, module)) || (mlp == Bias::With && has(&MLP, module)),
        _ => false,
    };
    let foreign = |name: &&str| {
        let Some((layer, rest)) = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) else {
            return false;
        };
        // Layers beyond the last are not part of the model.
        let inside = layer.parse::<usize>().is_ok_and(|layer| layer < config.dims.layers);
        let buffer = rest.ends_with("inv_freq") || rest == "self_attn.masked_bias";
        inside && !buffer && !rest.rsplit_once('.').is_some_and(|(module, parameter)| read(module, parameter))
    };
    match weights.names().into_iter().find(foreign) {
        Some(name) => Err(LlamaError::Unread { path: weights.path().to_owned(), name: name.to_owned() }),
        None => Ok(()),
    }
}

/// Numbers in the checkpoint's tensors; a head that is tied to the embedding counts once.
fn parameters(weights: &Weights, tied: bool) -> i64 {
    let twice = tied && weights.contains(EMBEDDING);
    let names = weights.names().into_iter().filter(|name| !(twice && *name == HEAD));
    let trained = names.filter(|name| name.ends_with(".weight") || name.ends_with(".bias"));
    trained.filter_map(|name| weights.shape(name)).map(|shape| shape.iter().product::<i64>()).sum()
}

impl Decoder for Llama {
    fn dims(&self) -> &Dims {
        &self.config.dims
    }

    fn options(&self) -> (Kind, Device) {
        (self.embedding.kind(), self.embedding.device())
    }

    fn parameters(&self) -> i64 {
        self.parameters
    }

    fn context(&self) -> usize {
        self.config.context
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn embed(&self, ids: &Tensor, hooks: &dyn Hooks) -> Tensor {
        let at = Site { layer: LayerId(0), component: Embedding };
        hooks.visit(at, ids, self.embedding.index_select(0, ids))
    }

    fn layers(&self, h: Tensor, range: Range<usize>, pass: &mut Pass<'_>) -> Tensor {
        let attention = self.attention(range.clone(), pass);
        let dims = &self.config.dims;
        self.blocks[range].iter().fold(h, |h, block| {
            let wanted = pass.wanted.filter(|_| block.layer.0 + 1 == dims.layers);
            block.forward(&h, dims, &attention, wanted, pass)
        })
    }

    fn normalise(&self, h: &Tensor) -> Tensor {
        self.norm.forward(h)
    }

    fn head(&self, h: &Tensor) -> Tensor {
        self.head.forward(h)
    }

    fn on(&self, weights: &BTreeMap<String, Tensor>) -> Result<Box<dyn Decoder>, WeightsError> {
        let source = Source::given(weights, self.embedding.kind());
        let model = Self::assemble(self.config.clone(), self.ends, &source)?;
        Ok(Box::new(Self { parameters: self.parameters, ..model }))
    }

    fn weight(&self, at: Site) -> Option<LinearWeight> {
        self.blocks.get(at.layer.0)?.weight(at.component, &self.config.dims)
    }
}

/// One transformer block.
#[derive(Debug)]
struct Block {
    layer: LayerId,
    norm1: RmsNorm,
    qkv: Linear,
    o: Linear,
    norm2: RmsNorm,
    gate_up: Linear,
    down: Linear,
}

impl Block {
    fn load(source: &Source<'_>, layer: LayerId, config: &Config) -> Result<Self, WeightsError> {
        let Dims { width, heads, kv_heads, head_width, mlp_width, .. } = config.dims;
        let (attention, mlp) = (source.sub("self_attn"), source.sub("mlp"));
        let (q, kv) = (heads * head_width, kv_heads * head_width);
        let (on_attention, on_mlp) = config.bias;
        Ok(Self {
            layer,
            norm1: RmsNorm::load(source, "input_layernorm", width, config.eps)?,
            qkv: Linear::fused(&attention, &["q_proj", "k_proj", "v_proj"], width, &[q, kv, kv], on_attention)?,
            o: Linear::load(&attention, "o_proj", q, width, on_attention)?,
            norm2: RmsNorm::load(source, "post_attention_layernorm", width, config.eps)?,
            gate_up: Linear::fused(&mlp, &["gate_proj", "up_proj"], width, &[mlp_width, mlp_width], on_mlp)?,
            down: Linear::load(&mlp, "down_proj", mlp_width, width, on_mlp)?,
        })
    }

    fn forward(
        &self,
        h: &Tensor,
        dims: &Dims,
        attention: &Plan,
        wanted: Option<&Tensor>,
        pass: &mut Pass<'_>,
    ) -> Tensor {
        let hooks = pass.hooks;
        let at = |component: Component| Site { layer: self.layer, component };
        let h = hooks.visit(at(BlockInput), h, h.shallow_clone());
        let x = self.norm1.forward(&h);
        let qkv = self.qkv(&x, dims, hooks);
        let a = hooks.visit(at(HeadOutput), &x, attention.attend(dims, &qkv, &mut pass.cache, self.layer));
        // Behind the last attention no row looks at another: those that nobody asks for need not go on.
        let inside = [AttentionOutput, Gate, Up, MlpHidden, MlpOutput];
        let wanted = wanted.filter(|_| !inside.iter().any(|&component| hooks.wants(at(component))));
        let end = match wanted {
            None => self.after_attention(&h, &a, hooks),
            Some(rows) => {
                let end = self.after_attention(&h.index_select(0, rows), &a.index_select(0, rows), hooks);
                h.zeros_like().index_copy(0, rows, &end)
            }
        };
        hooks.visit(at(BlockOutput), &end.shallow_clone(), end) // h_p <- Φ(h_p), eq. 7
    }

    /// The block's output for rows with this input and these heads' outputs.
    fn after_attention(&self, h: &Tensor, a: &Tensor, hooks: &dyn Hooks) -> Tensor {
        let at = |component: Component| Site { layer: self.layer, component };
        let middle = h + hooks.visit(at(AttentionOutput), a, self.o.forward(a));
        let hidden = self.mlp_hidden(&self.norm2.forward(&middle), hooks);
        &middle + hooks.visit(at(MlpOutput), &hidden, self.down.forward(&hidden))
    }

    /// Queries, keys and values side by side, `[N, (H + 2K) E]`; taken apart only for a hook that wants one of them.
    fn qkv(&self, x: &Tensor, dims: &Dims, hooks: &dyn Hooks) -> Tensor {
        let all = self.qkv.forward(x);
        let at = |component| Site { layer: self.layer, component };
        let components = [Query, Key, Value];
        if !components.iter().any(|&component| hooks.wants(at(component))) {
            return all;
        }
        let (q, kv) = (dims.heads * dims.head_width, dims.kv_heads * dims.head_width);
        let parts = all.split_with_sizes([q, kv, kv], -1).into_iter();
        let visited: Vec<Tensor> = parts.zip(components).map(|(part, c)| hooks.visit(at(c), x, part)).collect();
        Tensor::cat(&visited, -1)
    }

    /// The MLP's hidden activation `[N, F]`; gate and up are taken apart only for a hook that wants one of them.
    fn mlp_hidden(&self, x: &Tensor, hooks: &dyn Hooks) -> Tensor {
        let at = |component| Site { layer: self.layer, component };
        let mut both = self.gate_up.forward(x);
        if hooks.wants(at(Gate)) || hooks.wants(at(Up)) {
            let parts = both.chunk(2, -1).into_iter().zip([Gate, Up]);
            both = Tensor::cat(&parts.map(|(part, c)| hooks.visit(at(c), x, part)).collect::<Vec<_>>(), -1);
        }
        hooks.visit(at(MlpHidden), x, gated_silu(&both))
    }

    /// The weight behind a linear component.
    fn weight(&self, component: Component, dims: &Dims) -> Option<LinearWeight> {
        let (q, kv, inner) = (dims.heads * dims.head_width, dims.kv_heads * dims.head_width, dims.mlp_width);
        match component {
            Query => Some(self.qkv.rows(0, q)),
            Key => Some(self.qkv.rows(q, kv)),
            Value => Some(self.qkv.rows(q + kv, kv)),
            AttentionOutput => Some(self.o.rows(0, dims.width)),
            Gate => Some(self.gate_up.rows(0, inner)),
            Up => Some(self.gate_up.rows(inner, inner)),
            MlpOutput => Some(self.down.rows(0, dims.width)),
            Embedding | BlockInput | HeadOutput | MlpHidden | BlockOutput => None,
        }
    }
}
