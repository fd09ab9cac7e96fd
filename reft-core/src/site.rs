//! Where in a model an edit can happen: layer, component, and the widths they have.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
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

/// Which layers an adaptation edits: `all`, a list, or the paper's `"0;2;4"`. Negative numbers count from the end: -1 is the
/// last layer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Layers {
    /// Every block.
    #[default]
    All,
    /// These blocks, each once.
    Listed(Vec<LayerIndex>),
}

/// A layer as it is listed, before the depth of the model is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LayerIndex {
    /// Counted from the first, from 0.
    FromStart(usize),
    /// Counted from the last, from 1: `FromEnd(1)` is the last layer, written -1.
    FromEnd(usize),
}

impl LayerIndex {
    /// The layer in a model of this depth, if it has so many.
    fn in_model(self, depth: usize) -> Option<LayerId> {
        match self {
            Self::FromStart(index) => (index < depth).then_some(LayerId(index)),
            Self::FromEnd(back) => depth.checked_sub(back).map(LayerId),
        }
    }
}

impl From<i64> for LayerIndex {
    fn from(number: i64) -> Self {
        let distance = number.unsigned_abs() as usize;
        if number < 0 { Self::FromEnd(distance) } else { Self::FromStart(distance) }
    }
}

impl fmt::Display for LayerIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromStart(index) => write!(f, "{index}"),
            Self::FromEnd(back) => write!(f, "-{back}"),
        }
    }
}

/// A layer selection that cannot be met.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LayersError {
    /// The text is neither `all` nor a list of numbers.
    #[error("layers `{0}` is not understood: write `all`, a list such as [0, 2, -1], or \"0;2;4\"")]
    Syntax(String),
    /// The list is empty.
    #[error("layers is empty: name at least one layer, or `all`")]
    Empty,
    /// A layer is named twice.
    #[error("layer {0} is listed twice: name each layer once")]
    Twice(LayerIndex),
    /// Two entries are the same layer of this model, one counted from the end.
    #[error("layers {0} and {1} are the same in a model of {2} layers: name each layer once")]
    Same(LayerIndex, LayerIndex, usize),
    /// The model is not that deep.
    #[error("layer {layer} does not exist: the model has layers 0 to {last}, or -1 to -{depth} from the end", depth = .last + 1)]
    Missing {
        /// The layer asked for.
        layer: LayerIndex,
        /// The model's last layer.
        last: usize,
    },
    /// A model without blocks.
    #[error("the model has no layers to edit: check num_hidden_layers in its config.json")]
    NoLayers,
}

impl Layers {
    /// A checked list of layers, sorted: those counted from the start come first.
    ///
    /// # Errors
    /// When the list is empty or names a layer twice.
    pub fn listed(mut layers: Vec<LayerIndex>) -> Result<Self, LayersError> {
        layers.sort_unstable();
        if let Some(pair) = layers.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(LayersError::Twice(pair[0]));
        }
        if layers.is_empty() { Err(LayersError::Empty) } else { Ok(Self::Listed(layers)) }
    }

    /// The layers of a model with these dimensions, ascending.
    ///
    /// # Errors
    /// When the model has no layers, a listed layer does not exist, or two entries are the same layer.
    pub fn resolve(&self, dims: &Dims) -> Result<Vec<LayerId>, LayersError> {
        let depth = dims.layers;
        let last = depth.checked_sub(1).ok_or(LayersError::NoLayers)?;
        let Self::Listed(listed) = self else { return Ok((0..depth).map(LayerId).collect()) };
        let found = |&layer: &LayerIndex| match layer.in_model(depth) {
            Some(id) => Ok((id, layer)),
            None => Err(LayersError::Missing { layer, last }),
        };
        let mut layers: Vec<(LayerId, LayerIndex)> = listed.iter().map(found).collect::<Result<_, _>>()?;
        layers.sort_unstable();
        match layers.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(LayersError::Same(pair[0].1, pair[1].1, depth)),
            None => Ok(layers.into_iter().map(|(id, _)| id).collect()),
        }
    }
}

impl FromStr for Layers {
    type Err = LayersError;

