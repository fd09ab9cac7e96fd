//! Where in a model an edit can happen: layer, component, and the widths they have.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// A transformer block, counted from 0. The paper's layer `l` is its index plus one, since its `h^(0)` is the embedding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayerId(pub usize);

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A hook point: a function `y = f(x)` of the model whose output `y` can be read or replaced.
///
/// What `x` and `y` are is defined here, once for every model and for training from the activation cache. `N` tokens,
/// `D` model width, `H` query heads, `K` key/value heads, `E` head width, `F` MLP width.
///
/// | component | `f` | `x` | `y` |
/// |---|---|---|---|
/// | `embedding` (layer 0) | table look-up, with all that the model adds before block 0 | token ids `[N]` | `[N, D]` |
/// | `block_input` | identity | the residual stream `[N, D]` | `[N, D]` |
/// | `query`, `key`, `value` | linear | the attention's input `[N, D]`, normalised where the model normalises first | `[N, H E]`, `[N, K E]`, `[N, K E]`, before the rotary embedding |
/// | `head_output` | attention | the attention's input `[N, D]` | the heads' weighted values side by side `[N, H E]` |
/// | `attention_output` | linear | `head_output` `[N, H E]` | what attention adds to the residual stream `[N, D]` |
/// | `gate`, `up` | linear | the MLP's input `[N, D]`, normalised where the model normalises first | `[N, F]`, before the activation |
/// | `mlp_hidden` | activation (and gating) | the MLP's input `[N, D]` | `[N, F]` |
/// | `mlp_output` | linear | `mlp_hidden` `[N, F]` | what the MLP adds to the residual stream `[N, D]` |
/// | `block_output` | identity | the residual stream `[N, D]` as it leaves the block | `[N, D]`: where ReFT acts (Def. 3.1) |
///
/// `x` is what the model really computed with: `x` of `attention_output` is `head_output` after its hooks.
///
/// Some models normalise what a linear map gives: Qwen 3, Gemma 3 and `OLMo` 2 queries and keys, Gemma 2 and 3 and `OLMo` 2 what
/// attention and MLP add to the stream. There `y` is what comes out of that norm. Methods that change linear maps (`LoRA`, `DoRA`,
/// …) act before it ([`Hooks::visit_map`](crate::hooks::Hooks::visit_map)), on the map that [`LinearWeight`] lends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The embedding's output, once before block 0.
    Embedding,
    /// The residual stream as it enters the block.
    BlockInput,
    /// Query projection.
    #[serde(alias = "q")]
    Query,
    /// Key projection.
    #[serde(alias = "k")]
    Key,
    /// Value projection.
    #[serde(alias = "v")]
    Value,
    /// Concatenated outputs of the heads.
    HeadOutput,
    /// Attention's output projection.
    #[serde(alias = "o")]
    AttentionOutput,
    /// Gate projection of a gated MLP.
    Gate,
    /// Up projection.
    Up,
    /// The MLP's hidden activation.
    MlpHidden,
    /// The MLP's down projection.
    #[serde(alias = "down")]
    MlpOutput,
    /// The residual stream as it leaves the block.
    #[default]
    BlockOutput,
}

impl Component {
    /// Every component, in the order in which a model visits them.
    pub const ALL: [Self; 12] = [
        Self::Embedding,
        Self::BlockInput,
        Self::Query,
        Self::Key,
        Self::Value,
        Self::HeadOutput,
        Self::AttentionOutput,
        Self::Gate,
        Self::Up,
        Self::MlpHidden,
        Self::MlpOutput,
        Self::BlockOutput,
    ];

    /// The name used in YAML, in adapter files and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::BlockInput => "block_input",
            Self::Query => "query",
            Self::Key => "key",
            Self::Value => "value",
            Self::HeadOutput => "head_output",
            Self::AttentionOutput => "attention_output",
            Self::Gate => "gate",
            Self::Up => "up",
            Self::MlpHidden => "mlp_hidden",
            Self::MlpOutput => "mlp_output",
            Self::BlockOutput => "block_output",
        }
    }

    /// Width of `y`: of the state that an intervention sees here.
    pub fn width(self, dims: &Dims) -> i64 {
        match self {
            Self::Query | Self::HeadOutput => dims.heads * dims.head_width,
            Self::Key | Self::Value => dims.kv_heads * dims.head_width,
            Self::Gate | Self::Up | Self::MlpHidden => dims.mlp_width,
            Self::Embedding | Self::BlockInput | Self::AttentionOutput | Self::MlpOutput | Self::BlockOutput => {
                dims.width
            }
        }
    }

    /// Width of `x`; none for `embedding`, whose `x` are token ids.
    pub fn input_width(self, dims: &Dims) -> Option<i64> {
        match self {
            Self::Embedding => None,
            Self::AttentionOutput => Some(dims.heads * dims.head_width),
            Self::MlpOutput => Some(dims.mlp_width),
            Self::BlockInput
            | Self::Query
            | Self::Key
            | Self::Value
            | Self::HeadOutput
            | Self::Gate
            | Self::Up
            | Self::MlpHidden
            | Self::BlockOutput => Some(dims.width),
        }
    }

    /// Whether `y` is `W x + b`, or its norm, with a weight of the model's, which [`LinearWeight`] lends.
    pub fn is_linear(self) -> bool {
        match self {
            Self::Query | Self::Key | Self::Value | Self::AttentionOutput | Self::Gate | Self::Up | Self::MlpOutput => {
                true
            }
            Self::Embedding | Self::BlockInput | Self::HeadOutput | Self::MlpHidden | Self::BlockOutput => false,
        }
    }

    /// Whether a model of these dimensions has it.
    pub fn exists(self, dims: &Dims) -> bool {
        self != Self::Gate || dims.mlp == Mlp::Gated
    }
}

/// The weight behind a linear component, as the model computes with it.
#[derive(Debug)]
pub struct LinearWeight {
    /// `W` `[out, in]`.
    pub weight: Tensor,
    /// `b` `[out]`.
    pub bias: Option<Tensor>,
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One place in a model.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Site {
    /// The block.
    pub layer: LayerId,
    /// The hook point in it.
    pub component: Component,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.component, self.layer)
    }
}

/// The sizes of a model that decide the shapes of interventions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dims {
    /// Number of blocks.
    pub layers: usize,
    /// `D`, width of the residual stream.
    pub width: i64,
    /// `H`, query heads.
    pub heads: i64,
    /// `K`, key/value heads.
    pub kv_heads: i64,
    /// `E`, width of one head.
    pub head_width: i64,
    /// `F`, width of the MLP's hidden state.
    pub mlp_width: i64,
    /// `V`, vocabulary size.
    pub vocab: i64,
    /// Kind of the MLP. Adapters written before it was recorded do not say it, and nothing they hold depends on it.
    #[serde(default)]
    pub mlp: Mlp,
}

/// What the MLP is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mlp {
    /// `down(act(gate(x)) * up(x))`.
    #[default]
    Gated,
    /// `down(act(up(x)))`.
    Plain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_has_its_own_name_and_serde_agrees() {
        for component in Component::ALL {
            let json = serde_json::to_string(&component).expect("a unit variant");
            assert_eq!(json, format!("\"{component}\""));
        }
    }
}
