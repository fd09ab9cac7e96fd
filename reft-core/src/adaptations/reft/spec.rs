//! `{reft: {...}}` and `{refts: [{...}, {...}]}`: the settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::Reft;
use super::part::Part;
use crate::adapt_config::{AdaptConfig, AdaptMethod, SpecError};
use crate::adaptation::Adaptation;
use crate::layers::Layers;
use crate::lender::Lender;
use crate::method::Method;
use crate::positions::{Positions, Truncation, Tying};
use crate::rng::Seed;
use crate::site::{Component, Dims};

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
pub struct Dropout {
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
    pub intervention: Method,
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
    pub dropout: Dropout,
}

/// Several sets of interventions trained together, with different layers, positions or methods.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ReftList(pub Vec<ReftSpec>);

impl AdaptConfig for ReftSpec {
    fn build(&self, dims: &Dims, _: &dyn Lender, seed: Seed, device: Device) -> Result<Box<dyn Adaptation>, SpecError> {
        Ok(Box::new(Reft::new(std::slice::from_ref(self), dims, seed, device)?))
    }

    fn trainable(&self, dims: &Dims, _: &dyn Lender) -> Result<i64, SpecError> {
        Ok(Part::new(self, dims)?.stacks().iter().map(|s| s.sites * s.declared.shape.iter().product::<i64>()).sum())
    }

    fn title(&self) -> String {
        self.intervention.title().to_owned()
    }
}

impl AdaptMethod for ReftSpec {
    const KEY: &'static str = "reft";
    const TITLE: &'static str = "ReFT";
    const PARAMETERS: &'static str = "layers * groups * parameters of the intervention";
    const STARTS_AS_BASE: bool = false;

    fn example() -> Self {
        Self {
            intervention: Method::named("loreft").expect("a named method"),
            rank: 4,
            positions: Positions::Ends { prefix: 3, suffix: 3 },
            layers: Layers::All,
            tying: Tying::Untied,
            component: Component::BlockOutput,
            truncation: Truncation::Paper,
            dropout: Dropout::default(),
        }
    }
}

impl AdaptConfig for ReftList {
    fn build(&self, dims: &Dims, _: &dyn Lender, seed: Seed, device: Device) -> Result<Box<dyn Adaptation>, SpecError> {
        Ok(Box::new(Reft::new(&self.0, dims, seed, device)?))
    }

    fn trainable(&self, dims: &Dims, lender: &dyn Lender) -> Result<i64, SpecError> {
        self.0.iter().map(|spec| spec.trainable(dims, lender)).sum()
    }

    fn title(&self) -> String {
        self.0.iter().map(|spec| spec.intervention.title()).collect::<Vec<_>>().join(" + ")
    }
}

impl AdaptMethod for ReftList {
    const KEY: &'static str = "refts";
    const TITLE: &'static str = "several ReFTs";
    const PARAMETERS: &'static str = "the sum over the sets";
    const STARTS_AS_BASE: bool = false;

    fn example() -> Self {
        let set = |name: &str, layer: i64| ReftSpec {
            intervention: Method::named(name).expect("a named method"),
            layers: Layers::listed(vec![layer.into()]).expect("one layer"),
            ..ReftSpec::example()
        };
        Self(vec![set("loreft", 0), set("direft", -1)])
    }
}
