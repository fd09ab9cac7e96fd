//! Attention's linear layers, and the norms of queries and keys.
//!
//! ```text
//! x ─ q,k,v ─ norms of q and k ─ [query] [key] [value] ─ rope, attention ─ [head_output] ─ o ─ norm ─ [attention_output]
//! ```
//!
//! Changes of the maps themselves come before the norms.

use reft_core::hooks::Hooks;
use reft_core::site::Component::{AttentionOutput, Key, Query, Value};
use reft_core::site::{Component, Dims, LayerId, LinearWeight, Site};
use tch::Tensor;

use super::config::{DecoderConfig, QkNorm};
use super::norm::{Norm, normalised};
use crate::container::WeightsError;
use crate::nn::{Linear, WeightSource};

/// The parts of a block's attention that have weights.
#[derive(Debug)]
pub struct Projections {
    qkv: Linear,
    /// Of queries and of keys.
    qk_norms: Option<[Norm; 2]>,
    qk_norm: QkNorm,
    output: Linear,
    /// Of what is added to the stream.
    after: Option<Norm>,
}

impl Projections {
    /// Reads them from a block.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape, or a bias is there that should not be.
    pub fn load(block: &WeightSource<'_>, config: &DecoderConfig) -> Result<Self, WeightsError> {
        let (dims, names) = (&config.dims, config.names);
        let [q, kv] = widths(dims);
        let norm_of = |which: usize, whole: i64| match config.qk_norm {
            QkNorm::None => Ok(None),
            QkNorm::Head => Norm::load(block, names.qk_norms[which], dims.head_width, config).map(Some),
            QkNorm::Whole => Norm::load(block, names.qk_norms[which], whole, config).map(Some),
        };
        let qk_norms = norm_of(0, q)?.zip(norm_of(1, kv)?);
        Ok(Self {
            qkv: names.fused(block, names.qkv, (dims, &[q, kv, kv]), config.bias.qkv)?,
            qk_norms: qk_norms.map(|(of_queries, of_keys)| [of_queries, of_keys]),
            qk_norm: config.qk_norm,
            output: names.linear(block, names.output, [q, dims.width], config.bias.output)?,
            after: Norm::load_if(block, names.attention_norms.after, config)?,
        })
    }

    /// Queries, keys and values side by side, `[N, (H + 2K) E]`; taken apart only for norms and for a hook that wants one of
    /// them.
    pub fn qkv(&self, x: &Tensor, (dims, layer): (&Dims, LayerId), hooks: &dyn Hooks) -> Tensor {
        let all = self.qkv.forward(x);
        let at = |component| Site { layer, component };
        let components = [Query, Key, Value];
        if self.qk_norms.is_none() && !components.iter().any(|&component| hooks.wants(at(component))) {
            return all;
        }
        let [q, kv] = widths(dims);
        let parts = all.split_with_sizes([q, kv, kv], -1);
        let visited = parts.into_iter().zip(components).enumerate().map(|(which, (part, component))| {
            let part = hooks.visit_map(at(component), x, part);
            hooks.visit(at(component), x, self.normalised(which, &part, dims.head_width))
        });
        Tensor::cat(&visited.collect::<Vec<_>>(), -1)
    }

    /// Queries (0) or keys (1) as they are rotated; values (2) are as they were.
    fn normalised(&self, which: usize, part: &Tensor, head_width: i64) -> Tensor {
        let Some(norm) = self.qk_norms.as_ref().and_then(|norms| norms.get(which)) else { return part.shallow_clone() };
        match self.qk_norm {
            QkNorm::None => part.shallow_clone(),
            QkNorm::Head => norm.forward(&part.reshape([-1, head_width])).view_as(part),
            QkNorm::Whole => norm.forward(&part.contiguous()),
        }
    }

    /// What attention adds to the stream `[N, D]`, from the heads' outputs `[N, H E]`.
    pub fn output(&self, heads: &Tensor, layer: LayerId, hooks: &dyn Hooks) -> Tensor {
        let at = Site { layer, component: AttentionOutput };
        let added = hooks.visit_map(at, heads, self.output.forward(heads));
        hooks.visit(at, heads, normalised(self.after.as_ref(), &added))
    }

    /// The weight behind a linear component.
    pub fn weight(&self, component: Component, dims: &Dims) -> Option<LinearWeight> {
        let [q, kv] = widths(dims);
        match component {
            Query => Some(self.qkv.rows(0, q)),
            Key => Some(self.qkv.rows(q, kv)),
            Value => Some(self.qkv.rows(q + kv, kv)),
            AttentionOutput => Some(self.output.rows(0, dims.width)),
            Component::Embedding
            | Component::BlockInput
            | Component::HeadOutput
            | Component::Gate
            | Component::Up
            | Component::MlpHidden
            | Component::MlpOutput
            | Component::BlockOutput => None,
        }
    }
}

/// Widths of all queries and of all keys.
fn widths(dims: &Dims) -> [i64; 2] {
    [dims.heads * dims.head_width, dims.kv_heads * dims.head_width]
}
