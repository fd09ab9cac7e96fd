//! Adapters of encoders, as in table 13, with biases: `a(z) = U f(D z + b_d) + b_u`.
//!
//! `y` is what a sub-layer adds, `s` the stream it is added to, `LN` the normalisation of their sum, which is not trained.
//!
//! | row | `f` | the sub-layer's output |
//! |---|---|---|
//! | Adapter (Houlsby et al., arXiv 1902.00751), after attention and after the MLP | SiLU | `LN(y + a(y) + s)` |
//! | Adapter-FFN (Pfeiffer et al., arXiv 2005.00247), after the MLP only | ReLU | `LN(y + a(LN(y + s)) + s)` |
//!
//! Where blocks do not end with a normalisation, Adapter-FFN reads `y + s` as it is: `y + s + a(y + s)`, at the block's output.
//!
//! In training a model's own dropout falls on `y + a(y)`, where the library's falls on `y` alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::adapt_config::{AdaptMethod, SpecError};
use crate::adaptations::bottleneck::{Nonlinearity, SD, check_bottleneck};
use crate::adaptations::components::{
    ComponentConfig, ComponentMethod, ComponentSite, FrozenInputs, Placement, PlacementSpec, SiteRows, everywhere,
};
use crate::decay::ParameterRole;
use crate::intervention::{Constraint, Init, ParameterSpec};
use crate::layers::Layers;
use crate::lender::Lender;
use crate::positions::Truncation;
use crate::site::Component::{AttentionOutput, BlockOutput, MlpHidden, MlpOutput};
use crate::site::{Component, Dims, LayerId, Site};

/// Bottlenecks after attention and after the MLP (Houlsby).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoulsbySpec {
    /// Numbers in the middle.
    pub bottleneck: i64,
    /// The layers.
    #[serde(default)]
    pub layers: Layers,
    /// `f`.
    #[serde(default = "silu")]
    pub activation: Nonlinearity,
}

/// Bottlenecks after the MLP of encoders, which read its normalised sum (Pfeiffer).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PfeifferSpec {
    /// Numbers in the middle.
    pub bottleneck: i64,
    /// The layers.
    #[serde(default)]
    pub layers: Layers,
    /// `f`.
    #[serde(default = "relu")]
    pub activation: Nonlinearity,
}

fn silu() -> Nonlinearity {
    Nonlinearity::Silu
}

fn relu() -> Nonlinearity {
    Nonlinearity::Relu
}

/// Which of the two rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AdapterVariant {
    Houlsby,
    /// In blocks that end with a normalisation.
    Pfeiffer,
    /// In others.
    PfeifferPlain,
}

impl AdapterVariant {
    fn key(self) -> &'static str {
        match self {
            Self::Houlsby => "adapter",
            Self::Pfeiffer | Self::PfeifferPlain => "adapter_ffn",
        }
    }

    fn components(self) -> &'static [Component] {
        match self {
            Self::Houlsby => &[AttentionOutput, MlpOutput],
            Self::Pfeiffer => &[MlpOutput],
            Self::PfeifferPlain => &[BlockOutput],
        }
    }

    /// Adapter-FFN's for this model. What lends no weight lends no normalisation either, whether there is one or not.
    fn pfeiffer(lender: &dyn Lender) -> Self {
        let lends = lender.linear(Site { layer: LayerId(0), component: MlpOutput }).is_some();
        if lends && lender.norm(LayerId(0)).is_none() { Self::PfeifferPlain } else { Self::Pfeiffer }
    }

    /// At its components in these layers, on all tokens.
    fn placement(self, layers: &Layers) -> PlacementSpec<'_> {
        let (method, components) = (self.key(), self.components());
        PlacementSpec { method, components, layers, positions: everywhere(), truncation: Truncation::default() }
    }
}

impl ComponentConfig for HoulsbySpec {
    fn check(&self) -> Result<(), SpecError> {
        check_bottleneck(self.bottleneck)
    }

