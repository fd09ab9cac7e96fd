//! References that train the model's own weights: full finetuning, and `BitFit` (Ben Zaken et al., arXiv 2106.10199),
//! which trains the biases alone.
//!
//! A model lends its tensors by name; those that are trained become one flat f32 leaf, and a pass runs on views of it. So
//! norm, optimiser, checkpoint and counting are those of interventions.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor, no_grad};

use crate::adapt_config::{AdaptConfig, AdaptMethod, SpecError};
use crate::adaptation::{Adaptation, EditedRows, Frontier, Mode, NamedTensor, OverlapError, Step};
use crate::decay::ParameterRole;
use crate::hooks::{Hooks, NoHooks};
use crate::intervention::{Constraint, Init, ParameterSpec};
use crate::layout::Layout;
use crate::lender::Lender;
use crate::params::{ParamSet, Stack};
use crate::rng::Seed;
use crate::site::Dims;

/// Every weight of the model: finetuning as a reference.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Full {}

/// The model's biases: `BitFit` as a reference.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BitFit {}

macro_rules! own_weights {
    ($settings:ty, $key:literal, $title:literal, $parameters:literal, $trains:expr) => {
        impl AdaptConfig for $settings {
            /// A copy of the weights that are lent, to be trained.
            fn build(
                &self,
                _: &Dims,
                lender: &dyn Lender,
                _: Seed,
                device: Device,
            ) -> Result<Box<dyn Adaptation>, SpecError> {
                let lent = lender.tensors().map_err(SpecError::Unreadable)?;
                Ok(Box::new(OwnWeights::new($key, &lent, $trains, device)?))
            }

            /// Only the model itself knows.
            fn trainable(&self, _: &Dims, lender: &dyn Lender) -> Result<i64, SpecError> {
                let lent = lender.tensors().map_err(SpecError::Unreadable)?;
                let trained = lent.iter().filter(|lent| $trains(&lent.name));
                match trained.map(|lent| lent.tensor.numel() as i64).sum() {
                    0 => Err(SpecError::OwnWeights($key)),
                    count => Ok(count),
                }
            }

            fn own_weights(&self) -> bool {
                true
            }

            fn trains_own(&self, name: &str) -> bool {
                $trains(name)
            }

            fn title(&self) -> String {
                <Self as AdaptMethod>::TITLE.to_owned()
            }
        }

        impl AdaptMethod for $settings {
            const KEY: &'static str = $key;
            const TITLE: &'static str = $title;
            const PARAMETERS: &'static str = $parameters;
            const STARTS_AS_BASE: bool = true;

            fn example() -> Self {
                Self {}
            }
        }
    };
}

own_weights!(Full, "full", "Full finetuning", "all parameters of the model", |_| true);
own_weights!(BitFit, "bitfit", "BitFit", "all biases of the model", is_bias);

/// Whether a tensor is a bias, by the names of checkpoints new and old.
fn is_bias(name: &str) -> bool {
    name.ends_with(".bias") || name.ends_with(".beta")
}

/// What a tensor of a checkpoint is to weight decay: a vector that is no bias is the weight of a norm.
fn role(name: &str, shape: &[i64]) -> ParameterRole {
    match shape.len() {
        _ if is_bias(name) => ParameterRole::Bias,
        0 | 1 => ParameterRole::Gain,
        _ => ParameterRole::Matrix,
    }
}

/// Some of a model's weights, trained; the others as they were lent.
#[derive(Debug)]
pub struct OwnWeights {
    params: ParamSet,
    /// Name and shape of what is trained, in the order of the flat leaf.
    trained: Vec<(String, Vec<i64>)>,
    fixed: BTreeMap<String, Tensor>,
}

impl OwnWeights {
    fn new(
        method: &'static str,
        lent: &[NamedTensor],
        trains: impl Fn(&str) -> bool,
        device: Device,
    ) -> Result<Self, SpecError> {
        let (trained, fixed): (Vec<_>, Vec<_>) = lent.iter().partition(|lent| trains(&lent.name));
        if trained.is_empty() {
            return Err(SpecError::OwnWeights(method));
        }
        let stack = |lent: &&NamedTensor| {
            let (shape, init) = (lent.tensor.size(), Init::Constant(0.0));
            let role = role(&lent.name, &shape);
            Stack { declared: ParameterSpec { name: "own", shape, init, constraint: Constraint::Free, role }, sites: 1 }
        };
        let stacks = trained.iter().map(stack).collect();
        let mut params = ParamSet::new(stacks, &mut Seed(0).stream("init", 0), device);
        let values: Vec<Tensor> = trained.iter().map(|lent| lent.tensor.flatten(0, -1)).collect();
        params.load(&Tensor::cat(&values, 0));
        let trained = trained.into_iter().map(|lent| (lent.name.clone(), lent.tensor.size())).collect();
        let fixed = fixed.into_iter().map(|lent| (lent.name.clone(), lent.tensor.to_device(device))).collect();
        Ok(Self { params, trained, fixed })
    }

    /// What is trained, as views of the flat leaf.
    fn views(&self) -> impl Iterator<Item = (&String, Tensor)> {
        let named = self.trained.iter().zip(self.params.views());
        named.map(|((name, shape), view)| (name, view.view(shape.as_slice())))
    }
}

impl Adaptation for OwnWeights {
    fn params(&self) -> &ParamSet {
        &self.params
    }

    fn params_mut(&mut self) -> &mut ParamSet {
        &mut self.params
    }

    fn named(&self) -> Vec<NamedTensor> {
        self.views().map(|(name, tensor)| NamedTensor { name: name.clone(), tensor }).collect()
    }

    fn begin(&self, mode: Mode) -> Box<dyn Step + '_> {
        let views = || self.views().map(|(name, tensor)| (name.clone(), tensor)).collect();
        let trained: Vec<(String, Tensor)> = match mode {
            Mode::Train => views(),
            Mode::Eval => no_grad(views),
        };
        let fixed = self.fixed.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        Box::new(OwnWeightsStep(trained.into_iter().chain(fixed).collect()))
    }

    fn edits(&self, _: &Layout) -> Vec<EditedRows> {
        Vec::new()
    }

    fn frontier(&self) -> Frontier {
        Frontier::NONE
    }

    fn first_edited(&self, _: i64) -> Option<i64> {
        Some(0)
    }
}

struct OwnWeightsStep(BTreeMap<String, Tensor>);

impl Step for OwnWeightsStep {
    fn hooks<'s>(&'s self, _: &Layout) -> Result<Box<dyn Hooks + 's>, OverlapError> {
        Ok(Box::new(NoHooks))
    }

    fn edits(&self, _: &Layout) -> Vec<EditedRows> {
        Vec::new()
    }

    fn weights(&self) -> Option<&BTreeMap<String, Tensor>> {
        Some(&self.0)
    }

    /// Passes ran on views of the flat leaf: its gradient is there already.
    fn backprop(self: Box<Self>) {}
}
