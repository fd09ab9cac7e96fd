//! How much memory a run of an encoder takes. Nothing of an encoder is kept between updates, and its gradients may reach every
//! weight; so the terms are others than a causal model's.

use anyhow::Result;
use reft_core::AdaptSpec;
use reft_core::lender::NoLender;
use reft_core::rng::Seed;
use reft_models::encoder::EncoderConfig;

use crate::config::plan::RunPlan;
use crate::data::labelled::Labelled;
use crate::run::memory::{FIXED, MemoryEstimate};
use crate::run::session::LoadedEncoder;

/// Bytes of a trained number and of everything that is computed: f32.
const F32: usize = 4;

/// Bytes a run needs, by what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EncoderMemory {
    /// The weights as loaded, and the mapped file they come from.
    pub weights: usize,
    /// Trained numbers, their gradient, both of Adam's moments and the values of the last finite loss; and the model's weights
    /// once more as a pass sees them, where they are trained.
    trained: usize,
    /// What a forward and backward pass keeps.
    pass: usize,
    /// A checkpoint while it is put together.
    checkpoint: usize,
    /// A pass that scores.
    scoring: usize,
}

/// What lets a run fit.
const REMEDY: &str =
    "lower train.micro_batch_tokens, train interventions (adapt: reft) instead of the model's own weights";

/// What decides how much a run needs.
struct MemoryDemand<'a> {
    plan: &'a RunPlan,
    config: &'a EncoderConfig,
    /// Blocks that gradients pass through.
    graph: usize,
    /// Numbers trained, the head's among them.
    trained: usize,
    /// Whether they are the model's own weights.
    own_weights: bool,
    /// Tokens of each row to learn from, and to watch.
    lengths: [Vec<usize>; 2],
}

/// The memory that a run takes whose head has so many outputs.
///
/// # Errors
/// When what is trained does not fit the model.
pub fn estimate(plan: &RunPlan, loaded: &LoadedEncoder, outputs: i64, rows: [&[Labelled]; 2]) -> Result<EncoderMemory> {
    let config = loaded.encoder.config();
    let (graph, trained) = trained(plan, config)?;
    let width = config.dims.width;
    let head = width * width + width + outputs * width + outputs;
    let lengths = rows.map(|rows| rows.iter().map(|row| row.ids.len()).collect());
    let own_weights = plan.adapt.as_ref().is_some_and(AdaptSpec::own_weights);
    let trained = (trained + head) as usize;
    Ok(MemoryDemand { plan, config, graph, trained, own_weights, lengths }.estimate())
}

/// Blocks that gradients pass through, and numbers trained beside the head.
fn trained(plan: &RunPlan, config: &EncoderConfig) -> Result<(usize, i64)> {
    let layers = config.dims.layers;
    Ok(match &plan.adapt {
        None => (0, 0),
        Some(spec) if spec.own_weights() => {
            let trained = config.tensors().into_iter().filter(|(name, _)| spec.config().trains_own(name));
            let own: i64 = trained.map(|(_, shape)| shape.iter().product::<i64>()).sum();
            let beside = spec.config().members().into_iter().filter_map(|member| {
                if member.own_weights() { None } else { member.trainable(&config.dims, &NoLender).ok() }
            });
            (layers, own + beside.sum::<i64>())
        }
        // The model is needed to build these, and not to count.
        Some(spec) if spec.config().computes_with_weights() => (layers, spec.trainable(&config.dims)?),
        Some(spec) => {
            let adaptation = spec.build(&config.dims, Seed(plan.seed), plan.device.0)?;
            (layers - adaptation.frontier().blocks.min(layers), adaptation.params().count())
        }
    })
}

impl MemoryDemand<'_> {
    fn estimate(&self) -> EncoderMemory {
        let Self { plan, config, graph, trained, own_weights, lengths: [learned, watched] } = self;
        let all = config.parameters() as usize * F32;
        let loaded = config.parameters() as usize * plan.dtype.kind().elt_size_in_bytes();
        let trained = trained * F32;
        let decay = if plan.train.weight_decay == 0.0 { 0 } else { trained };
        let longest = learned.iter().chain(watched).copied().max().unwrap_or(0);
        let limit = plan.train.micro_batch_tokens;
        // The longest rows may meet in one batch.
        let mut sorted = learned.clone();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let batch: usize = sorted.iter().take(plan.train.batch_size).sum();
        let tokens = batch.min(limit).max(longest);
        let scored = watched.iter().sum::<usize>().min(limit).max(longest);
        let block = self.block(longest);
        // A pass sees its own copy of weights that are trained; the room it takes, which lent weights took before, is not
        // joined again. Gradients come in pieces first and are then put together.
        let (views, pieces) = if *own_weights { (all, 2 * trained) } else { (0, 0) };
        EncoderMemory {
            weights: 2 * loaded,
            trained: 5 * trained + decay + views + views.saturating_sub(trained),
            // One block more: its gradients.
            pass: pieces + tokens * (graph + 1) * block,
            // Values and both moments as bytes, which grow by doubling and leave holes of two thirds of their size; again as
            // a file; and one of them as numbers.
            checkpoint: (3 + 2 + 3 + 1) * trained,
            scoring: scored * block,
        }
    }

    /// Bytes that one block keeps of a token for its backward pass.
    fn block(&self, longest: usize) -> usize {
        let dims = self.config.dims;
        let (width, inner) = (dims.width as usize, dims.mlp_width as usize);
        // Input; q, k, v, as rows and as blocks of sequences; attention's output in three arrangements; two sums and two
        // normalised states; two inner states; what an intervention reads, computes and puts back.
        let plain = (1 + 6 + 3 + 4 + 4) * width + 2 * inner;
        let dropout = self.config.dropout;
        if !self.plan.train.model_dropout || (dropout.hidden == 0.0 && dropout.attention == 0.0) {
            return plain * F32;
        }
        // Dropped states with their masks; and attention is then composed of operations that keep its weights: scores,
        // softmax, mask and product.
        (plain + 4 * width + 4 * dims.heads as usize * longest) * F32
    }
}

