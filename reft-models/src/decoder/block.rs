//! One transformer block.
//!
//! ```text
//! serial    h ─┬─ norm ─ attention ─ norm ─ + ─┬─ norm ─ MLP ─ norm ─ + ─▶ Φ ─▶ h
//!              └────────────────────────────┘ └───────────────────┘
//! parallel  h ─┬─ norm ─ attention ─ + ─ + ─▶ Φ ─▶ h
//!              ├─────────────────────┘   │
//!              └─ norm ─ MLP ────────────┘
//! ```
//!
//! A family may lack any of the norms.

use reft_core::hooks::Hooks;
use reft_core::site::Component::{
    self, AttentionOutput, BlockInput, BlockOutput, Gate, HeadOutput, MlpHidden, MlpOutput, Up,
};
use reft_core::site::{Dims, LayerId, LinearWeight, Site};
use tch::Tensor;

use super::attention::Projections;
use super::config::{DecoderConfig, Residual};
use super::mlp::FeedForward;
use super::norm::{Norm, normalised};
use crate::attention::AttentionPlan;
use crate::container::WeightsError;
use crate::model::Pass;
use crate::nn::WeightSource;

/// The weights of a block.
#[derive(Debug)]
pub struct DecoderBlock {
    layer: LayerId,
    /// Which kind of attention of the model's it has.
    way: usize,
    residual: Residual,
    attention_norm: Option<Norm>,
    attention: Projections,
    mlp_norm: Option<Norm>,
    mlp: FeedForward,
}

impl DecoderBlock {
    /// Reads the block of this number.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape, or a bias is there that should not be.
    pub fn load(source: &WeightSource<'_>, layer: LayerId, config: &DecoderConfig) -> Result<Self, WeightsError> {
        Ok(Self {
            layer,
            way: config.kind_of[layer.0],
            residual: config.residual,
            attention_norm: Norm::load_if(source, config.names.attention_norms.before, config)?,
            attention: Projections::load(source, config)?,
            mlp_norm: Norm::load_if(source, config.names.mlp_norms.before, config)?,
            mlp: FeedForward::load(source, config)?,
        })
    }

    /// Its number.
    pub fn layer(&self) -> LayerId {
        self.layer
    }

    /// `[N, D] -> [N, D]`; of the rows `wanted` only, if there are any.
    pub fn forward(
        &self,
        h: &Tensor,
        dims: &Dims,
        plan: &AttentionPlan,
        wanted: Option<&Tensor>,
        pass: &mut Pass<'_>,
    ) -> Tensor {
        let hooks = pass.hooks;
        let at = |component: Component| Site { layer: self.layer, component };
        let h = hooks.visit(at(BlockInput), h, h.shallow_clone());
        let x = normalised(self.attention_norm.as_ref(), &h);
        let qkv = self.attention.qkv(&x, (dims, self.layer), hooks);
        let a = hooks.visit(at(HeadOutput), &x, plan.attend(dims, &qkv, &mut pass.cache, (self.layer, self.way)));
        // Behind the last attention no row looks at another: rows outside `Pass::wanted` need not go on.
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
        let middle = h + self.attention.output(a, self.layer, hooks);
        let read = match self.residual {
            Residual::Serial => &middle,
            Residual::Parallel => h,
        };
        let hidden = self.mlp.hidden(&normalised(self.mlp_norm.as_ref(), read), self.layer, hooks);
        &middle + self.mlp.output(&hidden, self.layer, hooks)
    }

    /// The weight behind a linear component.
    pub fn weight(&self, component: Component, dims: &Dims) -> Option<LinearWeight> {
        self.attention.weight(component, dims).or_else(|| self.mlp.weight(component, dims))
    }
}
