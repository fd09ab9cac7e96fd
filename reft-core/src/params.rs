//! All trainable numbers of an adaptation as one flat f32 leaf: one gradient norm, one optimiser update, one checkpoint tensor.

use rand::distr::Uniform;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tch::{Device, Kind, Tensor, no_grad};

use crate::decay::Decay;
use crate::intervention::{Constraint, Init, ParameterSpec};
use crate::orthonormal::orthonormalise;

/// Whether dropout is on and gradients are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Training: gradients flow to the parameters, dropout is on.
    Train,
    /// Everything else.
    Eval,
}

/// One declared tensor of `sites` sites, stacked on axis 0.
#[derive(Clone, Debug)]
pub struct Stack {
    /// What each site declares.
    pub declared: ParameterSpec,
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

    /// Initial values `[S, ..]`, drawn on the host so that they do not depend on the device. `previous` are those of the stack before.
    fn initial(&self, rng: &mut ChaCha8Rng, previous: Option<&Tensor>) -> Tensor {
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
            Init::Previous => return previous.expect("no tensor is declared before it").reshape(self.shape()),
        };
        let values = Tensor::from_slice(&values).reshape(self.shape());
        match self.declared.init {
            Init::Orthonormal => orthonormalise(&values),
            Init::Linear { .. } | Init::Unit | Init::Normal { .. } | Init::Constant(_) | Init::Previous => values,
        }
    }
}

/// Numbers with one learning rate, one group after the other in the flat leaf.
#[derive(Clone, Copy, PartialEq, Debug)]
struct ParamGroup {
    count: i64,
    /// A peak learning rate of its own.
    lr: Option<f64>,
}

/// The parameters of an adaptation.
#[derive(Debug)]
pub struct ParamSet {
    flat: Tensor,
    stacks: Vec<Stack>,
    groups: Vec<ParamGroup>,
    /// First number that moves, and how many do; none for all.
    moving: Option<(i64, i64)>,
}

impl ParamSet {
    /// Fresh parameters, drawn in the order of the stacks.
    pub fn new(stacks: Vec<Stack>, rng: &mut ChaCha8Rng, device: Device) -> Self {
        let mut values: Vec<Tensor> = Vec::with_capacity(stacks.len());
        for stack in &stacks {
            values.push(stack.initial(rng, values.last()).flatten(0, -1));
        }
        let flat = joined(&values).to_device(device).set_requires_grad(true);
        let count = stacks.iter().map(Stack::numel).sum();
        Self { flat, stacks, groups: vec![ParamGroup { count, lr: None }], moving: None }
    }

    /// The parameters of several sets in one leaf, with the peak learning rates that they have of their own.
    pub fn joined(sets: &[(&Self, Option<f64>)]) -> Self {
        let values: Vec<Tensor> = sets.iter().map(|(set, _)| set.flat.detach()).collect();
        let flat = joined(&values).set_requires_grad(true);
        let stacks = sets.iter().flat_map(|(set, _)| set.stacks.iter().cloned()).collect();
        let groups = sets.iter().flat_map(|(set, lr)| {
            set.groups.iter().map(|group| ParamGroup { count: group.count, lr: group.lr.or(*lr) })
        });
        Self { flat, stacks, groups: groups.collect(), moving: None }
    }

    /// Makes the set a part of another leaf, of which `flat` `[count]` is a view.
    pub fn bind(&mut self, flat: &Tensor) {
        self.flat = flat.shallow_clone();
    }

    /// From now on only these numbers move.
    pub fn only(&mut self, first: i64, count: i64) {
        self.moving = Some((first, count));
    }

    /// The learning rate of each number as a multiple of the run's, whose peak is `peak`, `[count]`; none where all are 1.
    pub fn rates(&self, peak: f64) -> Option<Tensor> {
        let own = self.groups.iter().any(|group| group.lr.is_some());
        if !own && self.moving.is_none() {
            return None;
        }
        let like = (Kind::Float, self.flat.device());
        let of_group = |group: &ParamGroup| Tensor::full([group.count], group.lr.map_or(1.0, |lr| lr / peak), like);
        let rates = joined(&self.groups.iter().map(of_group).collect::<Vec<_>>());
        Some(match self.moving {
            None => rates,
            Some((first, count)) => {
                let moved = rates.narrow(0, first, count);
                rates.zeros_like().slice_scatter(&moved, 0, first, first + count, 1)
            }
        })
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

    /// The stacks as the passes until the next update read them.
    pub fn leaves(&self, mode: Mode) -> Leaves {
        match mode {
            Mode::Eval => Leaves { derived: Vec::new(), leaves: no_grad(|| self.materialise()) },
            Mode::Train => {
                let derived = self.materialise();
                let leaves = derived.iter().map(|tensor| tensor.detach().set_requires_grad(true)).collect();
                Leaves { derived, leaves }
            }
        }
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

/// What passes between two updates read of a [`ParamSet`]: detached from the flat leaf, so that what leads from there (an
/// orthonormalisation) is differentiated once, however many passes there were.
#[derive(Debug)]
pub struct Leaves {
    derived: Vec<Tensor>,
    leaves: Vec<Tensor>,
}

impl Leaves {
    /// One tensor `[S, ..]` for each stack.
    pub fn tensors(&self) -> &[Tensor] {
        &self.leaves
    }

    /// Carries the gradients of all passes back to the flat leaf.
    pub fn backprop(self) {
        let pairs = self.derived.iter().zip(&self.leaves).filter(|(_, leaf)| leaf.grad().defined());
        let products: Vec<Tensor> = pairs.map(|(derived, leaf)| (derived * leaf.grad()).sum(Kind::Float)).collect();
        if !products.is_empty() {
            Tensor::stack(&products, 0).sum(Kind::Float).backward();
        }
    }
}

/// Vectors one after the other; no numbers from none.
fn joined(parts: &[Tensor]) -> Tensor {
    if parts.is_empty() { Tensor::zeros([0], (Kind::Float, Device::Cpu)) } else { Tensor::cat(parts, 0) }
}
