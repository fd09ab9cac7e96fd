//! DoRA (Liu et al., arXiv 2402.09353): `V = W + s B A`, `y = m ⊙ (V x) / ‖V‖ + b`.
//!
//! `‖V‖` `[out]` are the norms of `V`'s rows, a constant to the gradient (their section 4.3); the magnitudes `m` `[out]` begin
//! at the norms of `W`'s rows, so that the fresh adapter changes nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use crate::adapt_config::{AdaptMethod, SpecError};
use crate::adaptations::components::{
    ComponentConfig, ComponentMethod, ComponentSite, FrozenInputs, PlacementSpec, SiteRows, everywhere, positive,
    probability,
};
use crate::adaptations::lora::{attention, check_rank, low_rank, scale};
use crate::decay::ParameterRole;
use crate::intervention::{Constraint, Init, ParameterSpec};
use crate::layers::Layers;
use crate::lender::Lender;
use crate::positions::{Positions, Truncation};
use crate::site::Component;

/// Low-rank changes of direction with trained magnitudes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoraSpec {
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
    /// Probability that a coordinate of the input of `A` is dropped in training.
    #[serde(default)]
    pub dropout: f64,
    /// Whether the scale is `alpha / sqrt(r)`.
    #[serde(default)]
    pub rslora: bool,
}

impl ComponentConfig for DoraSpec {
    fn check(&self) -> Result<(), SpecError> {
        check_rank(self.rank)?;
        positive("alpha", self.alpha)?;
        probability(self.dropout)
    }

    fn placement(&self, _: &dyn Lender) -> PlacementSpec<'_> {
        let Self { ref components, ref layers, positions, truncation, .. } = *self;
        PlacementSpec { method: Self::KEY, components, layers, positions, truncation }
    }

    fn method(&self, _: &dyn Lender) -> Box<dyn ComponentMethod> {
        let scale = scale(self.alpha, self.rank, self.rslora);
        Box::new(Dora { rank: self.rank, scale, dropout: self.dropout })
    }
}

impl AdaptMethod for DoraSpec {
    const KEY: &'static str = "dora";
    const TITLE: &'static str = "DoRA";
    const PARAMETERS: &'static str = "rank * (in + out) + out for each component of each layer";
    const STARTS_AS_BASE: bool = false;

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
        }
    }
}

/// The method of [`DoraSpec`].
#[derive(Debug)]
struct Dora {
    rank: i64,
    scale: f64,
    dropout: f64,
}

impl Dora {
    /// Norms of the rows of `W + s B A`, `[out]`, without making that matrix: with `G = A Aᵀ`,
    /// `‖w + s b A‖² = ‖w‖² + 2 s (w Aᵀ)·b + s² b G bᵀ`.
    fn norms(&self, weight: &Tensor, a: &Tensor, b: &Tensor) -> Tensor {
        let rows = |product: Tensor| product.sum_dim_intlist(1i64, false, Kind::Float);
        let weight = weight.to_kind(Kind::Float);
        let crossed = rows(weight.matmul(&a.tr()) * b) * (2.0 * self.scale);
        let low_rank = rows(b.matmul(&a.matmul(&a.tr())) * b) * (self.scale * self.scale);
        (rows(weight.square()) + crossed + low_rank).clamp_min(0.0).sqrt()
    }
}

impl ComponentMethod for Dora {
    fn key(&self) -> &'static str {
        "dora"
    }

    fn declare(&self, place: &ComponentSite) -> Vec<ParameterSpec> {
        let shape = vec![place.output];
        let (init, constraint) = (Init::Constant(1.0), Constraint::Free);
        let magnitude = ParameterSpec { name: "magnitude", shape, init, constraint, role: ParameterRole::Gain };
        low_rank(place, self.rank).into_iter().chain([magnitude]).collect()
    }

    fn borrows(&self) -> FrozenInputs {
        FrozenInputs::Linear
    }

    fn initialise(&self, place: &ComponentSite, parameters: &[Tensor]) {
        let [a, b, magnitude] = parameters else { unreachable!("three tensors are declared") };
        let norms = self.norms(&place.map().weight, a, b);
        no_grad(|| magnitude.shallow_clone().copy_(&norms));
    }

    fn constants(&self, place: &ComponentSite, parameters: &[Tensor]) -> Vec<Tensor> {
        let [a, b, _] = parameters else { unreachable!("three tensors are declared") };
        vec![self.norms(&place.map().weight, a, b)]
    }

    fn change(&self, rows: &SiteRows<'_>) -> Tensor {
        let ([a, b, magnitude], [norms]) = (rows.parameters, rows.constants) else {
            unreachable!("three tensors are declared, and one constant follows from them")
        };
        let bias = rows.place.map().bias.as_ref().map(|bias| bias.to_kind(Kind::Float));
        let mapped = match &bias {
            Some(bias) => rows.y() - bias,
            None => rows.y(),
        };
        let inner = rows.dropped_x(self.dropout).matmul(&a.tr()) * self.scale;
        let turned = (mapped + inner.matmul(&b.tr())) * (magnitude / norms);
        match &bias {
            Some(bias) => turned + bias,
            None => turned,
        }
    }
}
