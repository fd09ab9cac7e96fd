//! ModernBERT: norms before attention and MLP (the first block's attention has none), positions by rotation, a gated MLP, and windows
//! in all layers but every third.
//!
//! ```text
//! h ─┬─ norm ─ q,k,v ─ rotation ─ attention ─ o ─ + ─┬─ norm ─ gate,up ─ gelu(gate) * up ─ down ─ + ─▶ Φ ─▶ h
//!    └────────────────────────────────────────────┘  └────────────────────────────────────────┘
//! ```

use reft_core::hooks::{Hooks, visit_linear};
use reft_core::layout::Layout;
use reft_core::site::Component::{
    self, AttentionOutput, BlockInput, BlockOutput, Embedding, Gate, HeadOutput, Key, MlpHidden, MlpOutput, Query, Up,
    Value,
};
use reft_core::site::{Dims, LayerId, LinearWeight, Site};
use tch::{Device, Kind, Tensor};

use super::attention::{EncoderAttentionPlan, RotaryAttention};
use super::modernbert_config::ModernBertConfig;
use crate::attention::Prefixes;
use crate::container::WeightsError;
use crate::nn::{LayerNorm, Linear, WeightSource};
use crate::rope::Rope;

/// Global attention and local.
fn kinds(config: &ModernBertConfig, head_width: i64) -> [RotaryAttention; 2] {
    let rope = |at: usize| Rope::new(head_width, config.ropes[at].theta, config.ropes[at].scaling.clone());
    [RotaryAttention { rope: rope(0), reach: None }, RotaryAttention { rope: rope(1), reach: Some(config.reach) }]
}

/// The head's linear layer with its norm.
pub(super) fn head(
    root: &WeightSource<'_>,
    config: &ModernBertConfig,
    (width, eps): (i64, f64),
) -> Result<(Linear, LayerNorm), WeightsError> {
    let source = root.sub("head");
    let dense = Linear::load(&source, "dense", width, width, config.head_bias)?;
    Ok((dense, LayerNorm::load_with(&source, "norm", (width, eps), config.norm_bias)?))
}

/// All blocks, and the norm behind the last one.
#[derive(Debug)]
pub(super) struct ModernBertStack {
    blocks: Vec<ModernBertBlock>,
    last: LayerNorm,
    /// Global attention and local.
    kinds: [RotaryAttention; 2],
}

#[derive(Debug)]
struct ModernBertBlock {
    layer: LayerId,
    global: bool,
    attention_norm: Option<LayerNorm>,
    qkv: Linear,
    o: Linear,
    mlp_norm: LayerNorm,
    /// Gate and up side by side.
    first: Linear,
    down: Linear,
}

impl ModernBertStack {
    /// Reads the blocks.
    pub(super) fn load(
        source: &WeightSource<'_>,
        config: &ModernBertConfig,
        (dims, eps): (&Dims, f64),
    ) -> Result<Self, WeightsError> {
        let blocks = (0..dims.layers).map(|layer| ModernBertBlock::load(source, config, LayerId(layer), (dims, eps)));
        Ok(Self {
            blocks: blocks.collect::<Result<_, _>>()?,
            last: LayerNorm::load_with(source, "final_norm", (dims.width, eps), config.norm_bias)?,
            kinds: kinds(config, dims.head_width),
        })
    }

    /// `[N, D] -> [N, D]`, behind the last norm.
    pub(super) fn forward(
        &self,
        begin: Tensor,
        dims: &Dims,
        (layout, hooks): (&Layout, &dyn Hooks),
        options: (Kind, Device),
        prefixes: &Prefixes,
    ) -> Tensor {
        let prefix = prefixes.values().next().map(|prefix| prefix.keys.size()[0]);
        let [global, local] =
            self.kinds.each_ref().map(|kind| EncoderAttentionPlan::rotary(kind, layout, options, prefix));
        let end = self.blocks.iter().fold(begin, |h, block| {
            block.forward(&h, dims, (if block.global { &global } else { &local }, prefixes), hooks)
        });
        self.last.forward(&end)
    }

