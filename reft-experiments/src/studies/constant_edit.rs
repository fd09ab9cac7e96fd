//! One edit that says everything: rank-1 ConsReFT, `h + Rᵀ(b − R h)`, of the last prompt token at one layer.

use anyhow::Result;
use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::rng::Seed;
use reft_models::decode::{Decoding, Generator, Stopping};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::data::encode::Example;
use crate::run::session::LoadedDecoder;
use crate::train::batches;
use crate::train::causal::Causal;
use crate::train::frozen::FrozenForward;
use crate::train::kept::CacheBudget;
use crate::train::learner::{Learner, UpdateRules};
use crate::train::schedule::Schedule;
use crate::train::shelf::ActivationCaches;

/// Bytes that what training cannot change may take.
const BUDGET: CacheBudget = CacheBudget { memory: 1 << 30, disk: 0 };
/// Tokens of one pass.
const MICRO_TOKENS: usize = 4096;

/// How the edit is trained.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConstantEditTraining {
    /// Times over the rows.
    pub epochs: u64,
    /// Rows of an update.
    #[serde(default = "one")]
    pub batch_size: usize,
    /// Learning rate, which decays linearly to 0.
    pub lr: f64,
}

fn one() -> usize {
    1
}

/// Trains the edit of one layer on these rows; the loss of the last update.
///
/// # Errors
/// When the layer does not exist, or the loss is not finite.
pub fn train(
    loaded: &LoadedDecoder,
    layer: i64,
    examples: &[Example],
    training: ConstantEditTraining,
    seed: Seed,
) -> Result<(Box<dyn Adaptation>, f64)> {
    let model = loaded.decoder.as_ref();
    let reft = json!({"intervention": "consreft", "rank": 1, "positions": "l1", "layers": [layer]});
    let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft }))?;
    let mut adaptation = spec.build(model.dims(), seed, model.options().1)?;
    let lengths: Vec<usize> = examples.iter().map(|example| example.ids.len()).collect();
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut frozen = FrozenForward::new(model, adaptation.as_ref(), longest, BUDGET);
    frozen.fill(examples, MICRO_TOKENS, &ActivationCaches::default());
    let mut objective = Causal::new(model, frozen, MICRO_TOKENS);
    let mut learner = Learner::new(&mut objective, adaptation.as_mut(), UpdateRules::default());
    let updates = training.epochs * examples.len().div_ceil(training.batch_size) as u64;
    let schedule = Schedule::linear(training.lr, 0.0, updates);
    let mut loss = f64::NAN;
    for epoch in 0..training.epochs {
        for batch in batches::of_epoch(&lengths, training.batch_size, seed, epoch) {
            let batch: Vec<&Example> = batch.into_iter().map(|index| &examples[index]).collect();
            let rate = schedule.at(learner.updates());
            loss = learner.update(&batch, rate)?.loss;
        }
    }
    Ok((adaptation, loss))
}

/// What the edited model says after each prompt, greedily, up to so many tokens; the end token is left out.
///
/// # Errors
/// When a prompt is empty.
pub fn said(
    loaded: &LoadedDecoder,
    adaptation: &dyn Adaptation,
    prompts: &[&[i64]],
    most: usize,
) -> Result<Vec<Vec<i64>>> {
    let ends = loaded.tokenizer.ends().to_vec();
    let decoding = Decoding::default();
    let step = adaptation.begin(Mode::Eval);
    let generator = Generator {
        model: loaded.decoder.as_ref(),
        adaptation: Some(step.as_ref()),
        batch: 16,
        stop: Stopping { max_new: most, ends: ends.clone() },
        decoding: &decoding,
        seed: 0,
    };
    let answers = generator.run(prompts, &|_, _| false)?;
    let text = |ids: Vec<i64>| ids.into_iter().take_while(|id| !ends.contains(id)).collect();
    Ok(answers.into_iter().map(|answer| text(answer.ids)).collect())
}
