//! Several adaptations of one model, trained together or one after the other.
//!
//! Their parameters lie in one flat leaf, so that there is one optimiser and one checkpoint; each member may have a learning
//! rate of its own. In stages, members of later stages do not act yet and those of earlier stages act but no longer move.
//! A stage has the updates and the schedule of a whole run, and begins with fresh moments.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::adaptation::{Adaptation, EditedRows, Frontier, Mode, NamedTensor, OverlapError, Step};
use crate::hooks::{Chain, Hooks};
use crate::layout::Layout;
use crate::params::ParamSet;

/// Trained together.
pub(crate) fn jointly(members: Vec<Member>) -> Box<dyn Adaptation> {
    Box::new(CombinedAdaptations::new(members, TrainingOrder::Together))
}

/// One of several, built.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its tensors are called `NAME....` in files.
    pub name: String,
    pub adaptation: Box<dyn Adaptation>,
    /// Its own peak learning rate.
    pub lr: Option<f64>,
}

impl Member {
    /// One whose tensors are called `NAME....` in files.
    pub(crate) fn named(name: &str, adaptation: Box<dyn Adaptation>) -> Self {
        Self { name: name.to_owned(), adaptation, lr: None }
    }
}

/// How members are trained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TrainingOrder {
    Together,
    Stages,
}

/// Several adaptations on one flat leaf.
#[derive(Debug)]
pub(crate) struct CombinedAdaptations {
    members: Vec<Member>,
    order: TrainingOrder,
    /// The member that is trained, where there are stages: those before it act too. The last one unless training is under way.
    stage: usize,
    params: ParamSet,
}

impl CombinedAdaptations {
    pub fn new(mut members: Vec<Member>, order: TrainingOrder) -> Self {
        let sets: Vec<(&ParamSet, Option<f64>)> =
            members.iter().map(|member| (member.adaptation.params(), member.lr)).collect();
        let params = ParamSet::joined(&sets);
        let flat = params.flat().shallow_clone();
        let stage = members.len() - 1;
        bind(&mut members, &flat);
        Self { members, order, stage, params }
    }

    /// The members that act now.
    fn acting(&self) -> &[Member] {
        match self.order {
            TrainingOrder::Together => &self.members,
            TrainingOrder::Stages => &self.members[..=self.stage],
        }
    }

    fn prefixed(member: &Member, named: Vec<NamedTensor>) -> impl Iterator<Item = NamedTensor> {
        named
            .into_iter()
            .map(|NamedTensor { name, tensor }| NamedTensor { name: format!("{}.{name}", member.name), tensor })
    }
}

/// Makes the members' parameters parts of a leaf, one after the other.
fn bind(members: &mut [Member], flat: &Tensor) {
    let mut start = 0;
    for member in members {
        let count = member.adaptation.params().count();
        member.adaptation.bind(&flat.narrow(0, start, count));
        start += count;
    }
}

impl Adaptation for CombinedAdaptations {
    fn params(&self) -> &ParamSet {
        &self.params
    }

    fn params_mut(&mut self) -> &mut ParamSet {
        &mut self.params
    }

    fn bind(&mut self, flat: &Tensor) {
        self.params.bind(flat);
        bind(&mut self.members, flat);
    }

    fn named(&self) -> Vec<NamedTensor> {
        self.members.iter().flat_map(|member| Self::prefixed(member, member.adaptation.named())).collect()
    }

    fn fixed(&self) -> Vec<NamedTensor> {
        self.members.iter().flat_map(|member| Self::prefixed(member, member.adaptation.fixed())).collect()
    }

    fn begin(&self, mode: Mode) -> Box<dyn Step + '_> {
        let mut steps = Vec::new();
        for (index, member) in self.acting().iter().enumerate() {
            let moves = self.order == TrainingOrder::Together || index == self.stage;
            steps.push(member.adaptation.begin(if moves { mode } else { Mode::Eval }));
        }
        Box::new(CombinedStep(steps))
    }

    fn edits(&self, layout: &Layout) -> Vec<EditedRows> {
        self.acting().iter().flat_map(|member| member.adaptation.edits(layout)).collect()
    }

    fn frontier(&self) -> Frontier {
        let frontiers: Vec<Frontier> = self.members.iter().map(|member| member.adaptation.frontier()).collect();
        let Some(blocks) = frontiers.iter().map(|frontier| frontier.blocks).min() else { return Frontier::NONE };
        let visits_last = frontiers.iter().any(|frontier| frontier.blocks == blocks && frontier.visits_last);
        Frontier { blocks, visits_last }
    }

    fn first_edited(&self, prompt: i64) -> Option<i64> {
        self.members.iter().filter_map(|member| member.adaptation.first_edited(prompt)).min()
    }

    fn stages(&self) -> usize {
        match self.order {
            TrainingOrder::Together => 1,
            TrainingOrder::Stages => self.members.len(),
        }
    }

    fn enter(&mut self, stage: usize) {
        if self.order == TrainingOrder::Stages {
            self.stage = stage;
            let counts = self.members.iter().map(|member| member.adaptation.params().count());
            let start: i64 = counts.clone().take(stage).sum();
            self.params.only(start, counts.skip(stage).take(1).sum());
        }
    }

    fn is_last_stage(&self) -> bool {
        self.stage + 1 == self.members.len()
    }
}

struct CombinedStep<'a>(Vec<Box<dyn Step + 'a>>);

impl Step for CombinedStep<'_> {
    fn hooks<'s>(&'s self, layout: &Layout) -> Result<Box<dyn Hooks + 's>, OverlapError> {
        let hooks: Vec<Box<dyn Hooks + 's>> = self.0.iter().map(|step| step.hooks(layout)).collect::<Result<_, _>>()?;
        Ok(Box::new(Chain(hooks)))
    }

    fn edits(&self, layout: &Layout) -> Vec<EditedRows> {
        self.0.iter().flat_map(|step| step.edits(layout)).collect()
    }

    fn weights(&self) -> Option<&BTreeMap<String, Tensor>> {
        self.0.iter().find_map(|step| step.weights())
    }

    fn virtual_tokens(&self) -> usize {
        self.0.iter().map(|step| step.virtual_tokens()).sum()
    }

    fn backprop(self: Box<Self>) {
        self.0.into_iter().for_each(Step::backprop);
    }
}
