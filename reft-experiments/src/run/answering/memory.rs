//! How much memory a run of a causal model takes.

use reft_core::site::Dims;

use crate::config::plan::{Dtype, RunPlan};
use crate::run::memory::{FIXED, MemoryEstimate};

/// Bytes a run needs, by what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CausalMemory {
    /// The frozen weights, in the arrangements that products need.
    pub weights: usize,
    /// What a training pass keeps for its backward pass.
    pub training: usize,
    /// Keys and values while scoring.
    pub scoring: usize,
    /// The activation cache: what training cannot change.
    pub frozen: usize,
    /// Trainable parameters with gradient, moments and last good values; and the model's weights in f32 and as passes see them,
    /// where they are trained.
    pub trained: usize,
    /// Whether the weights are f32, and could be narrower.
    pub wide: bool,
}

/// Bytes of a value of type f32.
const F32: usize = 4;

/// What lets a run fit.
const REMEDY: &str =
    "set train.recompute_blocks, lower train.micro_batch_tokens, eval.batch_size or train.frozen_memory_mib";

/// The same of weights that could be narrower.
const REMEDY_F32: &str = "use dtype bf16, set train.recompute_blocks, lower train.micro_batch_tokens, eval.batch_size or \
                          train.frozen_memory_mib";

impl CausalMemory {
    /// Of a plan on a model of these sizes, whose weights take `weights` bytes. `longest` is the longest row in tokens, `graph` the
    /// blocks that gradients pass through, `frozen` the bytes kept between updates.
    pub fn new(plan: &RunPlan, dims: &Dims, weights: usize, longest: usize, graph: usize, frozen: usize) -> Self {
        let bytes = plan.dtype.kind().elt_size_in_bytes();
        let (q, kv) = (dims.heads * dims.head_width, dims.kv_heads * dims.head_width);
        // Kept for each token and block: both inputs of a norm, q/k/v, attention's output, gate and up.
        let kept = (3 * dims.width + 2 * q + 2 * kv + 2 * dims.mlp_width) as usize * bytes;
        // With recomputation, the state between groups for all of them and everything inside one of them.
        let group = plan.train.recompute_blocks;
        let between = dims.width as usize * bytes;
        let kept = if group == 0 { graph * kept } else { graph.div_ceil(group) * between + group.min(graph) * kept };
        let tokens = plan.train.micro_batch_tokens.min(plan.train.batch_size.saturating_mul(longest)).max(longest);
        let rows = plan.eval.batch_size.saturating_mul(longest + plan.eval.max_new_tokens);
        Self {
            weights,
            training: if plan.adapt.is_some() { tokens.saturating_mul(kept) } else { 0 },
            scoring: if plan.data.eval.is_empty() {
                0
            } else {
                rows.saturating_mul(dims.layers * 2 * kv as usize * bytes)
            },
            frozen,
            trained: 0,
            wide: plan.dtype == Dtype::F32,
        }
    }

    /// The same with the logits of a training pass, of which no row has more than `asked`: in the model's type and in f32, their
    /// log-softmax, and the gradients of each.
    #[must_use]
    pub fn with_logits(self, plan: &RunPlan, vocab: i64, asked: usize) -> Self {
        let each = 2 * plan.dtype.kind().elt_size_in_bytes() + 3 * F32;
        let rows = plan.train.batch_size.saturating_mul(asked).min(plan.train.micro_batch_tokens).max(asked);
        let logits = rows.saturating_mul(vocab as usize * each);
        Self { training: self.training.saturating_add(logits), ..self }
    }

    /// The same with room for what is trained: `count` parameters, of a model of `parameters` where its own weights are.
    #[must_use]
    pub fn with_trainable(self, plan: &RunPlan, count: i64, parameters: i64) -> Self {
        let own = plan.adapt.as_ref().is_some_and(reft_core::AdaptSpec::own_weights);
        // Values, gradient, its parts before they are put together, two moments, the last good values; decay where there is any.
        let copies = if plan.train.weight_decay == 0.0 { 6 } else { 7 };
        let numbers = copies * F32 * count as usize;
        // What is lent in f32 and not trained, and the weights that passes see, fused in the model's type.
        let lent = (parameters - count).max(0) as usize * F32;
        let seen = 2 * parameters as usize * plan.dtype.kind().elt_size_in_bytes();
        Self { trained: if own { numbers + lent + seen } else { numbers }, ..self }
    }
}

impl MemoryEstimate for CausalMemory {
    /// Training and scoring do not happen at the same time; the activation cache stays for the run that follows.
    fn total(&self) -> usize {
        self.training.max(self.scoring).saturating_add(FIXED + self.weights + self.frozen + self.trained)
    }

    fn describe(&self) -> String {
        let mib = |bytes: usize| bytes >> 20;
        format!(
            "weights {}, trainable parameters {}, training {}, scoring {}, frozen cache {} MiB",
            mib(self.weights),
            mib(self.trained),
            mib(self.training),
            mib(self.scoring),
            mib(self.frozen)
        )
    }

    fn remedy(&self) -> &'static str {
        if self.wide { REMEDY_F32 } else { REMEDY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::memory::{AvailableMemory, MemoryLimit};

    fn llama7b() -> Dims {
        Dims {
            layers: 32,
            width: 4096,
            heads: 32,
            kv_heads: 32,
            head_width: 128,
            mlp_width: 11008,
            vocab: 32000,
            mlp: reft_core::site::Mlp::Gated,
        }
    }

    #[test]
    fn a_run_that_cannot_fit_is_refused_with_the_keys_to_change() {
        let plan = RunPlan { dtype: Dtype::Bf16, ..RunPlan::default() };
        let estimate = CausalMemory::new(&plan, &llama7b(), 2 * 6_738_415_616, 512, 32, 0);
        assert!(estimate.total() > 12 << 30, "{}", estimate.describe());
        let room = |bytes: usize, limit| Some(AvailableMemory { bytes, limit });
        let error = estimate.check(room(8 << 30, MemoryLimit::Cgroup)).expect_err("too large").to_string();
        assert!(error.contains("8192 MiB are available, by the memory limit of this container"), "{error}");
        assert!(error.contains("train.micro_batch_tokens") && !error.contains("bf16"), "{error}");
        let wide = CausalMemory { wide: true, ..estimate };
        assert!(wide.remedy().starts_with("use dtype bf16, "));
        assert_eq!(estimate.check(room(1 << 40, MemoryLimit::Machine)), Ok(()));
    }

    #[test]
    fn logits_of_a_pass_count_and_no_more_of_them_than_a_micro_batch_has() {
        let mut plan = RunPlan { dtype: Dtype::Bf16, ..RunPlan::default() };
        (plan.train.batch_size, plan.train.micro_batch_tokens) = (32, 1024);
        let estimate = CausalMemory::new(&plan, &llama7b(), 2 * 6_738_415_616, 512, 32, 0);
        let added = |asked| estimate.with_logits(&plan, 32_000, asked).training - estimate.training;
        assert_eq!([8, 512, 2048].map(added), [256, 1024, 2048].map(|rows| rows * 32_000 * 16));
    }

    #[test]
    fn frozen_tensors_are_used_in_training_and_in_scoring() {
        for (training, scoring) in [(5 << 30, 1 << 30), (1 << 30, 5 << 30)] {
            let estimate = CausalMemory { weights: 0, training, scoring, frozen: 2 << 30, trained: 0, wide: false };
            assert_eq!(estimate.total(), FIXED + (7 << 30));
        }
    }
}
