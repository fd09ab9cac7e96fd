//! Series and parallel adapters, as LLM-Adapters defines them (Hu et al., arXiv 2304.01933).
//!
//! `a(z) = s U f(D z)` with `D` `[b, in]`, `U` `[out, b]`, no biases, both drawn from N(0, 0.02²).
//!
//! | adapter | at | `y` |
//! |---|---|---|
//! | series | a map from the residual stream (`gate`, `up`, …) | `W (x + a(x))` |
//! | series | a map back to it (`mlp_output`, `attention_output`) | `W x`, then `y + a(y)` |
//! | parallel | any linear map | `W x + a(x)` |

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::adapt_config::{AdaptMethod, SpecError};
use crate::adaptations::components::{
    ComponentConfig, ComponentMethod, ComponentSite, FrozenInputs, PlacementError, PlacementSpec, SiteRows, everywhere,
    positive, probability,
};
use crate::decay::ParameterRole;
use crate::intervention::{Constraint, Init, ParameterSpec};
use crate::layers::Layers;
use crate::lender::Lender;
use crate::positions::{Positions, Truncation};
use crate::site::Component;

/// Standard deviation of fresh matrices.
pub(crate) const SD: f32 = 0.02;

/// `f`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Nonlinearity {
    /// Hyperbolic tangent, LLM-Adapters' default.
    #[default]
    Tanh,
    /// `max(0, x)`.
    Relu,
    /// `x` times its sigmoid, also called swish.
    Silu,
    /// `x` times the normal distribution function at `x`.
    Gelu,
}

impl Nonlinearity {
    /// `f(x)`.
    pub(crate) fn of(self, x: &Tensor) -> Tensor {
        match self {
            Self::Tanh => x.tanh(),
            Self::Relu => x.relu(),
            Self::Silu => x.silu(),
            Self::Gelu => x.gelu("none"),
        }
    }
}

macro_rules! specification {
    ($(#[$doc:meta])* $name:ident, $key:literal, $title:literal, $default:literal, $shape:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// `b`, numbers in the middle.
            pub bottleneck: i64,
            /// `f`.
            #[serde(default)]
            pub activation: Nonlinearity,
            /// `s`.
            #[serde(default = "one")]
            pub scaling: f64,
            /// Linear components.
            #[serde(default = $default)]
            pub components: Vec<Component>,
            /// The layers.
            #[serde(default)]
            pub layers: Layers,
            /// The tokens.
            #[serde(default = "everywhere")]
            pub positions: Positions,
            /// Rule for short prompts.
            #[serde(default)]
            pub truncation: Truncation,
            /// Probability that a coordinate of `f(D z)` is dropped in training.
            #[serde(default)]
            pub dropout: f64,
        }

        impl ComponentConfig for $name {
            fn check(&self) -> Result<(), SpecError> {
                check_bottleneck(self.bottleneck)?;
                positive("scaling", self.scaling)?;
                probability(self.dropout)
            }

            fn placement(&self, _: &dyn Lender) -> PlacementSpec<'_> {
                let Self { ref components, ref layers, positions, truncation, .. } = *self;
                PlacementSpec { method: $key, components, layers, positions, truncation }
            }

            fn method(&self, _: &dyn Lender) -> Box<dyn ComponentMethod> {
                let Self { bottleneck, activation, scaling, dropout, .. } = *self;
                Box::new(Bottleneck { key: $key, shape: $shape, inner: bottleneck, activation, scaling, dropout })
            }
        }

        impl AdaptMethod for $name {
            const KEY: &'static str = $key;
            const TITLE: &'static str = $title;
            const PARAMETERS: &'static str = "bottleneck * (in + out) of each adapter";
            const STARTS_AS_BASE: bool = false;

            fn example() -> Self {
                Self {
                    bottleneck: 4,
                    activation: Nonlinearity::Tanh,
                    scaling: one(),
                    components: vec![Component::Up, Component::MlpOutput],
                    layers: Layers::All,
                    positions: everywhere(),
                    truncation: Truncation::default(),
                    dropout: 0.0,
                }
            }
        }
    };
}