    fn from_str(text: &str) -> Result<Self, LayersError> {
        if text.trim() == "all" {
            return Ok(Self::All);
        }
        let number = |part: &str| part.trim().parse::<i64>().map(LayerIndex::from);
        let parsed: Result<Vec<_>, _> = text.split([';', ',']).map(number).collect();
        Self::listed(parsed.map_err(|_| LayersError::Syntax(text.to_owned()))?)
    }
}

impl Serialize for Layers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = |layer: &LayerIndex| match *layer {
            LayerIndex::FromStart(index) => index as i64,
            LayerIndex::FromEnd(back) => -(back as i64),
        };
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Listed(layers) => serializer.collect_seq(layers.iter().map(number)),
        }
    }
}

impl<'de> Deserialize<'de> for Layers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LayersVisitor)
    }
}

/// Reads the spellings of [`Layers`]: a word or text, one number, a list of numbers.
struct LayersVisitor;

impl<'de> Visitor<'de> for LayersVisitor {
    type Value = Layers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`all`, a layer, or a list of layers")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Layers, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Layers, E> {
        Layers::listed(vec![number.into()]).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Layers, E> {
        let number = i64::try_from(number).map_err(|_| E::custom(LayersError::Syntax(number.to_string())))?;
        self.visit_i64(number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Layers, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Layers, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<Layers, E> {
        Err(E::custom(LayersError::Empty))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Layers, A::Error> {
        Err(A::Error::custom(LayersError::Syntax("{...}".to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Layers, A::Error> {
        let mut layers = Vec::new();
        while let Some(number) = list.next_element::<i64>()? {
            layers.push(number.into());
        }
        Layers::listed(layers).map_err(A::Error::custom)
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
        assert_eq!(parse("-1, 0"), Ok(ids(&[0, 3])));
        assert_eq!(parse("-4;-2"), Ok(ids(&[0, 2])));
        assert_eq!(parse("2;2"), Err(LayersError::Twice(LayerIndex::FromStart(2))));
        assert_eq!(parse("-1;3"), Err(LayersError::Same(LayerIndex::FromStart(3), LayerIndex::FromEnd(1), 4)));
        assert_eq!(parse("4"), Err(LayersError::Missing { layer: LayerIndex::FromStart(4), last: 3 }));
        assert_eq!(parse("-5"), Err(LayersError::Missing { layer: LayerIndex::FromEnd(5), last: 3 }));
        assert_eq!(parse("first"), Err(LayersError::Syntax("first".to_owned())));
        assert_eq!(Layers::listed(vec![]), Err(LayersError::Empty));
    }

    #[test]
    fn a_model_without_layers_is_an_error_whatever_is_listed() {
        for layers in ["all", "0", "-1"].map(|text| text.parse::<Layers>().expect("valid")) {
            assert_eq!(layers.resolve(&dims(0)), Err(LayersError::NoLayers), "{layers:?}");
        }
    }

    #[test]
    fn every_spelling_is_written_as_it_is_read() {
        let read = |text: &str| serde_json::from_str::<Layers>(text).map_err(|error| error.to_string());
        for (text, written) in
            [("\"all\"", "\"all\""), ("[2, -1, 0]", "[0,2,-1]"), ("-2", "[-2]"), ("\"0;3\"", "[0,3]")]
        {
            let layers = read(text).expect(text);
            assert_eq!(serde_json::to_string(&layers).expect("plain data"), written);
            assert_eq!(read(written), Ok(layers));
        }
        for text in ["true", "1.5", "{\"from\": 0}", "\"last\""] {
            let error = read(text).expect_err(text);
            assert!(error.contains("is not understood: write `all`, a list such as [0, 2, -1]"), "{text}: {error}");
        }
        assert!(read("null").is_err_and(|error| error.contains("layers is empty")));
    }

    #[test]
    fn every_component_has_its_own_name_and_serde_agrees() {
        for component in Component::ALL {
            let json = serde_json::to_string(&component).expect("a unit variant");
            assert_eq!(json, format!("\"{component}\""));
        }
    }
}
