//! VeRA (Kopiczko et al., arXiv 2310.11454): `y = W x + b ⊙ (B (d ⊙ (A x)))`.
//!
//! `A` `[r, max in]` and `B` `[max out, r]` are frozen, random and shared by all sites, which use their first columns and rows;
//! `d` `[r]` and `b` `[out]` are trained. The pair is drawn as peft draws it, from libtorch's generator seeded with
//! `projection_key`: first `A`, then `B`, uniform in ±√(6 / columns). It is saved with the adapter all the same.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::adapt_config::{AdaptConfig, AdaptMethod, SpecError};
use crate::adaptation::{Adaptation, NamedTensor};
use crate::adaptations::components::{
    ComponentAdaptation, ComponentMethod, ComponentSite, Placement, PlacementSpec, SiteRows, count, everywhere,
    positive, probability,
};
use crate::adaptations::lora::{attention, check_rank};
use crate::decay::ParameterRole;
use crate::intervention::{Constraint, Init, ParameterSpec};
use crate::layers::Layers;
use crate::lender::Lender;
use crate::positions::{Positions, Truncation};
use crate::rng::{self, Seed};
use crate::site::{Component, Dims};

/// Trained vectors around a frozen random pair of matrices that all sites share.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VeraSpec {
    /// `r`.
    pub rank: i64,
    /// Where `d` begins.
    #[serde(default = "d_initial")]
    pub d_initial: f64,
    /// Seed of the frozen pair.
    #[serde(default)]
    pub projection_key: u32,
    /// Linear components.
    #[serde(default = "attention")]
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
    /// Probability that a coordinate of the input is dropped in training.
    #[serde(default)]
    pub dropout: f64,
}

/// As the paper's experiments have it.
fn d_initial() -> f64 {
    0.1
}

impl VeraSpec {
    fn at(&self, dims: &Dims) -> Result<Placement, SpecError> {
        check_rank(self.rank)?;
        positive("d_initial", self.d_initial)?;
        probability(self.dropout)?;
        let Self { components, layers, positions, truncation, .. } = self;
        let (positions, truncation) = (*positions, *truncation);
        PlacementSpec { method: "vera", components, layers, positions, truncation }.linear(dims)
    }

    fn method(&self, a: Tensor, b: Tensor) -> Vera {
        Vera { rank: self.rank, d_initial: self.d_initial as f32, dropout: self.dropout, a, b }
    }

    /// The frozen pair `A`, `B` for these components.
    fn pair(&self, dims: &Dims, device: Device) -> [Tensor; 2] {
        let widest = |width: fn(Component, &Dims) -> i64| {
            self.components.iter().map(|&component| width(component, dims)).max().unwrap_or(0)
        };
        let input = widest(|component, dims| component.input_width(dims).unwrap_or(0));
        let output = widest(Component::width);
        let _draws = rng::libtorch_seeded(i64::from(self.projection_key));
        let draw = |shape: [i64; 2]| {
            let bound = (6.0 / shape[1] as f64).sqrt();
            Tensor::empty(shape, (Kind::Float, Device::Cpu)).uniform_(-bound, bound).to_device(device)
        };
        let a = draw([self.rank, input]);
        [a, draw([output, self.rank])]
    }
}

impl AdaptConfig for VeraSpec {
    fn build(
        &self,
        dims: &Dims,
        lender: &dyn Lender,
        seed: Seed,
        device: Device,
    ) -> Result<Box<dyn Adaptation>, SpecError> {
        let at = self.at(dims)?;
        let [a, b] = self.pair(dims, device);
        Ok(Box::new(ComponentAdaptation::new(Box::new(self.method(a, b)), at, (dims, lender), seed, device)?))
    }

    fn trainable(&self, dims: &Dims, _: &dyn Lender) -> Result<i64, SpecError> {
        let nothing = || Tensor::empty([0], (Kind::Float, Device::Cpu));
        Ok(count(&self.method(nothing(), nothing()), &self.at(dims)?, dims))
    }

    fn title(&self) -> String {
        Self::TITLE.to_owned()
    }
}

impl AdaptMethod for VeraSpec {
    const KEY: &'static str = "vera";
    const TITLE: &'static str = "VeRA";
    const PARAMETERS: &'static str = "rank + out for each component of each layer";
    const STARTS_AS_BASE: bool = true;

    fn example() -> Self {
        Self {
            rank: 4,
            d_initial: d_initial(),
            projection_key: 0,
            components: attention(),
            layers: Layers::All,
            positions: everywhere(),
            truncation: Truncation::default(),
            dropout: 0.0,
        }
    }
}

/// The method of [`VeraSpec`].
#[derive(Debug)]
struct Vera {
    rank: i64,
    d_initial: f32,
    dropout: f64,
    /// `[r, max in]`.
    a: Tensor,
    /// `[max out, r]`.
    b: Tensor,
}

impl ComponentMethod for Vera {
    fn key(&self) -> &'static str {
        "vera"
    }

    fn declare(&self, place: &ComponentSite) -> Vec<ParameterSpec> {
        let vector = |name, width, value| ParameterSpec {
            name,
            shape: vec![width],
            init: Init::Constant(value),
            constraint: Constraint::Free,
            role: ParameterRole::Gain,
        };
        vec![vector("vera_lambda_d", self.rank, self.d_initial), vector("vera_lambda_b", place.output, 0.0)]
    }

    fn shared(&self) -> Vec<NamedTensor> {
        let named = |name: &str, tensor: &Tensor| NamedTensor { name: name.to_owned(), tensor: tensor.shallow_clone() };
        vec![named("vera_A", &self.a), named("vera_B", &self.b)]
    }

    fn change(&self, rows: &SiteRows<'_>) -> Tensor {
        let [d, b] = rows.parameters else { unreachable!("two tensors are declared") };
        let first = self.a.narrow(1, 0, rows.place.input);
        let second = self.b.narrow(0, 0, rows.place.output);
        let inner = rows.dropped_x(self.dropout).matmul(&first.tr()) * d;
        rows.y() + inner.matmul(&second.tr()) * b
    }
}
