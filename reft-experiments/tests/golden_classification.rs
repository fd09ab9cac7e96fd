//! Training of interventions and a classification head together, against the reference library's trajectory, step by step.

#[path = "support/golden.rs"]
mod golden;

use std::collections::BTreeMap;

use golden::{labelled, load_head};
use reft_core::AdaptSpec;
use reft_core::adaptation::Adaptation;
use reft_core::decay::Decay;
use reft_core::rng::Seed;
use reft_core::testing::{Tol, assert_close, golden_dir, golden_json, golden_tensors, load_golden};
use reft_experiments::data::labelled::Labelled;
use reft_experiments::train::classification::Classification;
use reft_experiments::train::head::ClassificationHead;
use reft_experiments::train::learner::{HeadGradients, Learner, UpdateRules};
use reft_experiments::train::schedule::{Schedule, SchedulerType};
use reft_models::encoder::Encoder;
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
    let encoder =
        Encoder::load(&Weights::open(&folder).expect("a model"), Kind::Float, Device::Cpu).expect("an encoder");
    let tying = if case["tied"].as_bool() == Some(true) { "tied" } else { "untied" };
    let reft = json!({"intervention": case["method"], "rank": case["rank"], "layers": case["layers"],
        "positions": case["positions"], "tying": tying});
    let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft })).expect("a specification");
    let build = |prefix: &str| {
        let adaptation = spec.build(encoder.dims(), Seed(0), Device::Cpu).expect("it fits");
        load_golden(adaptation.as_ref(), &golden, prefix);
        let outputs = golden["initial.classifier.out_proj.bias"].size()[0];
        let head = ClassificationHead::new(encoder.dims().width, outputs, Seed(0), Device::Cpu);
        load_head(&head, &golden, prefix);
        (adaptation, head)
    };
    let (mut adaptation, head) = build("initial.");
    // Passes of ten tokens: the accumulated gradient must be the whole batch's. The reference ran without dropout.
    let mut objective = Classification {
        encoder: &encoder,
        head,
        model_dropout: false,
        label_kind: Kind::Float,
        micro_tokens: 10,
        watch: None,
    };
    follow(case, &golden, &mut objective, adaptation.as_mut());
    let (expected, expected_head) = build("final.");
    let pairs = adaptation.named().into_iter().zip(expected.named());
    for (got, expected) in pairs.chain(objective.head.named().into_iter().zip(expected_head.named())) {
        let what = format!("{} final {}", case["file"], got.name);
        assert_close(&what, &got.tensor, &expected.tensor, Tol::Absolute(FINAL));
    }
}

fn follow(
    case: &Value,
    golden: &BTreeMap<String, Tensor>,
    objective: &mut Classification<'_>,
    adaptation: &mut dyn Adaptation,
) {
    let trace = case["trace"].as_array().expect("a trace");
    let batches: Vec<Vec<Labelled>> = (0..2).map(|index| labelled(golden, &format!("batch{index}"))).collect();
    let schedule = Schedule::new(SchedulerType::Linear, 1e-3, 2.0 / trace.len() as f64, trace.len() as u64);
    let mut learner = Learner::new(objective, adaptation, RULES);
    for (step, expected) in trace.iter().enumerate() {
        let batch: Vec<&Labelled> = batches[step % 2].iter().collect();
        let lr = schedule.at(step as u64);
        let number = |key: &str| expected[key].as_f64().expect("a number");
        assert!((lr - number("lr")).abs() < 1e-12, "learning rate of step {step}");
        let update = learner.update(&batch, lr).expect("finite");
        for (got, key) in [(update.loss, "loss"), (update.norm, "grad_norm")] {
            let what = format!("{} step {step}: {key} {got}, expected {}", case["file"], expected[key]);
            assert!((got - number(key)).abs() < LOSS, "{what}");
        }
    }
}

#[test]
fn golden_classification_trajectories() {
    let index = golden_json("training/index.json");
    let cases = index["cases"].as_array().expect("a list").iter().filter(|case| case["task"] == "classification");
    let cases: Vec<&Value> = cases.collect();
    assert!(!cases.is_empty(), "no classification trajectories");
    cases.into_iter().for_each(check);
}
