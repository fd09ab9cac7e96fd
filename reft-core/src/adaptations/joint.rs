//! `{joint: [...]}`: several adaptations trained together; `{staged: [...]}`: one after the other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::adapt_config::{AdaptConfig, AdaptMethod, PlacementError, SpecError};
use crate::adaptation::Adaptation;
use crate::adaptations::AdaptSpec;
use crate::adaptations::components::positive;
use crate::adaptations::lora::LoraSpec;
use crate::adaptations::reft::ReftSpec;
use crate::adaptations::several::{CombinedAdaptations, Member, TrainingOrder, jointly};
use crate::lender::Lender;
use crate::rng::Seed;
use crate::site::Dims;

/// One of several adaptations.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberSpec {
    /// What is trained.
    pub adapt: AdaptSpec,
    /// Its peak learning rate; that of the run if it has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
}

/// Several adaptations trained together: a list of `{adapt: {...}, lr: 1e-3}`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct JointSpec(pub Vec<MemberSpec>);

/// Several adaptations trained one after the other, in this order, each on top of those before: the same list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StagedSpec(pub Vec<MemberSpec>);

impl AdaptConfig for JointSpec {
    fn build(
        &self,
        dims: &Dims,
        lender: &dyn Lender,
        seed: Seed,
        device: Device,
    ) -> Result<Box<dyn Adaptation>, SpecError> {
        Ok(jointly(members(&self.0, (dims, lender), seed, device)?))
    }

    fn trainable(&self, dims: &Dims, _: &dyn Lender) -> Result<i64, SpecError> {
        trainable(&self.0, dims)
    }

    fn members(&self) -> Vec<&dyn AdaptConfig> {
        self.0.iter().map(|member| member.adapt.config()).collect()
    }

    fn title(&self) -> String {
        title(&self.0, " + ")
    }
}

impl AdaptMethod for JointSpec {
    const KEY: &'static str = "joint";
    const TITLE: &'static str = "several, together";
    const PARAMETERS: &'static str = "the sum over the members";
    const STARTS_AS_BASE: bool = false;

    fn example() -> Self {
        Self(vec![member(LoraSpec::example()), member(ReftSpec::example())])
    }
}

impl AdaptConfig for StagedSpec {
    fn build(
        &self,
        dims: &Dims,
        lender: &dyn Lender,
        seed: Seed,
        device: Device,
    ) -> Result<Box<dyn Adaptation>, SpecError> {
        Ok(Box::new(CombinedAdaptations::new(members(&self.0, (dims, lender), seed, device)?, TrainingOrder::Stages)))
    }

    fn trainable(&self, dims: &Dims, _: &dyn Lender) -> Result<i64, SpecError> {
        trainable(&self.0, dims)
    }

    fn members(&self) -> Vec<&dyn AdaptConfig> {
        self.0.iter().map(|member| member.adapt.config()).collect()
    }

    fn title(&self) -> String {
        title(&self.0, " then ")
    }
}

impl AdaptMethod for StagedSpec {
    const KEY: &'static str = "staged";
    const TITLE: &'static str = "several, in stages";
    const PARAMETERS: &'static str = "the sum over the members";
    const STARTS_AS_BASE: bool = false;

    fn example() -> Self {
        Self(vec![member(LoraSpec::example()), member(ReftSpec::example())])
    }
}

/// The members' titles.
fn title(specs: &[MemberSpec], between: &str) -> String {
    specs.iter().map(|member| member.adapt.title()).collect::<Vec<_>>().join(between)
}

/// An adaptation as a member.
fn member<M: AdaptMethod>(settings: M) -> MemberSpec {
    MemberSpec { adapt: AdaptSpec::new(settings), lr: None }
}

fn trainable(specs: &[MemberSpec], dims: &Dims) -> Result<i64, SpecError> {
    check(specs)?;
    specs.iter().map(|member| member.adapt.trainable(dims)).sum()
}

/// Refuses lists that cannot be trained.
fn check(specs: &[MemberSpec]) -> Result<(), SpecError> {
    if specs.is_empty() {
        return Err(SpecError::Empty);
    }
    if specs.iter().any(|member| member.adapt.key() == StagedSpec::KEY) {
        return Err(PlacementError::NestedStages.into());
    }
    specs.iter().filter_map(|member| member.lr).try_for_each(|lr| positive("lr", lr))?;
    let first = |wanted: fn(&dyn AdaptConfig) -> bool| {
        specs.iter().map(|member| &member.adapt).find(|adapt| wanted(adapt.config()))
    };
    let (reads, trains) = (first(AdaptConfig::computes_with_weights), first(AdaptConfig::own_weights));
    match (reads, trains) {
        (Some(reads), Some(trains)) => Err(PlacementError::Together(reads.key(), trains.key()).into()),
        (None, _) | (_, None) => Ok(()),
    }
}

fn members(
    specs: &[MemberSpec],
    (dims, lender): (&Dims, &dyn Lender),
    seed: Seed,
    device: Device,
) -> Result<Vec<Member>, SpecError> {
    check(specs)?;
    let member = |(index, spec): (usize, &MemberSpec)| {
        let seed = if index == 0 { seed } else { seed.derived("member", index as u64) };
        let adaptation = spec.adapt.build_on(dims, lender, seed, device)?;
        Ok(Member { name: index.to_string(), adaptation, lr: spec.lr })
    };
    specs.iter().enumerate().map(member).collect()
}
