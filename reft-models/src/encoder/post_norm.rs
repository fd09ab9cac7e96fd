//! Blocks of BERT and RoBERTa, which normalise after each sum.
//!
//! ```text
//! h ─┬─ q,k,v ─ attention ─ o ─ + ─ norm ─┬─ up ─ gelu ─ down ─ + ─ norm ─▶ Φ ─▶ h
//!    └──────────────────────────┘         └─────────────────────┘
//! ```

use reft_core::hooks::{Hooks, visit_linear};
use reft_core::lender::NormWeight;
use reft_core::site::Component::{
    self, AttentionOutput, BlockInput, BlockOutput, Embedding, Gate, HeadOutput, Key, MlpHidden, MlpOutput, Query, Up,
    Value,
};
use reft_core::site::{Dims, LayerId, LinearWeight, Site};
use tch::Tensor;

use super::attention::EncoderAttentionPlan;
use super::config::DropoutRates;
use super::family::EncoderModuleNames;
use crate::attention::Prefixes;
use crate::container::WeightsError;
use crate::nn::{Bias, LayerNorm, Linear, WeightSource};

/// One block.
#[derive(Debug)]
pub(super) struct PostNormBlock {
    layer: LayerId,
    qkv: Linear,
    o: Linear,
    norm1: LayerNorm,
    up: Linear,
    down: Linear,
    norm2: LayerNorm,
}

impl PostNormBlock {
    pub(super) fn load(
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

    pub(super) fn forward(
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

    /// The normalisation that ends it.
    pub(super) fn last_norm(&self) -> NormWeight {
        self.norm2.lent()
    }

    /// The weight behind a linear component.
    pub(super) fn weight(&self, component: Component, dims: &Dims) -> Option<LinearWeight> {
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

/// `x` with coordinates dropped with probability `p`, the others scaled up.
pub(super) fn dropped(x: Tensor, p: f64) -> Tensor {
    if p > 0.0 { x.dropout(p, true) } else { x }
}
