//! What a set of interventions, or several, is as an adaptation.

use tch::Device;

use super::shared::trainable;
use super::{EditDropout, Reft, ReftList, ReftSpec};
use crate::adapt_config::{AdaptConfig, AdaptMethod, SpecError};
use crate::adaptation::Adaptation;
use crate::layers::Layers;
use crate::lender::Lender;
use crate::method::InterventionSpec;
use crate::positions::{Positions, Truncation, Tying};
use crate::rng::Seed;
use crate::site::{Component, Dims};

impl AdaptConfig for ReftSpec {
    fn build(&self, dims: &Dims, _: &dyn Lender, seed: Seed, device: Device) -> Result<Box<dyn Adaptation>, SpecError> {
        Ok(Box::new(Reft::new(std::slice::from_ref(self), dims, seed, device)?))
    }

    fn trainable(&self, dims: &Dims, _: &dyn Lender) -> Result<i64, SpecError> {
        trainable(std::slice::from_ref(self), dims)
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
            intervention: InterventionSpec::named("loreft").expect("a named method"),
            rank: 4,
            positions: Positions::Ends { prefix: 3, suffix: 3 },
            layers: Layers::All,
            tying: Tying::Untied,
            component: Component::BlockOutput,
            truncation: Truncation::Paper,
            dropout: EditDropout::default(),
            strength: 1.0,
            subspace: None,
            head: None,
        }
    }
}

impl AdaptConfig for ReftList {
    fn build(&self, dims: &Dims, _: &dyn Lender, seed: Seed, device: Device) -> Result<Box<dyn Adaptation>, SpecError> {
        Ok(Box::new(Reft::new(&self.0, dims, seed, device)?))
    }

    fn trainable(&self, dims: &Dims, _: &dyn Lender) -> Result<i64, SpecError> {
        trainable(&self.0, dims)
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
            intervention: InterventionSpec::named(name).expect("a named method"),
            layers: Layers::listed(vec![layer.into()]).expect("one layer"),
            ..ReftSpec::example()
        };
        Self(vec![set("loreft", 0), set("direft", -1)])
    }
}
