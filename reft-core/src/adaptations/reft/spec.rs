//! `{reft: {...}}` and `{refts: [{...}, {...}]}`: the settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapt_config::SpecError;
use crate::adaptations::AdaptSpec;
use crate::layers::Layers;
use crate::method::InterventionSpec;
use crate::positions::{Positions, Truncation, Tying};
use crate::site::Component;
use crate::subspace::Subspace;

/// What dropout falls on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DropoutOn {
    /// The whole edited state, as in the reference library and so in the paper's runs: a dropped coordinate is 0.
    State,
    /// The edit alone: a dropped coordinate keeps its value.
    #[default]
    Edit,
}

/// Dropout during training.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditDropout {
    /// Probability, from 0 up to but not including 1.
    #[serde(default)]
    pub p: f64,
    /// What it falls on.
    #[serde(default)]
    pub on: DropoutOn,
}

/// One set of interventions: the same `Φ`, positions and rank at several layers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReftSpec {
    /// `Φ`, by name or spelled out.
    pub intervention: InterventionSpec,
    /// `r`, dimension of the subspace.
    pub rank: i64,
    /// `P`, the tokens.
    pub positions: Positions,
    /// `l`, the layers.
    #[serde(default)]
    pub layers: Layers,
    /// Which positions share parameters.
    #[serde(default)]
    pub tying: Tying,
    /// The station in the block.
    #[serde(default)]
    pub component: Component,
    /// Rule for short prompts.
    #[serde(default)]
    pub truncation: Truncation,
    /// Dropout during training.
    #[serde(default)]
    pub dropout: EditDropout,
    /// What the edit `Φ(h) − h` is multiplied by: 1 is `Φ`, 0 nothing, -1 its negation.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub strength: f64,
    /// The only rows of the subspace that are used. Sets of `refts` that differ in nothing else but their strength share one
    /// `R`, `W` and `b`, and act at once: `h + Σ_S R_Sᵀ(W_S h + b_S − R_S h)` (appendix G.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subspace: Option<Subspace>,
    /// The only attention head whose columns are edited, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<u32>,
}

fn one() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(super) fn is_one(strength: &f64) -> bool {
    (strength - 1.0).abs() == 0.0
}

/// Several sets of interventions trained together, with different layers, positions or methods.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ReftList(pub Vec<ReftSpec>);

impl AdaptSpec {
    /// The same interventions with other strengths: one for all sets, or one for each.
    ///
    /// # Errors
    /// When it is no intervention, or there are more or fewer strengths than sets.
    pub fn with_strengths(&self, strengths: &[f64]) -> Result<Self, SpecError> {
        let scaled = |sets: &[ReftSpec]| {
            let strength = |index: usize| match strengths {
                [one] => Ok(*one),
                all if all.len() == sets.len() => Ok(all[index]),
                all => Err(SpecError::Strengths { given: all.len(), sets: sets.len() }),
            };
            let set = |(index, set): (usize, &ReftSpec)| Ok(ReftSpec { strength: strength(index)?, ..set.clone() });
            sets.iter().enumerate().map(set).collect::<Result<Vec<_>, SpecError>>()
        };
        match (self.get::<ReftSpec>(), self.get::<ReftList>()) {
            (Some(set), _) => Ok(Self::new(scaled(std::slice::from_ref(set))?.remove(0))),
            (None, Some(sets)) => Ok(Self::new(ReftList(scaled(&sets.0)?))),
            (None, None) => Err(SpecError::NoStrength(self.key())),
        }
    }
}
