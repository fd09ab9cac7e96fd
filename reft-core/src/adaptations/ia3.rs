//! IA3 (Liu et al., arXiv 2205.05638): learned scales of activations, `y' = l ⊙ y` with `l` at 1 in the beginning.
//!
//! Keys, values and the MLP's hidden activation in the paper. What peft calls a feedforward module scales its input: that of
//! the down projection is `mlp_hidden` here, that of attention's output projection `head_output`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::adapt_config::{AdaptMethod, SpecError};
use crate::adaptations::components::{
    ComponentConfig, ComponentMethod, ComponentSite, Placement, PlacementError, PlacementSpec, SiteRows, everywhere,
};
use crate::decay::ParameterRole;
use crate::intervention::{Constraint, Init, ParameterSpec};
use crate::layers::Layers;
use crate::lender::Lender;
use crate::positions::{Positions, Truncation};
use crate::site::{Component, Dims};

/// Trained scales of activations.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ia3Spec {
    /// The components whose output is scaled.
    #[serde(default = "paper")]
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
}

/// As in the paper.
fn paper() -> Vec<Component> {
    vec![Component::Key, Component::Value, Component::MlpHidden]
}

impl ComponentConfig for Ia3Spec {
    fn check(&self) -> Result<(), SpecError> {
        if self.components.contains(&Component::Embedding) {
            let known = "a component of every layer, such as key, value or mlp_hidden";
            return Err(PlacementError::NotDefined { method: "ia3", component: Component::Embedding, known }.into());
        }
        Ok(())
    }

    fn placement(&self, _: &dyn Lender) -> PlacementSpec<'_> {
        let Self { ref components, ref layers, positions, truncation } = *self;
        PlacementSpec { method: Self::KEY, components, layers, positions, truncation }
    }

    /// Any components: what is scaled need not come from a linear map.
    fn sites(&self, dims: &Dims, lender: &dyn Lender) -> Result<Placement, SpecError> {
        self.placement(lender).resolve(dims)
    }

    fn method(&self, _: &dyn Lender) -> Box<dyn ComponentMethod> {
        Box::new(Ia3)
    }
}

impl AdaptMethod for Ia3Spec {
    const KEY: &'static str = "ia3";
    const TITLE: &'static str = "IA3";
    const PARAMETERS: &'static str = "out for each component of each layer";
    const STARTS_AS_BASE: bool = true;

    fn example() -> Self {
        Self { components: paper(), layers: Layers::All, positions: everywhere(), truncation: Truncation::default() }
    }
}

/// The method of [`Ia3Spec`].
#[derive(Debug)]
struct Ia3;

impl ComponentMethod for Ia3 {
    fn key(&self) -> &'static str {
        "ia3"
    }

    fn declare(&self, place: &ComponentSite) -> Vec<ParameterSpec> {
        let (shape, init) = (vec![place.output], Init::Constant(1.0));
        vec![ParameterSpec { name: "ia3_l", shape, init, constraint: Constraint::Free, role: ParameterRole::Gain }]
    }

    fn change(&self, rows: &SiteRows<'_>) -> Tensor {
        let [scale] = rows.parameters else { unreachable!("one tensor is declared") };
        rows.y() * scale
    }
}
