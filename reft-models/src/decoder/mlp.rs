//! The MLP, gated or plain.
//!
//! ```text
//! gated  x ─ gate,up ─ [gate] [up] ─ act(gate) * up ─ [mlp_hidden] ─ down ─ norm ─ [mlp_output]
//! plain  x ─ up      ─ [up]        ─ act(up)        ─ [mlp_hidden] ─ down ─ norm ─ [mlp_output]
//! ```

use reft_core::hooks::{Hooks, visit_linear};
use reft_core::site::Component::{Gate, MlpHidden, MlpOutput, Up};
use reft_core::site::{Component, Dims, LayerId, LinearWeight, Mlp, Site};
use tch::Tensor;

use super::config::{Activation, DecoderConfig};
use super::norm::{Norm, normalised};
use crate::container::WeightsError;
use crate::nn::{Linear, WeightSource, gated_gelu_tanh, gated_silu};

/// A block's MLP.
#[derive(Debug)]
pub struct FeedForward {
    kind: Mlp,
    activation: Activation,
    /// Gate and up side by side, or up alone.
    first: Linear,
    down: Linear,
    /// Of what is added to the stream.
    after: Option<Norm>,
}

impl FeedForward {
    /// Reads it from a block.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape, or a bias is there that should not be.
    pub fn load(block: &WeightSource<'_>, config: &DecoderConfig) -> Result<Self, WeightsError> {
        let (dims, names) = (&config.dims, config.names);
        let inner = dims.mlp_width;
        let outs = match dims.mlp {
            Mlp::Gated => vec![inner, inner],
            Mlp::Plain => vec![inner],
        };
        Ok(Self {
            kind: dims.mlp,
            activation: config.activation,
            first: names.fused(block, names.up, (dims, &outs), config.bias.mlp)?,
            down: names.linear(block, names.down, [inner, dims.width], config.bias.mlp)?,
            after: Norm::load_if(block, names.mlp_norms.after, config)?,
        })
    }

    /// The hidden activation `[N, F]`; gate and up are taken apart only for a hook that wants one of them.
    pub fn hidden(&self, x: &Tensor, layer: LayerId, hooks: &dyn Hooks) -> Tensor {
        let at = |component| Site { layer, component };
        let mut first = self.first.forward(x);
        let hidden = match self.kind {
            Mlp::Plain => self.activation.of(&visit_linear(hooks, at(Up), x, first)),
            Mlp::Gated => {
                if hooks.wants(at(Gate)) || hooks.wants(at(Up)) {
                    let parts = first.chunk(2, -1).into_iter().zip([Gate, Up]);
                    let visited = parts.map(|(part, component)| visit_linear(hooks, at(component), x, part));
                    first = Tensor::cat(&visited.collect::<Vec<_>>(), -1);
                }
                self.activation.gated(&first)
            }
        };
        hooks.visit(at(MlpHidden), x, hidden)
    }

    /// What the MLP adds to the stream `[N, D]`, from its hidden activation.
    pub fn output(&self, hidden: &Tensor, layer: LayerId, hooks: &dyn Hooks) -> Tensor {
        let at = Site { layer, component: MlpOutput };
        let added = hooks.visit_map(at, hidden, self.down.forward(hidden));
        hooks.visit(at, hidden, normalised(self.after.as_ref(), &added))
    }

    /// The weight behind a linear component.
    pub fn weight(&self, component: Component, dims: &Dims) -> Option<LinearWeight> {
        let inner = dims.mlp_width;
        match (component, self.kind) {
            (Gate, Mlp::Gated) | (Up, Mlp::Plain) => Some(self.first.rows(0, inner)),
            (Up, Mlp::Gated) => Some(self.first.rows(inner, inner)),
            (MlpOutput, Mlp::Gated | Mlp::Plain) => Some(self.down.rows(0, dims.width)),
            (
                Gate
                | Component::Query
                | Component::Key
                | Component::Value
                | Component::AttentionOutput
                | Component::Embedding
                | Component::BlockInput
                | Component::HeadOutput
                | Component::MlpHidden
                | Component::BlockOutput,
                Mlp::Gated | Mlp::Plain,
            ) => None,
        }
    }
}

impl Activation {
    /// Of every number.
    fn of(self, x: &Tensor) -> Tensor {
        match self {
            Self::Silu => x.silu(),
            Self::Gelu => x.gelu("none"),
            Self::GeluTanh => x.gelu("tanh"),
            Self::Relu => x.relu(),
        }
    }

    /// `act(gate) * up` of rows `[N, 2 F]` that hold gate and up side by side; `[N, F]`.
    fn gated(self, x: &Tensor) -> Tensor {
        match self {
            Self::Silu => gated_silu(x),
            Self::GeluTanh => gated_gelu_tanh(x),
            Self::Gelu | Self::Relu => {
                let halves = x.chunk(2, -1);
                self.of(&halves[0]) * &halves[1]
            }
        }
    }
}
