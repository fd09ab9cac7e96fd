//! Gradient checkpointing: states between groups of blocks are kept, everything inside a group is computed again in the
//! backward pass. A pass then needs the memory of one group, for one more forward pass of time.

use reft_core::hooks::Hooks;
use reft_models::model::Decoder;
use tch::{Device, Kind, Tensor, no_grad};

use super::frozen::SplitPass;

/// Loss of a pass, given the last block's output `[N, D]`, right in the rows `wanted`; its gradient is left in the hooks'
/// parameters. `every` blocks form a group.
pub fn gradients(
    split: &SplitPass,
    model: &dyn Decoder,
    hooks: &dyn Hooks,
    wanted: &Tensor,
    loss: &dyn Fn(&Tensor) -> Tensor,
    every: usize,
) -> Tensor {
    let range = split.range(model);
    let starts: Vec<usize> = range.clone().step_by(every).collect();
    // Dropout must draw the same masks again: every group has a seed of its own.
    let seed = Tensor::randint(i64::MAX, [1], (Kind::Int64, Device::Cpu)).int64_value(&[0]);
    let enter = || {
        tch::manual_seed(seed);
        split.enter(hooks)
    };
    let group = |index: usize, h: &Tensor| {
        tch::manual_seed(seed.wrapping_add(1 + index as i64));
        let blocks = starts[index]..(starts[index] + every).min(range.end);
        split.blocks(model, h.shallow_clone(), blocks, hooks, wanted)
    };
    let last = starts.len().saturating_sub(1);
    let states = no_grad(|| {
        let mut states = vec![enter()];
        (0..last).for_each(|index| states.push(group(index, &states[index])));
        states
    });
    let leaf = |state: &Tensor| state.detach().set_requires_grad(true);
    let input = leaf(&states[last]);
    let end = if starts.is_empty() { input.shallow_clone() } else { group(last, &input) };
    let loss = loss(&end);
    loss.backward();
    let mut grad = input.grad();
    for index in (0..last).rev() {
        let input = leaf(&states[index]);
        backward(&group(index, &input), &grad);
        grad = input.grad();
    }
    backward(&enter(), &grad);
    loss.detach()
}

/// Carries the gradient of `y` back.
fn backward(y: &Tensor, grad: &Tensor) {
    if y.requires_grad() {
        (y * grad).sum(Kind::Float).backward();
    }
}
