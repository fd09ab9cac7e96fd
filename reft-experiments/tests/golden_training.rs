//! Training trajectories against torch's AdamW on the reference library's interventions, step by step.

#[path = "support/golden.rs"]
mod golden;

use std::collections::BTreeMap;

use golden::examples;
use reft_core::AdaptSpec;
use reft_core::adaptation::Adaptation;
use reft_core::decay::Decay;
use reft_core::rng::Seed;
use reft_core::testing::{Tol, assert_close, golden_dir, golden_json, golden_tensors, load_golden};
use reft_experiments::data::encode::Example;
use reft_experiments::train::activation_cache::CacheBudget;
use reft_experiments::train::activation_caches::ActivationCaches;
use reft_experiments::train::causal::Causal;
use reft_experiments::train::frozen::FrozenForward;
use reft_experiments::train::learner::{HeadGradients, Learner, UpdateRules};
use reft_experiments::train::schedule::{Schedule, SchedulerType};
use reft_models::model::Decoder;
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// Absolute tolerances of the golden's README.
const LOSS: f64 = 1e-4;
const FINAL: f64 = 1e-3;

/// As the golden's index says: `torch.optim.AdamW` on everything in one group.
const RULES: UpdateRules =
    UpdateRules { weight_decay: 0.01, decay: Decay::All, clip: 1.0, head_gradients: HeadGradients::Zeroed, peak: 1e-3 };

fn check(case: &Value) {
    let golden = golden_tensors(&format!("training/{}", case["file"].as_str().expect("a name")));
    let folder = golden_dir().join("models").join(case["model"].as_str().expect("a name"));
    let model = registry::load(&Weights::open(&folder).expect("a model"), Kind::Float, Device::Cpu).expect("a model");
    let tying = if case["tied"].as_bool() == Some(true) { "tied" } else { "untied" };
    let reft = json!({"intervention": case["method"], "rank": case["rank"], "layers": case["layers"],
        "positions": case["positions"], "tying": tying});
    let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft })).expect("a specification");
    let mut adaptation = spec.build(model.dims(), Seed(0), Device::Cpu).expect("it fits");
    load_golden(adaptation.as_ref(), &golden, "initial.");
    follow(case, &golden, model.as_ref(), adaptation.as_mut());
    if case["method"] == "LoReFT" {
        return; // The reference moves R by Householder reflections: `golden_loreft.rs` replays ours step by step.
    }
    let expected = spec.build(model.dims(), Seed(0), Device::Cpu).expect("it fits");
    load_golden(expected.as_ref(), &golden, "final.");
    for (got, expected) in adaptation.named().iter().zip(expected.named()) {
        assert_close(
            &format!("{} final {}", case["file"], got.name),
            &got.tensor,
            &expected.tensor,
            Tol::Absolute(FINAL),
        );
    }
}

/// Replays the trace; LoReFT exactly at its first step and within 5 % after.
fn follow(case: &Value, golden: &BTreeMap<String, Tensor>, model: &dyn Decoder, adaptation: &mut dyn Adaptation) {
    let trace = case["trace"].as_array().expect("a trace");
    let batches: Vec<Vec<Example>> = (0..2).map(|index| examples(golden, &format!("batch{index}"))).collect();
    let schedule = Schedule::new(SchedulerType::Linear, 1e-3, 2.0 / trace.len() as f64, trace.len() as u64);
    let mut frozen = FrozenForward::new(model, adaptation, 512, CacheBudget { memory: 1 << 15, disk: 1 << 15 });
    frozen.fill(&batches.iter().flatten().collect::<Vec<_>>(), 20, &ActivationCaches::default());
    // Passes of ten tokens: the accumulated gradient must be the whole batch's.
    let mut objective = Causal::new(model, frozen, 10);
    let mut learner = Learner::new(&mut objective, adaptation, RULES);
    for (step, expected) in trace.iter().enumerate() {
        let batch: Vec<&Example> = batches[step % 2].iter().collect();
        let lr = schedule.at(step as u64);
        let number = |key: &str| expected[key].as_f64().expect("a number");
        assert!((lr - number("lr")).abs() < 1e-12, "learning rate of step {step}");
        let update = learner.update(&batch, lr).expect("finite");
        let exact = case["method"] != "LoReFT" || step == 0;
        let tolerance = if exact { LOSS } else { 0.05 * number("loss") };
        let what = format!("{} step {step}: loss {} expected {}", case["file"], update.loss, expected["loss"]);
        assert!((update.loss - number("loss")).abs() < tolerance, "{what}");
        if case["method"] != "LoReFT" {
            let what = format!("{} step {step}: norm {} expected {}", case["file"], update.norm, expected["grad_norm"]);
            assert!((update.norm - number("grad_norm")).abs() < LOSS, "{what}");
        }
    }
}

#[test]
fn golden_training_trajectories() {
    let index = golden_json("training/index.json");
    let cases = index["cases"].as_array().expect("a list").iter().filter(|case| case["task"] == "lm");
    let cases: Vec<&Value> = cases.collect();
    assert!(!cases.is_empty(), "no language-model trajectories");
    cases.into_iter().for_each(check);
}