impl MemoryEstimate for EncoderMemory {
    /// A pass, a checkpoint and scoring do not happen at the same time.
    fn total(&self) -> usize {
        FIXED + self.weights + self.trained + self.pass.max(self.checkpoint).max(self.scoring)
    }

    fn describe(&self) -> String {
        let mib = |bytes: usize| bytes >> 20;
        format!(
            "weights {}, trained numbers with gradient and moments {}, a training pass {}, a checkpoint {}, \
             scoring {} MiB",
            mib(self.weights),
            mib(self.trained),
            mib(self.pass),
            mib(self.checkpoint),
            mib(self.scoring)
        )
    }

    fn remedy(&self) -> &'static str {
        REMEDY
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use reft_models::encoder::EncoderFamily;
    use reft_models::raw_config::RawConfig;
    use serde_json::json;

    use super::*;
    use crate::config::plan::Dtype;
    use crate::machine::memory::{AvailableMemory, MemoryLimit};

    fn room(bytes: usize) -> AvailableMemory {
        AvailableMemory { bytes, limit: MemoryLimit::Machine }
    }

    /// RoBERTa-large on rows of 256 tokens.
    fn estimate_of(adapt: &serde_json::Value) -> EncoderMemory {
        let config = json!({"model_type": "roberta", "hidden_size": 1024, "intermediate_size": 4096,
            "num_hidden_layers": 24, "num_attention_heads": 16, "vocab_size": 50265, "max_position_embeddings": 514,
            "type_vocab_size": 1, "layer_norm_eps": 1e-5, "hidden_act": "gelu", "pad_token_id": 1});
        let raw = RawConfig::new(Path::new("config.json"), &config).expect("an object");
        let config = EncoderConfig::read(&raw, EncoderFamily::Roberta).expect("valid");
        let adapt: Option<AdaptSpec> = serde_json::from_value(adapt.clone()).expect("a specification");
        let own_weights = adapt.as_ref().is_some_and(AdaptSpec::own_weights);
        let plan = RunPlan { adapt, dtype: Dtype::Bf16, ..RunPlan::default() };
        let (graph, trained) = trained(&plan, &config).expect("it fits");
        let lengths = [vec![256; 1000], vec![256; 100]];
        let trained = trained as usize;
        MemoryDemand { plan: &plan, config: &config, graph, trained, own_weights, lengths }.estimate()
    }

    #[test]
    fn memory_depends_on_the_blocks_with_gradients_and_a_run_that_cannot_fit_is_refused() {
        let reft = |layers| json!({"reft": {"intervention": "loreft", "rank": 1, "positions": "f3", "layers": layers}});
        let [none, half, every] = [json!(null), reft(json!([11])), reft(json!("all"))].map(|adapt| estimate_of(&adapt));
        let [biases, full] = [json!({"bitfit": {}}), json!({"full": {}})].map(|adapt| estimate_of(&adapt));
        // Gradients reach the blocks above the first edit: 0, 12 and 23 of 24.
        assert!(none.pass * 10 < half.pass && half.pass * 3 < every.pass * 2, "{none:?} {half:?} {every:?}");
        assert!(every.total() < biases.total() && biases.total() < full.total(), "{biases:?} {full:?}");
        // Values, gradient, two moments, the last good values: 355 million numbers each.
        assert!(full.trained > 5 * 354 * 4 * 1_000_000, "{full:?}");
        let error = full.check(Some(room(8 << 30))).expect_err("too large").to_string();
        for part in ["8192 MiB are available", "train.micro_batch_tokens", "adapt: reft", "smaller model"] {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
        assert_eq!(error.lines().count(), 1);
        assert_eq!(full.check(Some(room(1 << 40))), Ok(()));
        assert_eq!(full.check(None), Ok(()));
    }
}