    /// The frozen weight behind a linear component.
    pub(super) fn weight(&self, at: Site, dims: &Dims) -> Option<LinearWeight> {
        self.blocks.get(at.layer.0)?.weight(at.component, dims)
    }
}

impl ModernBertBlock {
    fn load(
        source: &WeightSource<'_>,
        config: &ModernBertConfig,
        layer: LayerId,
        (dims, eps): (&Dims, f64),
    ) -> Result<Self, WeightsError> {
        let source = source.sub("layers").sub(layer.0);
        let (width, inner) = (dims.width, dims.mlp_width);
        let norm = |name: &str| LayerNorm::load_with(&source, name, (width, eps), config.norm_bias);
        let (attention, mlp) = (source.sub("attn"), source.sub("mlp"));
        Ok(Self {
            layer,
            global: config.global[layer.0],
            attention_norm: if layer.0 > 0 { Some(norm("attn_norm")?) } else { None },
            qkv: Linear::load(&attention, "Wqkv", width, 3 * width, config.attention_bias)?,
            o: Linear::load(&attention, "Wo", width, width, config.attention_bias)?,
            mlp_norm: norm("mlp_norm")?,
            first: Linear::load(&mlp, "Wi", width, 2 * inner, config.mlp_bias)?,
            down: Linear::load(&mlp, "Wo", inner, width, config.mlp_bias)?,
        })
    }

    fn forward(
        &self,
        h: &Tensor,
        dims: &Dims,
        (together, prefixes): (&EncoderAttentionPlan, &Prefixes),
        hooks: &dyn Hooks,
    ) -> Tensor {
        let at = |component: Component| Site { layer: self.layer, component };
        let h = hooks.visit(at(BlockInput), h, h.shallow_clone());
        let x = self.attention_norm.as_ref().map_or_else(|| h.shallow_clone(), |norm| norm.forward(&h));
        let parts = self.qkv.forward(&x).chunk(3, -1).into_iter().zip([Query, Key, Value]);
        let parts: Vec<Tensor> = parts.map(|(part, component)| visit_linear(hooks, at(component), &x, part)).collect();
        let a = hooks.visit(at(HeadOutput), &x, together.attend_after(dims, &parts, prefixes.get(&self.layer)));
        let middle = &h + visit_linear(hooks, at(AttentionOutput), &a, self.o.forward(&a));
        let x = self.mlp_norm.forward(&middle);
        let halves = self.first.forward(&x).chunk(2, -1).into_iter().zip([Gate, Up]);
        let halves: Vec<Tensor> =
            halves.map(|(half, component)| visit_linear(hooks, at(component), &x, half)).collect();
        let inner = hooks.visit(at(MlpHidden), &x, halves[0].gelu("none") * &halves[1]);
        let end = &middle + visit_linear(hooks, at(MlpOutput), &inner, self.down.forward(&inner));
        hooks.visit(at(BlockOutput), &end.shallow_clone(), end) // h_p <- Φ(h_p), eq. 7
    }

    /// The weight behind a linear component.
    fn weight(&self, component: Component, dims: &Dims) -> Option<LinearWeight> {
        let (width, inner) = (dims.width, dims.mlp_width);
        match component {
            Query => Some(self.qkv.rows(0, width)),
            Key => Some(self.qkv.rows(width, width)),
            Value => Some(self.qkv.rows(2 * width, width)),
            AttentionOutput => Some(self.o.rows(0, width)),
            Gate => Some(self.first.rows(0, inner)),
            Up => Some(self.first.rows(inner, inner)),
            MlpOutput => Some(self.down.rows(0, width)),
            Embedding | BlockInput | HeadOutput | MlpHidden | BlockOutput => None,
        }
    }
}
