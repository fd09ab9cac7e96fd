//! All trainable numbers of an adaptation as one flat f32 leaf: one gradient norm, one optimiser update, one checkpoint tensor.

use rand::distr::Uniform;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tch::{Device, Kind, Tensor, no_grad};

use crate::decay::Decay;
use crate::intervention::{Constraint, Declared, Init};
use crate::orthonormal::orthonormalise;

/// One declared tensor of `sites` sites, stacked on axis 0.
#[derive(Clone, Debug)]
pub struct Stack {
    /// What each site declares.
    pub declared: Declared,
    /// `S`, how many sites.
    pub sites: i64,
}

impl Stack {
    fn numel(&self) -> i64 {
        self.sites * self.declared.shape.iter().product::<i64>()
    }

    fn shape(&self) -> Vec<i64> {
        std::iter::once(self.sites).chain(self.declared.shape.iter().copied()).collect()
    }

    fn is_orthonormal(&self) -> bool {
        match self.declared.constraint {
            Constraint::Free => false,
            Constraint::Orthonormal => true,
        }
    }

    /// Initial values `[S, ..]`, drawn on the host so that they do not depend on the device.
    fn initial(&self, rng: &mut ChaCha8Rng) -> Tensor {
        let count = self.numel() as usize;
        let mut uniform = |low: f32, high: f32| -> Vec<f32> {
            let range = Uniform::new(low, high).expect("low < high");
            range.sample_iter(&mut *rng).take(count).collect()
        };
        let values = match self.declared.init {
            Init::Linear { fan } => {
                let bound = 1.0 / (fan as f32).sqrt();
                uniform(-bound, bound)
            }
            Init::Unit => uniform(0.0, 1.0),
            Init::Orthonormal => StandardNormal.sample_iter(rng).take(count).collect(),
            Init::Normal { sd } => StandardNormal.sample_iter(rng).take(count).map(|value: f32| value * sd).collect(),
            Init::Constant(value) => vec![value; count],
        };
        let values = Tensor::from_slice(&values).reshape(self.shape());
        match self.declared.init {
            Init::Orthonormal => orthonormalise(&values),
            Init::Linear { .. } | Init::Unit | Init::Normal { .. } | Init::Constant(_) => values,
        }
    }
}

/// The parameters of an adaptation.
#[derive(Debug)]
pub struct ParamSet {
    flat: Tensor,
    stacks: Vec<Stack>,
}

impl ParamSet {
    /// Fresh parameters, drawn in the order of the stacks.
    pub fn new(stacks: Vec<Stack>, rng: &mut ChaCha8Rng, device: Device) -> Self {
        let values: Vec<Tensor> = stacks.iter().map(|stack| stack.initial(rng).flatten(0, -1)).collect();
        let flat = joined(&values).to_device(device).set_requires_grad(true);
        Self { flat, stacks }
    }

    /// The flat leaf `[count]`, f32.
    pub fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// Number of trainable numbers.
    pub fn count(&self) -> i64 {
        self.stacks.iter().map(Stack::numel).sum()
    }

    /// The stacks, in the order in which they lie in the flat leaf.
    pub fn stacks(&self) -> &[Stack] {
        &self.stacks
    }

    /// Views `[S, ..]` of every stack. Split once: a view per layer would each fill a full-size gradient of its own.
    pub fn views(&self) -> Vec<Tensor> {
        let sizes: Vec<i64> = self.stacks.iter().map(Stack::numel).collect();
        let pieces = self.flat.split_with_sizes(sizes, 0);
        self.stacks.iter().zip(pieces).map(|(stack, piece)| piece.view(stack.shape().as_slice())).collect()
    }

    /// The stacks with their constraints met, differentiable with respect to the flat leaf.
    pub fn materialise(&self) -> Vec<Tensor> {
        let meet = |(stack, view): (&Stack, Tensor)| if stack.is_orthonormal() { orthonormalise(&view) } else { view };
        self.stacks.iter().zip(self.views()).map(meet).collect()
    }

    /// Pulls constrained parameters back onto their constraint after the optimiser moved them.
    pub fn retract(&mut self) {
        no_grad(|| {
            for (stack, mut view) in self.stacks.iter().zip(self.views()) {
                if stack.is_orthonormal() {
                    let met = orthonormalise(&view);
                    view.copy_(&met);
                }
            }
        });
    }

    /// 1 where weight decay applies and 0 where it does not, `[count]`, f32.
    pub fn decay_mask(&self, decay: Decay) -> Tensor {
        let part = |stack: &Stack| {
            let value = if decay.applies(&stack.declared) { 1.0 } else { 0.0 };
            Tensor::full([stack.numel()], value, (Kind::Float, self.flat.device()))
        };
        joined(&self.stacks.iter().map(part).collect::<Vec<_>>()).to_device(self.flat.device())
    }

    /// Forgets the gradient.
    pub fn zero_grad(&mut self) {
        self.flat.zero_grad();
    }

    /// Overwrites all values. `values` `[count]`.
    pub fn load(&mut self, values: &Tensor) {
        no_grad(|| self.flat.copy_(values));
    }
}

/// Vectors one after the other; no numbers from none.
fn joined(parts: &[Tensor]) -> Tensor {
    if parts.is_empty() { Tensor::zeros([0], (Kind::Float, Device::Cpu)) } else { Tensor::cat(parts, 0) }
}