specification! {
    /// Bottlenecks before or after linear maps, as LLM-Adapters defines them: table 1's AdapterS.
    SeriesSpec, "series_adapter", "Series adapter", "into_the_mlp", BottleneckForm::Series
}

specification! {
    /// Bottlenecks beside linear maps, as LLM-Adapters defines them: table 1's AdapterP.
    ParallelSpec, "parallel_adapter", "Parallel adapter", "through_the_mlp", BottleneckForm::Parallel
}

fn one() -> f64 {
    1.0
}

/// The modules that the paper's counts of AdapterS belong to.
fn into_the_mlp() -> Vec<Component> {
    vec![Component::Gate, Component::Up]
}

/// The modules that the paper's counts of AdapterP belong to.
fn through_the_mlp() -> Vec<Component> {
    vec![Component::Up, Component::MlpOutput]
}

/// A bottleneck of one number at least.
pub(crate) fn check_bottleneck(bottleneck: i64) -> Result<(), SpecError> {
    let fault = || PlacementError::Number { key: "bottleneck", given: bottleneck.to_string(), allowed: "1 or more" };
    if bottleneck >= 1 { Ok(()) } else { Err(fault().into()) }
}

/// Where the adapter is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum BottleneckForm {
    Series,
    Parallel,
}

/// What an adapter reads and adds to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum BottleneckInput {
    /// The map's input.
    Before,
    /// The map's output.
    After,
    /// The map's input, beside it.
    Beside,
}

#[derive(Debug)]
struct Bottleneck {
    key: &'static str,
    shape: BottleneckForm,
    inner: i64,
    activation: Nonlinearity,
    scaling: f64,
    dropout: f64,
}

impl Bottleneck {
    fn reads(&self, component: Component) -> BottleneckInput {
        match (self.shape, component) {
            (BottleneckForm::Parallel, _) => BottleneckInput::Beside,
            (BottleneckForm::Series, Component::AttentionOutput | Component::MlpOutput) => BottleneckInput::After,
            (BottleneckForm::Series, _) => BottleneckInput::Before,
        }
    }
}

impl ComponentMethod for Bottleneck {
    fn key(&self) -> &'static str {
        self.key
    }

    fn declare(&self, place: &ComponentSite) -> Vec<ParameterSpec> {
        let (input, output) = match self.reads(place.site.component) {
            BottleneckInput::Before => (place.input, place.input),
            BottleneckInput::After => (place.output, place.output),
            BottleneckInput::Beside => (place.input, place.output),
        };
        let matrix = |name, shape: [i64; 2]| ParameterSpec {
            name,
            shape: shape.to_vec(),
            init: Init::Normal { sd: SD },
            constraint: Constraint::Free,
            role: ParameterRole::Matrix,
        };
        vec![matrix("adapter_down", [self.inner, input]), matrix("adapter_up", [output, self.inner])]
    }

    fn borrows(&self) -> FrozenInputs {
        match self.shape {
            BottleneckForm::Series => FrozenInputs::Linear,
            BottleneckForm::Parallel => FrozenInputs::Nothing,
        }
    }

    fn change(&self, rows: &SiteRows<'_>) -> Tensor {
        let [down, up] = rows.parameters else { unreachable!("two tensors are declared") };
        let adapter = |z: &Tensor| {
            let inner = self.activation.of(&z.matmul(&down.tr()));
            rows.dropped(inner, self.dropout).matmul(&up.tr()) * self.scaling
        };
        let (x, y) = (rows.x.to_kind(Kind::Float), rows.y());
        match self.reads(rows.place.site.component) {
            BottleneckInput::Beside => y + adapter(&x),
            BottleneckInput::After => &y + adapter(&y),
            BottleneckInput::Before => {
                let weight = &rows.place.map().weight;
                y + adapter(&x).to_kind(weight.kind()).matmul(&weight.tr()).to_kind(Kind::Float)
            }
        }
    }
}
