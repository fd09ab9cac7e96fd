//! LoRA (Hu et al., arXiv 2106.09685): `y = W x + s B A x` with `A` `[r, in]` and `B` `[out, r]`.
//!
//! `s` is `alpha / r`, or `alpha / sqrt(r)` for rsLoRA (Kalajdzievski, arXiv 2312.03732). `A` begins uniform in ±1/√in and
//! `B` at 0, so that the fresh adapter changes nothing. Dropout falls on the input of `A`. With `bias: lora_only` the bias in
//! `W x + b` is trained as well, with `bias: all` every bias of the model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::adapt_config::{AdaptConfig, AdaptMethod, SpecError};
use crate::adaptations::components::{
    ComponentConfig, ComponentMethod, ComponentSite, FrozenInputs, Placement, PlacementError, PlacementSpec, SiteRows,
    everywhere, positive, probability,
};
use crate::adaptations::own_weights::BitFit;
use crate::decay::ParameterRole;
use crate::intervention::{Constraint, Init, ParameterSpec};
use crate::layers::Layers;
use crate::lender::Lender;
use crate::positions::{Positions, Truncation};
use crate::site::{Component, Dims, Site};

/// Which of the model's biases are trained beside the low-rank maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoraBias {
    /// None.
    #[default]
    None,
    /// Those of the maps that have low-rank maps beside them.
    LoraOnly,
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

impl ComponentConfig for LoraSpec {
    fn check(&self) -> Result<(), SpecError> {
        check_rank(self.rank)?;
        positive("alpha", self.alpha)?;
        probability(self.dropout)
    }

    fn placement(&self, _: &dyn Lender) -> PlacementSpec<'_> {
        let Self { components, layers, positions, truncation, .. } = self;
        let (positions, truncation) = (*positions, *truncation);
        PlacementSpec { method: Self::KEY, components, layers, positions, truncation }
    }

    /// Linear maps; those without biases are refused where biases are to be trained.
    fn sites(&self, dims: &Dims, lender: &dyn Lender) -> Result<Placement, SpecError> {
        let placement = self.placement(lender).linear(dims)?;
        let bare = |site: &&Site| lender.linear(**site).is_some_and(|map| map.bias.is_none());
        match placement.sites().iter().find(bare) {
            Some(site) if self.bias == LoraBias::LoraOnly => Err(PlacementError::NoBias(site.to_string()).into()),
            _ => Ok(placement),
        }
    }

    fn method(&self, _: &dyn Lender) -> Box<dyn ComponentMethod> {
        let scale = scale(self.alpha, self.rank, self.rslora);
        let bias = self.bias == LoraBias::LoraOnly;
        Box::new(Lora { rank: self.rank, scale, dropout: self.dropout, bias })
    }

    fn beside(&self) -> Option<(&'static str, &'static dyn AdaptConfig)> {
        (self.bias == LoraBias::All).then_some(("bias", &BitFit {}))
    }
}

impl AdaptMethod for LoraSpec {
    const KEY: &'static str = "lora";
    const TITLE: &'static str = "LoRA";
    const PARAMETERS: &'static str =
        "rank * (in + out) for each component of each layer; with bias: lora_only out more";
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

/// The bias of a map that is borrowed.
fn frozen_bias(place: &ComponentSite) -> Option<&Tensor> {
    place.linear.as_ref().and_then(|map| map.bias.as_ref())
}

/// The method of [`LoraSpec`].
#[derive(Debug)]
struct Lora {
    rank: i64,
    scale: f64,
    dropout: f64,
    /// Whether the map's own bias is trained in its place.
    bias: bool,
}

impl ComponentMethod for Lora {
    fn key(&self) -> &'static str {
        "lora"
    }

    fn declare(&self, place: &ComponentSite) -> Vec<ParameterSpec> {
        let bias = ParameterSpec {
            name: "bias",
            shape: vec![place.output],
            init: Init::Constant(0.0),
            constraint: Constraint::Free,
            role: ParameterRole::Bias,
        };
        low_rank(place, self.rank).into_iter().chain(self.bias.then_some(bias)).collect()
    }

    fn borrows(&self) -> FrozenInputs {
        if self.bias { FrozenInputs::Linear } else { FrozenInputs::Nothing }
    }

    /// A trained bias begins at the map's.
    fn initialise(&self, place: &ComponentSite, tensors: &[Tensor]) {
        if let ([_, _, bias], Some(frozen)) = (tensors, frozen_bias(place)) {
            bias.shallow_clone().copy_(frozen);
        }
    }

    fn change(&self, rows: &SiteRows<'_>) -> Tensor {
        let [a, b, bias @ ..] = rows.parameters else { unreachable!("two tensors are declared at least") };
        let inner = rows.dropped_x(self.dropout).matmul(&a.tr()) * self.scale;
        let changed = rows.y() + inner.matmul(&b.tr());
        match (bias, frozen_bias(rows.place)) {
            ([bias], Some(frozen)) => changed + (bias - frozen.to_kind(Kind::Float)),
            _ => changed,
        }
    }
}
