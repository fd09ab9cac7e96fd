//! Which layers an adaptation edits, as a user writes it.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::site::{Dims, LayerId};

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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub enum LayerIndex {
    /// Counted from the first, from 0.
    FromStart(usize),
    /// Counted from the last, from 1: `FromEnd(1)` is the last layer, written -1.
    FromEnd(usize),
}

impl LayerIndex {
    /// The layer in a model of this depth, if it has so many.
    pub fn in_model(self, depth: usize) -> Option<LayerId> {
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

impl From<LayerIndex> for i64 {
    fn from(layer: LayerIndex) -> Self {
        match layer {
            LayerIndex::FromStart(index) => index as Self,
            LayerIndex::FromEnd(back) => -(back as Self),
        }
    }
}

impl JsonSchema for LayerIndex {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LayerIndex".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer"})
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
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Listed(layers) => serializer.collect_seq(layers),
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

impl JsonSchema for Layers {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Layers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`all`, a layer, a list of layers, or the paper's \"0;2;4\"; -1 is the last layer.",
            "anyOf": [
                {"type": "string"},
                {"type": "integer"},
                {"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": true}
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::Mlp;

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
}
