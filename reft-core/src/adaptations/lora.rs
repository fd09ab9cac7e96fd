//! LoRA (Hu et al., arXiv 2106.09685): `y = W x + s B A x` with `A` `[r, in]` and `B` `[out, r]`.
//!
//! `s` is `alpha / r`, or `alpha / sqrt(r)` for rsLoRA (Kalajdzievski, arXiv 2312.03732). `A` begins uniform in ±1/√in and
//! `B` at 0, so that the fresh adapter changes nothing. Dropout falls on the input of `A`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::adapt_config::{AdaptConfig, AdaptMethod, SpecError};
use crate::adaptation::Adaptation;
use crate::adaptations::components::{
    ComponentAdaptation, ComponentMethod, ComponentSite, Placement, PlacementError, PlacementSpec, SiteRows, count,
    everywhere, positive, probability,
};
use crate::adaptations::own_weights::BitFit;
use crate::adaptations::several::{self, Member};
use crate::decay::ParameterRole;
use crate::intervention::{Constraint, Init, ParameterSpec};
use crate::layers::Layers;
use crate::lender::Lender;
use crate::positions::{Positions, Truncation};
use crate::rng::Seed;
use crate::site::{Component, Dims};

/// Which of the model's biases are trained beside the low-rank maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoraBias {
    /// None.
    #[default]
    None,
    /// All of the model's.
    All,
}

/// Low-rank maps beside linear ones.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoraSpec {
    /// `r`.
    pub rank: i64,
    /// Numerator of the scale.
    pub alpha: f64,
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
    /// Whether the scale is `alpha / sqrt(r)`.
    #[serde(default)]
    pub rslora: bool,
    /// The model's biases that are trained too.
    #[serde(default)]
    pub bias: LoraBias,
}

/// Queries and values, as in the paper's own experiments.
pub(crate) fn attention() -> Vec<Component> {
    vec![Component::Query, Component::Value]
}

/// A rank that fits every one of the sites.
pub(crate) fn check_rank(rank: i64) -> Result<(), SpecError> {
    let fault = || PlacementError::Number { key: "rank", given: rank.to_string(), allowed: "1 or more" };
    if rank >= 1 { Ok(()) } else { Err(fault().into()) }
}

/// `alpha / r`, or `alpha / sqrt(r)`.
pub(crate) fn scale(alpha: f64, rank: i64, rslora: bool) -> f64 {
    let rank = rank as f64;
    alpha / if rslora { rank.sqrt() } else { rank }
}

/// `A` and `B` of one site.
pub(crate) fn low_rank(place: &ComponentSite, rank: i64) -> Vec<ParameterSpec> {
    let matrix = |name, shape: [i64; 2], init| ParameterSpec {
        name,
        shape: shape.to_vec(),
        init,
        constraint: Constraint::Free,
        role: ParameterRole::Matrix,
    };
    vec![
        matrix("lora_A", [rank, place.input], Init::Linear { fan: place.input }),
        matrix("lora_B", [place.output, rank], Init::Constant(0.0)),
    ]
}

impl LoraSpec {
    fn at(&self, dims: &Dims) -> Result<Placement, SpecError> {
        check_rank(self.rank)?;
        positive("alpha", self.alpha)?;
        probability(self.dropout)?;
        let Self { components, layers, positions, truncation, .. } = self;
        let (positions, truncation) = (*positions, *truncation);
        PlacementSpec { method: "lora", components, layers, positions, truncation }.linear(dims)
    }

    fn method(&self) -> Lora {
        Lora { rank: self.rank, scale: scale(self.alpha, self.rank, self.rslora), dropout: self.dropout }
    }
}

impl AdaptConfig for LoraSpec {
    fn build(
        &self,
        dims: &Dims,
        lender: &dyn Lender,
        seed: Seed,
        device: Device,
    ) -> Result<Box<dyn Adaptation>, SpecError> {
        let low_rank = ComponentAdaptation::new(Box::new(self.method()), self.at(dims)?, (dims, lender), seed, device)?;
        match self.bias {
            LoraBias::None => Ok(Box::new(low_rank)),
            LoraBias::All => {
                let biases = BitFit {}.build(dims, lender, seed, device)?;
                Ok(several::jointly(vec![Member::named("lora", Box::new(low_rank)), Member::named("bias", biases)]))
            }
        }
    }

    fn trainable(&self, dims: &Dims, _: &dyn Lender) -> Result<i64, SpecError> {
        match self.bias {
            LoraBias::None => Ok(count(&self.method(), &self.at(dims)?, dims)),
            LoraBias::All => Err(SpecError::OwnWeights("lora with bias: all")),
        }
    }

    fn own_weights(&self) -> bool {
        self.bias == LoraBias::All
    }

    fn trains_own(&self, name: &str) -> bool {
        self.bias == LoraBias::All && BitFit {}.trains_own(name)
    }

    fn title(&self) -> String {
        Self::TITLE.to_owned()
    }
}

impl AdaptMethod for LoraSpec {
    const KEY: &'static str = "lora";
    const TITLE: &'static str = "LoRA";
    const PARAMETERS: &'static str = "rank * (in + out) for each component of each layer";
    const STARTS_AS_BASE: bool = true;

    fn example() -> Self {
        Self {
            rank: 2,
            alpha: 4.0,
            components: attention(),
            layers: Layers::All,
            positions: everywhere(),
            truncation: Truncation::default(),
            dropout: 0.0,
            rslora: false,
            bias: LoraBias::None,
        }
    }
}

/// The method of [`LoraSpec`].
#[derive(Debug)]
struct Lora {
    rank: i64,
    scale: f64,
    dropout: f64,
}

impl ComponentMethod for Lora {
    fn key(&self) -> &'static str {
        "lora"
    }

    fn declare(&self, place: &ComponentSite) -> Vec<ParameterSpec> {
        low_rank(place, self.rank)
    }

    fn change(&self, rows: &SiteRows<'_>) -> Tensor {
        let [a, b] = rows.parameters else { unreachable!("two tensors are declared") };
        let inner = rows.dropped_x(self.dropout).matmul(&a.tr()) * self.scale;
        rows.y().to_kind(Kind::Float) + inner.matmul(&b.tr())
    }
}
