//! An objective of one's own: cross-entropy with label smoothing, a part of every target spread over the whole vocabulary.
//! Registered once, it is read from configurations (`train.objective`), listed and used by `reft` like those that come with it.
//!
//! `cargo run --example own_objective [MODEL]`

use reft_experiments::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Reduction;

/// Cross-entropy whose targets are smoothed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Smoothed {
    /// Part of each target that is spread over all tokens.
    part: f64,
}

impl Objective for Smoothed {
    fn loss(&self, adapted: &Outputs<'_>, _: &Outputs<'_>) -> Tensor {
        adapted.logits().cross_entropy_loss::<Tensor>(&adapted.next, None, Reduction::Sum, -100, self.part)
    }
}

impl ObjectiveSettings for Smoothed {
    const KEY: &'static str = "smoothed";
    const TITLE: &'static str = "smoothed cross-entropy";

    fn example() -> Self {
        Self { part: 0.1 }
    }
}

/// Losses of some updates.
///
/// # Errors
/// When the model cannot be loaded.
pub fn run(model: &str) -> Result<Vec<f64>> {
    // A second registration of the key is refused.
    objectives::register::<Smoothed>()?;
    let loaded = LoadedDecoder::open(model, Dtype::F32, DeviceSpec(Device::Cpu))?;
    let spec = adapt(r#"{"reft": {"intervention": "loreft", "rank": 2, "positions": "l1"}}"#)?;
    let mut loreft = spec.build(loaded.decoder.dims(), Seed(42), Device::Cpu)?;
    let rows = examples(&loaded, &[("Say yes.", " yes"), ("Say no.", " no")])?;
    let objective: ObjectiveSpec = serde_json::from_str(r#"{"smoothed": {"part": 0.1}}"#)?;
    let decoder = loaded.decoder.as_ref();
    let mut causal = Causal::new(decoder, FrozenForward::off(decoder), 4096).minimising(objective.objective());
    let mut learner = Learner::new(&mut causal, loreft.as_mut(), UpdateRules::default());
    let mut losses = Vec::new();
    for _ in 0..10 {
        losses.push(learner.update(&rows.iter().collect::<Vec<_>>(), 1e-2)?.loss);
    }
    println!("losses: {losses:.4?}");
    Ok(losses)
}

fn main() -> Result<()> {
    run(&std::env::args().nth(1).unwrap_or("smollm2".to_owned())).map(|_| ())
}
