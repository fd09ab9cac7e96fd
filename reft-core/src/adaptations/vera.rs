//! VeRA (Kopiczko et al., arXiv 2310.11454): `y = W x + b ⊙ (B (d ⊙ (A x)))`.
//!
//! `A` `[r, max in]` and `B` `[max out, r]` are frozen, random and shared by all sites, which use their first columns and rows;
//! `d` `[r]` and `b` `[out]` are trained. The pair is drawn as peft draws it, from libtorch's generator seeded with
//! `projection_key`: first `A`, then `B`, uniform in ±√(6 / columns). It is saved with the adapter all the same.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::adapt_config::{AdaptMethod, SpecError};
use crate::adaptation::NamedTensor;
use crate::adaptations::components::{
    ComponentConfig, ComponentMethod, ComponentSite, PlacementSpec, SiteRows, everywhere, positive, probability,
};
use crate::adaptations::lora::{attention, check_rank};
use crate::decay::ParameterRole;
use crate::intervention::{Constraint, Init, ParameterSpec};
use crate::layers::Layers;
use crate::lender::Lender;
use crate::positions::{Positions, Truncation};
use crate::rng;
use crate::site::Component;

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

impl ComponentConfig for VeraSpec {
    fn check(&self) -> Result<(), SpecError> {
        check_rank(self.rank)?;
        positive("d_initial", self.d_initial)?;
        probability(self.dropout)
    }

    fn placement(&self, _: &dyn Lender) -> PlacementSpec<'_> {
        let Self { ref components, ref layers, positions, truncation, .. } = *self;
        PlacementSpec { method: Self::KEY, components, layers, positions, truncation }
    }

    fn method(&self, _: &dyn Lender) -> Box<dyn ComponentMethod> {
        let Self { rank, projection_key, dropout, .. } = *self;
        let pair = [(); 2].map(|()| Tensor::empty([0], (Kind::Float, Device::Cpu)));
        Box::new(Vera { rank, d_initial: self.d_initial as f32, projection_key, dropout, pair })
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
    projection_key: u32,
    dropout: f64,
    /// `A` `[r, max in]` and `B` `[max out, r]`; empty until they are drawn.
    pair: [Tensor; 2],
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

    fn draw_shared(&mut self, places: &[ComponentSite], device: Device) {
        let widest = |width: fn(&ComponentSite) -> i64| places.iter().map(width).max().unwrap_or(0);
        let _draws = rng::libtorch_seeded(i64::from(self.projection_key));
        let draw = |shape: [i64; 2]| {
            let bound = (6.0 / shape[1] as f64).sqrt();
            Tensor::empty(shape, (Kind::Float, Device::Cpu)).uniform_(-bound, bound).to_device(device)
        };
        let a = draw([self.rank, widest(|place| place.input)]);
        self.pair = [a, draw([widest(|place| place.output), self.rank])];
    }

    fn shared(&self) -> Vec<NamedTensor> {
        let [a, b] = &self.pair;
        let named = |name: &str, tensor: &Tensor| NamedTensor { name: name.to_owned(), tensor: tensor.shallow_clone() };
        vec![named("vera_A", a), named("vera_B", b)]
    }

    fn change(&self, rows: &SiteRows<'_>) -> Tensor {
        let ([d, b], [first, second]) = (rows.parameters, &self.pair) else { unreachable!("two tensors are declared") };
        let first = first.narrow(1, 0, rows.place.input);
        let second = second.narrow(0, 0, rows.place.output);
        let inner = rows.dropped_x(self.dropout).matmul(&first.tr()) * d;
        rows.y() + inner.matmul(&second.tr()) * b
    }
}
