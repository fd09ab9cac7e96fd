//! The classification head of eq. 5, `W_o tanh(W_d h_1 + b_d) + b_o` before the softmax, trained beside an adaptation and
//! not counted with it.

use reft_core::adaptation::NamedTensor;
use reft_core::decay::ParameterRole;
use reft_core::intervention::{Constraint, Init, ParameterSpec};
use reft_core::params::{ParamSet, Stack};
use reft_core::rng::Seed;
use reft_models::encoder::DropoutRates;
use tch::{Device, Tensor};

/// Standard deviation of fresh weights, as in the reference.
const SD: f32 = 0.02;

/// The tensors' names, as checkpoints of RoBERTa have them.
const NAMES: [&str; 4] = ["dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias"];

/// A trainable head: `W_d` `[D, D]`, `b_d` `[D]`, `W_o` `[C, D]`, `b_o` `[C]`.
#[derive(Debug)]
pub struct ClassificationHead {
    params: ParamSet,
}

impl ClassificationHead {
    /// A fresh head for states of width `width` and this many outputs: one a class, or one for a score.
    pub fn new(width: i64, outputs: i64, seed: Seed, device: Device) -> Self {
        let stack = |name, shape: &[i64], init| Stack {
            declared: ParameterSpec {
                name,
                shape: shape.to_vec(),
                init,
                constraint: Constraint::Free,
                role: if shape.len() == 1 { ParameterRole::Bias } else { ParameterRole::Matrix },
            },
            sites: 1,
        };
        let (weight, bias) = (Init::Normal { sd: SD }, Init::Constant(0.0));
        let stacks = vec![
            stack(NAMES[0], &[width, width], weight),
            stack(NAMES[1], &[width], bias),
            stack(NAMES[2], &[outputs, width], weight),
            stack(NAMES[3], &[outputs], bias),
        ];
        Self { params: ParamSet::new(stacks, &mut seed.stream("head", 0), device) }
    }

    /// Its parameters.
    pub fn params(&self) -> &ParamSet {
        &self.params
    }

    /// Its parameters, to be moved.
    pub fn params_mut(&mut self) -> &mut ParamSet {
        &mut self.params
    }

    /// Every tensor by its name. Each is a view: writing to it changes the parameters.
    pub fn named(&self) -> Vec<NamedTensor> {
        let views = self.params.views().into_iter().map(|view| view.squeeze_dim(0));
        NAMES.iter().zip(views).map(|(name, tensor)| NamedTensor { name: (*name).to_owned(), tensor }).collect()
    }

    /// Scores of the classes `[B, C]`, f32, from each sequence's first token `[B, D]`.
    pub fn forward(&self, first: &Tensor, dropout: DropoutRates) -> Tensor {
        let dropped = |x: Tensor, p: f64| if p > 0.0 { x.dropout(p, true) } else { x };
        let parts = self.named();
        let first = dropped(first.to_kind(self.params.flat().kind()), dropout.head_input);
        let inner = first.linear(&parts[0].tensor, Some(&parts[1].tensor)).tanh();
        dropped(inner, dropout.head_inner).linear(&parts[2].tensor, Some(&parts[3].tensor))
    }
}