    fn placement(&self, _: &dyn Lender) -> PlacementSpec<'_> {
        AdapterVariant::Houlsby.placement(&self.layers)
    }

    fn method(&self, _: &dyn Lender) -> Box<dyn ComponentMethod> {
        let Self { bottleneck, activation, .. } = *self;
        Box::new(SublayerAdapter { row: AdapterVariant::Houlsby, bottleneck, activation })
    }
}

impl AdaptMethod for HoulsbySpec {
    const KEY: &'static str = "adapter";
    const TITLE: &'static str = "Adapter";
    const PARAMETERS: &'static str = "2 * (2 * bottleneck * width + bottleneck + width) for each layer";
    const STARTS_AS_BASE: bool = false;

    fn example() -> Self {
        Self { bottleneck: 4, layers: Layers::All, activation: silu() }
    }
}

impl ComponentConfig for PfeifferSpec {
    fn check(&self) -> Result<(), SpecError> {
        check_bottleneck(self.bottleneck)
    }

    fn placement(&self, lender: &dyn Lender) -> PlacementSpec<'_> {
        AdapterVariant::pfeiffer(lender).placement(&self.layers)
    }

    /// The sub-layer's output or the block's: neither is a linear map everywhere.
    fn sites(&self, dims: &Dims, lender: &dyn Lender) -> Result<Placement, SpecError> {
        self.placement(lender).resolve(dims)
    }

    fn method(&self, lender: &dyn Lender) -> Box<dyn ComponentMethod> {
        let Self { bottleneck, activation, .. } = *self;
        Box::new(SublayerAdapter { row: AdapterVariant::pfeiffer(lender), bottleneck, activation })
    }
}

impl AdaptMethod for PfeifferSpec {
    const KEY: &'static str = "adapter_ffn";
    const TITLE: &'static str = "Adapter-FFN";
    const PARAMETERS: &'static str = "2 * bottleneck * width + bottleneck + width for each layer";
    const STARTS_AS_BASE: bool = false;

    fn example() -> Self {
        Self { bottleneck: 4, layers: Layers::All, activation: relu() }
    }
}

#[derive(Debug)]
struct SublayerAdapter {
    row: AdapterVariant,
    bottleneck: i64,
    activation: Nonlinearity,
}

impl ComponentMethod for SublayerAdapter {
    fn key(&self) -> &'static str {
        self.row.key()
    }

    fn declare(&self, place: &ComponentSite) -> Vec<ParameterSpec> {
        let declare = |name, shape: &[i64]| {
            let (init, role) = match shape.len() {
                1 => (Init::Constant(0.0), ParameterRole::Bias),
                _ => (Init::Normal { sd: SD }, ParameterRole::Matrix),
            };
            ParameterSpec { name, shape: shape.to_vec(), init, constraint: Constraint::Free, role }
        };
        let (width, inner) = (place.output, self.bottleneck);
        vec![
            declare("down.weight", &[inner, width]),
            declare("down.bias", &[inner]),
            declare("up.weight", &[width, inner]),
            declare("up.bias", &[width]),
        ]
    }

    fn borrows(&self) -> FrozenInputs {
        match self.row {
            AdapterVariant::Houlsby | AdapterVariant::PfeifferPlain => FrozenInputs::Nothing,
            AdapterVariant::Pfeiffer => FrozenInputs::Norm,
        }
    }

    /// The MLP's input is the stream that its output is added to.
    fn beside(&self) -> Option<Component> {
        (self.row == AdapterVariant::Pfeiffer).then_some(MlpHidden)
    }

    fn change(&self, rows: &SiteRows<'_>) -> Tensor {
        let [down, down_bias, up, up_bias] = rows.parameters else { unreachable!("four tensors are declared") };
        let y = rows.y();
        let read = match (&rows.place.norm, &rows.beside) {
            (Some(norm), Some(stream)) => norm.forward(&(&y + stream.to_kind(Kind::Float))),
            (None, _) | (_, None) => y.shallow_clone(),
        };
        let inner = self.activation.of(&read.linear(down, Some(down_bias)));
        y + inner.linear(up, Some(up_bias))
    }
}
