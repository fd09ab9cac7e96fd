//! What distinguishes one decoder from another: the switches that a family's file sets from `config.json`.

use reft_core::site::{Dims, LayerId};

use super::names::ModuleNames;
use crate::attention::AttentionRule;
use crate::nn::Bias;
use crate::rope::{LengthLimit, Rope};

/// A decoder, without its numbers.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    /// Its sizes.
    pub dims: Dims,
    /// Tokens of a sequence at most.
    pub context: usize,
    /// What its tensors are called, and which norms there are.
    pub names: &'static ModuleNames,
    /// Kind of its norms.
    pub norm: NormKind,
    /// Added to variances and mean squares.
    pub eps: f64,
    /// The MLP's activation.
    pub activation: Activation,
    /// How attention and MLP are added to the stream.
    pub residual: Residual,
    /// Which layers have biases.
    pub bias: Biases,
    /// Norms of queries and keys, before they are rotated.
    pub qk_norm: QkNorm,
    /// The kinds of attention that its layers have, each once.
    pub kinds: Vec<AttentionKind>,
    /// Which of them each layer has.
    pub kind_of: Vec<usize>,
    /// What embeddings are multiplied by.
    pub embedding_scale: Option<f64>,
    /// `c`: logits `x` become `c tanh(x / c)`.
    pub logit_cap: Option<f64>,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// What a user should know about the configuration, a line each.
    pub notes: Vec<String>,
}

/// Kind of a norm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NormKind {
    /// `x / rms(x) * w`.
    Rms,
    /// `x / rms(x) * (1 + w)`.
    RmsFromZero,
    /// `(x - mean) / sd * w + b`.
    Layer,
}

/// An activation function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activation {
    /// `x σ(x)`.
    Silu,
    /// `x Φ(x)` with the normal distribution's `Φ`.
    Gelu,
    /// Its approximation by a hyperbolic tangent.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

/// How attention and MLP are added to the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Residual {
    /// The MLP reads the stream after attention was added.
    Serial,
    /// Both read the block's input.
    Parallel,
}

/// Which linear layers of a block have biases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Biases {
    /// Queries, keys and values.
    pub qkv: Bias,
    /// Attention's output projection.
    pub output: Bias,
    /// All of the MLP.
    pub mlp: Bias,
}

/// Norms of queries and keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QkNorm {
    /// There are none.
    None,
    /// Of each head `[E]`.
    Head,
    /// Of all heads together, `[H E]` and `[K E]`.
    Whole,
}

/// How some layers attend.
#[derive(Clone, Debug)]
pub struct AttentionKind {
    /// How queries and keys are rotated.
    pub rope: Rope,
    /// How scores become weights.
    pub rule: AttentionRule,
}

impl DecoderConfig {
    /// Gives every layer the rotation and the window that `of_layer` says, and the scores of the rule that there is.
    pub fn set_layers(&mut self, ropes: &[Rope], of_layer: impl Fn(usize) -> (usize, Option<i64>)) {
        let rule = self.kinds.first().map_or(AttentionRule::plain(self.dims.head_width), |kind| kind.rule);
        let mut different: Vec<(usize, Option<i64>)> = Vec::new();
        self.kind_of = (0..self.dims.layers)
            .map(|layer| {
                let of_this = of_layer(layer);
                different.iter().position(|&other| other == of_this).unwrap_or_else(|| {
                    different.push(of_this);
                    different.len() - 1
                })
            })
            .collect();
        let kind = |(rope, window): (usize, Option<i64>)| {
            let rule = AttentionRule { window, ..rule };
            AttentionKind { rope: ropes[rope].clone(), rule }
        };
        self.kinds = different.into_iter().map(kind).collect();
    }

    /// Sets how scores become weights in all layers, windows aside.
    pub fn set_scores(&mut self, scaled_by: f64, cap: Option<f64>) {
        for kind in &mut self.kinds {
            (kind.rule.scaled_by, kind.rule.cap) = (scaled_by, cap);
        }
    }

    /// Keys that a token of this layer sees at most.
    pub fn window(&self, layer: LayerId) -> Option<i64> {
        self.kinds[self.kind_of[layer.0]].rule.window
    }

    /// The length up to which keys depend on positions alone, if there is one.
    pub fn length_limit(&self) -> Option<LengthLimit> {
        self.kinds.iter().find_map(|kind| kind.rope.limit())
    }
}
