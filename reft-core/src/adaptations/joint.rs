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
use crate::adaptations::several::{CombinedAdaptations, Member, TrainingOrder};
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

/// Several adaptations, trained together (`joint`) or one after the other in this order, each on top of those before (`staged`): a
/// list of `{adapt: {...}, lr: 1e-3}`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MembersSpec<const STAGED: bool>(pub Vec<MemberSpec>);

/// Trained together.
pub type JointSpec = MembersSpec<false>;

/// Trained one after the other.
pub type StagedSpec = MembersSpec<true>;

impl<const STAGED: bool> AdaptConfig for MembersSpec<STAGED> {
    fn build(
        &self,
        dims: &Dims,
        lender: &dyn Lender,
        seed: Seed,
        device: Device,
    ) -> Result<Box<dyn Adaptation>, SpecError> {
        let order = if STAGED { TrainingOrder::Stages } else { TrainingOrder::Together };
        let members = members(&self.0, (dims, lender), seed, device)?;
        Ok(Box::new(CombinedAdaptations::new(members, order)))
    }

    fn trainable(&self, dims: &Dims, lender: &dyn Lender) -> Result<i64, SpecError> {
        check(&self.0)?;
        self.0.iter().map(|member| member.adapt.config().trainable(dims, lender)).sum()
    }

    fn members(&self) -> Vec<&dyn AdaptConfig> {
        self.0.iter().map(|member| member.adapt.config()).collect()
    }

    fn title(&self) -> String {
        let titles: Vec<String> = self.0.iter().map(|member| member.adapt.title()).collect();
        titles.join(if STAGED { " then " } else { " + " })
    }
}

impl<const STAGED: bool> AdaptMethod for MembersSpec<STAGED> {
    const KEY: &'static str = if STAGED { "staged" } else { "joint" };
    const TITLE: &'static str = if STAGED { "several, in stages" } else { "several, together" };
    const PARAMETERS: &'static str = "the sum over the members";
    const STARTS_AS_BASE: bool = false;

    fn example() -> Self {
        Self(vec![member(LoraSpec::example()), member(ReftSpec::example())])
    }
}

/// An adaptation as a member.
fn member<M: AdaptMethod>(settings: M) -> MemberSpec {
    MemberSpec { adapt: AdaptSpec::new(settings), lr: None }
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
