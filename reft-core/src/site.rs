//! Where in a model an edit can happen: layer, component, and the widths they have.

use std::fmt;
use std::str::FromStr;

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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The embedding's output, once before block 0.
    Embedding,
    /// The residual stream as it enters the block.
    BlockInput,
    /// Query projection.
    Query,
    /// Key projection.
    Key,
    /// Value projection.
    Value,
    /// Concatenated outputs of the heads.
    HeadOutput,
    /// Attention's output projection.
    AttentionOutput,
    /// Gate projection of a gated MLP.
    Gate,
    /// Up projection.
    Up,
    /// The MLP's hidden activation.
    MlpHidden,
    /// The MLP's down projection.
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

    /// Whether `y = W x + b` with a weight of the model's, which [`LinearWeight`] lends.
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

/// Which layers an adaptation edits: `all`, a list, or the paper's `"0;2;4"`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(into = "LayersText", try_from = "LayersText")]
pub enum Layers {
    /// Every block.
    #[default]
    All,
    /// These blocks, in ascending order, each once.
    Listed(Vec<LayerId>),
}

/// A layer selection that cannot be met.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LayersError {
    /// The text is neither `all` nor a list of numbers.
    #[error("layers `{0}` is not understood: write `all`, a list such as [0, 2, 4], or \"0;2;4\"")]
    Syntax(String),
    /// The list is empty.
    #[error("layers is empty: name at least one layer, or `all`")]
    Empty,
    /// A layer is named twice.
    #[error("layer {0} is listed twice: name each layer once")]
    Twice(LayerId),
    /// The model is not that deep.
    #[error("layer {layer} does not exist: the model has layers 0 to {last}")]
    Missing {
        /// The layer asked for.
        layer: LayerId,
        /// The model's last layer.
        last: usize,
    },
}

impl Layers {
    /// A checked list of layers, sorted.
    ///
    /// # Errors
    /// When the list is empty or names a layer twice.
    pub fn listed(mut layers: Vec<LayerId>) -> Result<Self, LayersError> {
        layers.sort_unstable();
        if let Some(pair) = layers.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(LayersError::Twice(pair[0]));
        }
        if layers.is_empty() { Err(LayersError::Empty) } else { Ok(Self::Listed(layers)) }
    }

    /// The layers of a model with these dimensions.
    ///
    /// # Errors
    /// When a listed layer does not exist.
    pub fn resolve(&self, dims: &Dims) -> Result<Vec<LayerId>, LayersError> {
        match self {
            Self::All => Ok((0..dims.layers).map(LayerId).collect()),
            Self::Listed(layers) => match layers.iter().find(|layer| layer.0 >= dims.layers) {
                Some(&layer) => Err(LayersError::Missing { layer, last: dims.layers - 1 }),
                None => Ok(layers.clone()),
            },
        }
    }
}

impl FromStr for Layers {
    type Err = LayersError;

    fn from_str(text: &str) -> Result<Self, LayersError> {
        if text == "all" {
            return Ok(Self::All);
        }
        let parsed: Result<Vec<_>, _> = text.split([';', ',']).map(|part| part.trim().parse().map(LayerId)).collect();
        Self::listed(parsed.map_err(|_| LayersError::Syntax(text.to_owned()))?)
    }
}

/// The spellings of [`Layers`] in YAML and JSON.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum LayersText {
    One(usize),
    List(Vec<usize>),
    Text(String),
}

impl From<Layers> for LayersText {
    fn from(layers: Layers) -> Self {
        match layers {
            Layers::All => Self::Text("all".to_owned()),
            Layers::Listed(list) => Self::List(list.into_iter().map(|layer| layer.0).collect()),
        }
    }
}

impl TryFrom<LayersText> for Layers {
    type Error = LayersError;

    fn try_from(text: LayersText) -> Result<Self, LayersError> {
        match text {
            LayersText::One(layer) => Self::listed(vec![LayerId(layer)]),
            LayersText::List(list) => Self::listed(list.into_iter().map(LayerId).collect()),
            LayersText::Text(text) => text.parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(layers: usize) -> Dims {
        Dims { layers, width: 8, heads: 2, kv_heads: 1, head_width: 4, mlp_width: 16, vocab: 10, mlp: Mlp::Gated }
    }

    #[test]
    fn layers_are_parsed_and_checked() {
        let ids = |list: &[usize]| list.iter().copied().map(LayerId).collect::<Vec<_>>();
        let parse = |text: &str| text.parse::<Layers>().and_then(|layers| layers.resolve(&dims(4)));
        assert_eq!(parse("all"), Ok(ids(&[0, 1, 2, 3])));
        assert_eq!(parse("2;0"), Ok(ids(&[0, 2])));
        assert_eq!(parse("2;2"), Err(LayersError::Twice(LayerId(2))));
        assert_eq!(parse("4"), Err(LayersError::Missing { layer: LayerId(4), last: 3 }));
        assert_eq!(parse("first"), Err(LayersError::Syntax("first".to_owned())));
        assert_eq!(Layers::listed(vec![]), Err(LayersError::Empty));
    }

    #[test]
    fn every_component_has_its_own_name_and_serde_agrees() {
        for component in Component::ALL {
            let json = serde_json::to_string(&component).expect("a unit variant");
            assert_eq!(json, format!("\"{component}\""));
        }
    }
}
