//! The Llama family: Llama 1 to 3.2, SmolLM2, TinyLlama. One configuration, no checks by name.
//!
//! ```text
//! h ─┬─ norm ─ q,k,v ─ rope ─ attention ─ o ─ + ─┬─ norm ─ gate,up ─ silu ─ down ─ + ─▶ Φ ─▶ h
//!    └────────────────────────────────────────┘ └──────────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use reft_core::hooks::Hooks;
use reft_core::site::Component::{
    self, AttentionOutput, BlockInput, BlockOutput, Embedding, Gate, HeadOutput, Key, MlpHidden, MlpOutput, Query, Up,
    Value,
};
use reft_core::site::{Dims, LayerId, LinearWeight, Mlp, Site};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::attention::{Plan, Prefixes};
use crate::model::{Decoder, Pass};
use crate::nn::{Linear, RmsNorm, Source, gated_silu};
use crate::rope::{Rope, Scaling};
use crate::weights::{Weights, WeightsError};

/// A model that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum LlamaError {
    /// `config.json` lacks a field or holds something else.
    #[error("{path}: config.json: {reason}: this port reads the Llama family's configuration")]
    Config {
        /// The model.
        path: String,
        /// The parser's words.
        reason: String,
    },
    /// A feature that this port does not have.
    #[error("{path}: config.json: {key} `{value}` is not supported: this port has {supported}")]
    Unsupported {
        /// The model.
        path: String,
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What there is.
        supported: &'static str,
    },
    /// A tensor is missing or wrong.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// `config.json` as it is written.
#[derive(Deserialize)]
struct RawConfig {
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    num_key_value_heads: Option<i64>,
    head_dim: Option<i64>,
    vocab_size: i64,
    rms_norm_eps: f64,
    #[serde(default = "default_theta")]
    rope_theta: f64,
    rope_scaling: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default = "default_activation")]
    hidden_act: String,
}

fn default_theta() -> f64 {
    10_000.0
}

fn default_activation() -> String {
    "silu".to_owned()
}

/// The resolved configuration.
#[derive(Clone, Debug)]
struct Config {
    dims: Dims,
    eps: f64,
    rope: Rope,
    tied: bool,
}

impl Config {
    fn read(weights: &Weights) -> Result<Self, LlamaError> {
        let path = weights.path().display().to_string();
        let raw = RawConfig::deserialize(weights.config())
            .map_err(|error| LlamaError::Config { path: path.clone(), reason: error.to_string() })?;
        if raw.hidden_act != "silu" {
            let (value, supported) = (raw.hidden_act, "silu");
            return Err(LlamaError::Unsupported { path, key: "hidden_act", value, supported });
        }
        let head_width = raw.head_dim.unwrap_or(raw.hidden_size / raw.num_attention_heads.max(1));
        let dims = Dims {
            layers: raw.num_hidden_layers,
            width: raw.hidden_size,
            heads: raw.num_attention_heads,
            kv_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
            head_width,
            mlp_width: raw.intermediate_size,
            vocab: raw.vocab_size,
            mlp: Mlp::Gated,
        };
        if dims.heads <= 0 || dims.kv_heads <= 0 || dims.heads % dims.kv_heads != 0 || head_width % 2 != 0 {
            let reason = format!("{} heads of width {head_width} do not divide among {}", dims.heads, dims.kv_heads);
            return Err(LlamaError::Config { path, reason });
        }
        let rope = Rope::new(head_width, raw.rope_theta, scaling(raw.rope_scaling, &path)?);
        Ok(Self { dims, eps: raw.rms_norm_eps, rope, tied: raw.tie_word_embeddings })
    }
}

/// Older configurations say `type` where newer ones say `rope_type`.
fn scaling(raw: Option<serde_json::Map<String, serde_json::Value>>, path: &str) -> Result<Scaling, LlamaError> {
    let Some(mut raw) = raw else { return Ok(Scaling::Default) };
    if let Some(kind) = raw.get("type").cloned() {
        raw.entry("rope_type").or_insert(kind);
    }
    let value = raw.get("rope_type").map(ToString::to_string).unwrap_or_default();
    serde_json::from_value(raw.into()).map_err(|_| LlamaError::Unsupported {
        path: path.to_owned(),
        key: "rope_scaling",
        value,
        supported: "default, linear and llama3",
    })
}

/// A loaded model.
#[derive(Debug)]
pub struct Llama {
    config: Config,
    embedding: Tensor,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Linear,
    parameters: i64,
}

impl Llama {
    /// Reads a checkpoint into the source's type and device.
    ///
    /// # Errors
    /// When the configuration is not one of this family, or a tensor is missing or of another shape.
    pub fn load(weights: &Weights, source: &Source<'_>) -> Result<Self, LlamaError> {
        let config = Config::read(weights)?;
        let parameters = parameters(weights, config.tied);
        Ok(Self::assemble(config, parameters, source)?)
    }

    fn assemble(config: Config, parameters: i64, root: &Source<'_>) -> Result<Self, WeightsError> {
        let dims = config.dims;
        let model = root.sub("model");
        let embedding = model.sub("embed_tokens").tensor("weight", &[dims.vocab, dims.width])?;
        let block = |layer| Block::load(&model.sub("layers").sub(layer), LayerId(layer), &config);
        let blocks = (0..dims.layers).map(block).collect::<Result<Vec<_>, _>>()?;
        let norm = RmsNorm::load(&model, "norm", dims.width, config.eps)?;
        let head = if config.tied {
            Linear::tied(root, &embedding)
        } else {
            Linear::load(root, "lm_head", dims.width, dims.vocab)?
        };
        Ok(Self { config, embedding, blocks, norm, head, parameters })
    }
}

impl Llama {
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

/// Numbers in the checkpoint's tensors; a head that is tied to the embedding counts once.
fn parameters(weights: &Weights, tied: bool) -> i64 {
    let names = weights.names().into_iter().filter(|name| !(tied && *name == "lm_head.weight"));
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
        Ok(Box::new(Self::assemble(self.config.clone(), self.parameters, &source)?))
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
        Ok(Self {
            layer,
            norm1: RmsNorm::load(source, "input_layernorm", width, config.eps)?,
            qkv: Linear::fused(&attention, &["q_proj", "k_proj", "v_proj"], width, &[q, kv, kv])?,
            o: Linear::load(&attention, "o_proj", q, width)?,
            norm2: RmsNorm::load(source, "post_attention_layernorm", width, config.eps)?,
            gate_up: Linear::fused(&mlp, &["gate_proj", "up_proj"], width, &[mlp_width, mlp_width])?,
            down: Linear::load(&mlp, "down_proj", mlp_width, width)?,
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
