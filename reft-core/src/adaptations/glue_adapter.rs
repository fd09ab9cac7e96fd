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
use tch::{Device, Kind, Tensor};

use crate::adapt_config::{AdaptConfig, AdaptMethod, SpecError};
use crate::adaptation::Adaptation;
use crate::adaptations::bottleneck::{Nonlinearity, SD, check_bottleneck};
use crate::adaptations::components::{
    ComponentAdaptation, ComponentMethod, ComponentSite, FrozenInputs, PlacementSpec, SiteRows, count, everywhere,
};
use crate::decay::ParameterRole;
use crate::intervention::{Constraint, Init, ParameterSpec};
use crate::layers::Layers;
use crate::lender::Lender;
use crate::positions::Truncation;
use crate::rng::Seed;
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
}

impl HoulsbySpec {
    fn method(&self) -> (SublayerAdapter, &Layers) {
        let Self { bottleneck, activation, ref layers } = *self;
        (SublayerAdapter { row: AdapterVariant::Houlsby, bottleneck, activation }, layers)
    }
}

impl AdaptConfig for HoulsbySpec {
    fn build(
        &self,
        dims: &Dims,
        lender: &dyn Lender,
        seed: Seed,
        device: Device,
    ) -> Result<Box<dyn Adaptation>, SpecError> {
        build(self.method(), (dims, lender), seed, device)
    }

    fn trainable(&self, dims: &Dims, _: &dyn Lender) -> Result<i64, SpecError> {
        trainable(&self.method(), dims)
    }

    fn title(&self) -> String {
        Self::TITLE.to_owned()
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

impl PfeifferSpec {
    fn method(&self) -> (SublayerAdapter, &Layers) {
        let Self { bottleneck, activation, ref layers } = *self;
        (SublayerAdapter { row: AdapterVariant::Pfeiffer, bottleneck, activation }, layers)
    }
}

impl AdaptConfig for PfeifferSpec {
    fn build(
        &self,
        dims: &Dims,
        lender: &dyn Lender,
        seed: Seed,
        device: Device,
    ) -> Result<Box<dyn Adaptation>, SpecError> {
        // What lends no weight lends no normalisation either, whether there is one or not.
        let lends = lender.linear(Site { layer: LayerId(0), component: MlpOutput }).is_some();
        let (mut method, layers) = self.method();
        if lends && lender.norm(LayerId(0)).is_none() {
            method.row = AdapterVariant::PfeifferPlain;
        }
        build((method, layers), (dims, lender), seed, device)
    }

    fn trainable(&self, dims: &Dims, _: &dyn Lender) -> Result<i64, SpecError> {
        trainable(&self.method(), dims)
    }

    fn computes_with_weights(&self) -> bool {
        true
    }

    fn title(&self) -> String {
        Self::TITLE.to_owned()
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

fn sites<'l>(method: &SublayerAdapter, layers: &'l Layers) -> Result<PlacementSpec<'l>, SpecError> {
    check_bottleneck(method.bottleneck)?;
    let (key, components) = (method.key(), method.row.components());
    Ok(PlacementSpec { method: key, components, layers, positions: everywhere(), truncation: Truncation::default() })
}

fn build(
    (method, layers): (SublayerAdapter, &Layers),
    (dims, lender): (&Dims, &dyn Lender),
    seed: Seed,
    device: Device,
) -> Result<Box<dyn Adaptation>, SpecError> {
    let at = sites(&method, layers)?.resolve(dims)?;
    Ok(Box::new(ComponentAdaptation::new(Box::new(method), at, (dims, lender), seed, device)?))
}

fn trainable((method, layers): &(SublayerAdapter, &Layers), dims: &Dims) -> Result<i64, SpecError> {
    Ok(count(method, &sites(method, layers)?.resolve(dims)?, dims))
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
