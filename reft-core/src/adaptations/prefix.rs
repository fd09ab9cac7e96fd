//! Prefix-tuning (Li and Liang, arXiv 2101.00190): trained keys and values before every sequence, in every layer.
//!
//! `e` `[P, 2 L K E]` is seen as `[P, L, (key, value), K, E]`. Keys are used as they are, not rotated; the sequence's own
//! positions begin at `P`. With reparametrisation `e = W₂ tanh(W₁ z + b₁) + b₂`, where `z` `[P, K E]` is trained too.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::adapt_config::{AdaptConfig, AdaptMethod, SpecError};
use crate::adaptation::{Adaptation, EditedRows, Frontier, Mode, NamedTensor, OverlapError, Step};
use crate::adaptations::components::PlacementError;
use crate::decay::ParameterRole;
use crate::hooks::{Hooks, KeyValuePrefix};
use crate::intervention::{Constraint, Init, ParameterSpec};
use crate::layout::Layout;
use crate::lender::Lender;
use crate::params::{Leaves, ParamSet, Stack};
use crate::rng::Seed;
use crate::site::{Dims, LayerId, Site};

/// Trained keys and values before every sequence, in every layer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrefixSpec {
    /// `P`, virtual tokens.
    pub tokens: i64,
    /// Width of the middle of the reparametrisation; none to train keys and values themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reparametrisation: Option<i64>,
}

impl PrefixSpec {
    fn declare(&self, dims: &Dims) -> Result<Vec<ParameterSpec>, SpecError> {
        let fault = |key, given: i64| PlacementError::Number { key, given: given.to_string(), allowed: "1 or more" };
        if self.tokens < 1 {
            return Err(fault("tokens", self.tokens).into());
        }
        let declare = |name, shape: &[i64], init, role| ParameterSpec {
            name,
            shape: shape.to_vec(),
            init,
            constraint: Constraint::Free,
            role,
        };
        let token = dims.kv_heads * dims.head_width;
        let width = 2 * dims.layers as i64 * token;
        let normal = Init::Normal { sd: 1.0 };
        match self.reparametrisation {
            None => Ok(vec![declare("embedding", &[self.tokens, width], normal, ParameterRole::Matrix)]),
            Some(inner) if inner < 1 => Err(fault("reparametrisation", inner).into()),
            Some(inner) => {
                let [first, second] = [token, inner].map(|fan| Init::Linear { fan });
                Ok(vec![
                    declare("embedding", &[self.tokens, token], normal, ParameterRole::Matrix),
                    declare("transform.0.weight", &[inner, token], first, ParameterRole::Matrix),
                    declare("transform.0.bias", &[inner], first, ParameterRole::Bias),
                    declare("transform.2.weight", &[width, inner], second, ParameterRole::Matrix),
                    declare("transform.2.bias", &[width], second, ParameterRole::Bias),
                ])
            }
        }
    }
}

impl AdaptConfig for PrefixSpec {
    fn build(&self, dims: &Dims, _: &dyn Lender, seed: Seed, device: Device) -> Result<Box<dyn Adaptation>, SpecError> {
        let stacks = self.declare(dims)?.into_iter().map(|declared| Stack { declared, sites: 1 }).collect();
        let params = ParamSet::new(stacks, &mut seed.stream("init", 0), device);
        Ok(Box::new(PrefixTuning { params, tokens: self.tokens, dims: *dims }))
    }

    fn trainable(&self, dims: &Dims, _: &dyn Lender) -> Result<i64, SpecError> {
        Ok(self.declare(dims)?.iter().map(|declared| declared.shape.iter().product::<i64>()).sum())
    }

    fn virtual_tokens(&self) -> usize {
        usize::try_from(self.tokens).unwrap_or(0)
    }

    fn title(&self) -> String {
        Self::TITLE.to_owned()
    }
}

impl AdaptMethod for PrefixSpec {
    const KEY: &'static str = "prefix";
    const TITLE: &'static str = "Prefix-tuning";
    const PARAMETERS: &'static str = "tokens * 2 * layers * key/value width";
    const STARTS_AS_BASE: bool = false;

    fn example() -> Self {
        Self { tokens: 3, reparametrisation: None }
    }
}

/// Trained keys and values.
#[derive(Debug)]
pub struct PrefixTuning {
    params: ParamSet,
    tokens: i64,
    dims: Dims,
}

impl Adaptation for PrefixTuning {
    fn params(&self) -> &ParamSet {
        &self.params
    }

    fn params_mut(&mut self) -> &mut ParamSet {
        &mut self.params
    }

    fn named(&self) -> Vec<NamedTensor> {
        let names = self.params.stacks().iter().map(|stack| stack.declared.name.to_owned());
        let views = self.params.views().into_iter().map(|view| view.squeeze_dim(0));
        names.zip(views).map(|(name, tensor)| NamedTensor { name, tensor }).collect()
    }

    fn begin(&self, mode: Mode) -> Box<dyn Step + '_> {
        let leaves = self.params.leaves(mode);
        let parts: Vec<Tensor> = leaves.tensors().iter().map(|leaf| leaf.squeeze_dim(0)).collect();
        Box::new(PrefixStep { adaptation: self, leaves, parts })
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

struct PrefixStep<'a> {
    adaptation: &'a PrefixTuning,
    leaves: Leaves,
    parts: Vec<Tensor>,
}

impl PrefixStep<'_> {
    /// Keys and values of all layers, `[P, L, 2, K, E]`.
    fn prefix(&self) -> Tensor {
        let Dims { layers, kv_heads, head_width, .. } = self.adaptation.dims;
        let embeddings = match self.parts.as_slice() {
            [embedding, first, first_bias, second, second_bias] => {
                embedding.linear(first, Some(first_bias)).tanh().linear(second, Some(second_bias))
            }
            parts => parts[0].shallow_clone(),
        };
        embeddings.view([self.adaptation.tokens, layers as i64, 2, kv_heads, head_width])
    }
}

impl Step for PrefixStep<'_> {
    fn hooks<'s>(&'s self, _: &Layout) -> Result<Box<dyn Hooks + 's>, OverlapError> {
        Ok(Box::new(PrefixHooks(self.prefix())))
    }

    fn edits(&self, _: &Layout) -> Vec<EditedRows> {
        Vec::new()
    }

    fn virtual_tokens(&self) -> usize {
        self.adaptation.tokens as usize
    }

    fn backprop(self: Box<Self>) {
        self.leaves.backprop();
    }
}

/// Keys and values of all layers, `[P, L, 2, K, E]`.
struct PrefixHooks(Tensor);

impl Hooks for PrefixHooks {
    fn visit(&self, _: Site, _: &Tensor, y: Tensor) -> Tensor {
        y
    }

    fn wants(&self, _: Site) -> bool {
        false
    }

    fn prefix(&self, layer: LayerId) -> Option<KeyValuePrefix> {
        let of_layer = self.0.select(1, layer.0 as i64);
        Some(KeyValuePrefix { keys: of_layer.select(1, 0), values: of_layer.select(1, 1) })
    }
}
