//! Sequence classification on a causal model against plain tensor operations, in every way in which a pass can be run; and that it
//! learns.

use std::sync::Arc;

use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::layout::{Extent, Layout};
use reft_core::rng::Seed;
use reft_core::testing::{Tol, assert_close, golden_dir, normal};
use reft_experiments::train::activation_cache::CacheBudget;
use reft_experiments::train::activation_caches::ActivationCaches;
use reft_experiments::train::causal::Causal;
use reft_experiments::train::frozen::FrozenForward;
use reft_experiments::train::learner::{Learner, UpdateRules};
use reft_experiments::train::model_with_loss::ModelWithLoss;
use reft_experiments::train::objective::Objective;
use reft_experiments::train::objectives::sequence_classification::SequenceClassification;
use reft_experiments::train::outputs::Outputs;
use reft_experiments::train::sequences::Sequences;
use reft_models::attention::PastKeyValues;
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

const OBJECTIVE: SequenceClassification = SequenceClassification { classes: 3 };

fn model() -> Box<dyn Decoder> {
    let path = golden_dir().join("models/llama3");
    registry::load(&Weights::open(&path).expect("a model"), Kind::Float, Device::Cpu).expect("a model")
}

fn adaptation(model: &dyn Decoder) -> Box<dyn Adaptation> {
    let reft = json!({"intervention": "direft", "rank": 2, "positions": "l2", "layers": [1]});
    let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft })).expect("a specification");
    spec.build(model.dims(), Seed(5), Device::Cpu).expect("it fits")
}

/// Prompts of several lengths that end in one of these tokens, the class by its place.
fn rows(last: &[i64], count: i64, start: i64) -> Vec<Sequences> {
    let row = |number: i64| {
        let class = number % last.len() as i64;
        let mut ids: Vec<i64> =
            (0..2 + number % 5).map(|place| 30 + (place * 29 + (number + start) * 17) % 150).collect();
        ids.push(last[class as usize]);
        SequenceClassification::row(ids, class, format!("row {number}"))
    };
    (0..count).map(row).collect()
}

/// The last token's state `[R, D]` behind the final norm in f64, by a pass for each row and the norm written out.
fn states(model: &dyn Decoder, adaptation: &dyn Adaptation, rows: &[Sequences]) -> Tensor {
    let path = golden_dir().join("models/llama3");
    let config = std::fs::read_to_string(path.join("config.json")).expect("there");
    let eps = serde_json::from_str::<Value>(&config).expect("JSON")["rms_norm_eps"].as_f64().expect("a number");
    let tensors = Tensor::read_safetensors(path.join("model.safetensors")).expect("a checkpoint");
    let (_, gain) = tensors.iter().find(|(name, _)| name == "model.norm.weight").expect("a final norm");
    let step = adaptation.begin(Mode::Eval);
    let of_row = |row: &Sequences| {
        let ids = &row.adapted[0].ids;
        let layout = Layout::packed(&[Extent { len: ids.len() as i64, prompt: ids.len() as i64 }]);
        let hooks = step.hooks(&layout).expect("disjoint");
        let mut pass = Pass { layout: &layout, hooks: hooks.as_ref(), cache: PastKeyValues::None, wanted: None };
        let h = no_grad(|| model.hidden(&layout.place(&[ids], Device::Cpu), &mut pass));
        let last = h.get(ids.len() as i64 - 1).to_kind(Kind::Double);
        let scale = ((&last * &last).mean(Kind::Double) + eps).rsqrt();
        last * scale * gain.to_kind(Kind::Double)
    };
    Tensor::stack(&rows.iter().map(of_row).collect::<Vec<_>>(), 0)
}

/// How a pass is run: from the activation cache or not, in micro-batches of so many tokens, with states that are computed again.
const WAYS: [(bool, usize, usize); 4] = [(false, 1 << 20, 0), (true, 1 << 20, 0), (false, 1, 0), (true, 12, 1)];

#[test]
fn scores_loss_and_gradients_are_those_of_a_linear_map_of_the_last_tokens_state() {
    let (model, rows) = (model(), rows(&[10, 11, 12], 7, 0));
    let model = model.as_ref();
    let mut edited = adaptation(model);
    let moved = edited.params().flat().detach() + normal(&[edited.params().count()], 3) * 0.05;
    edited.params_mut().load(&moved);
    let (weight, h) = (normal(&[3, model.dims().width], 4) * 0.3, states(model, edited.as_ref(), &rows));
    let scores = h.matmul(&weight.to_kind(Kind::Double).tr());
    let classes = Tensor::from_slice(&rows.iter().map(|row| row.class.expect("a class")).collect::<Vec<_>>());
    let chosen = scores.log_softmax(-1, Kind::Double).gather(1, &classes.unsqueeze(1), false);
    let expected = -chosen.mean(Kind::Double).double_value(&[]);
    // d loss / d score = (p − y)ᵀ h / R.
    let errors = scores.softmax(-1, Kind::Double) - classes.one_hot(3).to_kind(Kind::Double);
    let slope = errors.tr().matmul(&h) / rows.len() as f64;
    let batch: Vec<&Sequences> = rows.iter().collect();
    for (cached, micro_tokens, recompute) in WAYS {
        let (budget, caches) = (CacheBudget { memory: 1 << 20, disk: 0 }, ActivationCaches::default());
        let frozen =
            if cached { FrozenForward::new(model, edited.as_ref(), 64, budget) } else { FrozenForward::off(model) };
        let objective: Arc<dyn Objective> = Arc::new(OBJECTIVE);
        let mut causal: Causal<'_, Sequences> = Causal::new(model, frozen, micro_tokens).minimising(&objective);
        (causal.recompute, causal.caches) = (recompute, cached.then_some(&caches));
        causal.prepare(edited.as_ref(), &rows, 0, 1).expect("nothing to read");
        causal.params_mut().expect("a head").load(&weight.flatten(0, -1));
        let got = causal.evaluate(edited.as_ref(), &batch, |outputs, _| OBJECTIVE.scores(outputs)).expect("disjoint");
        assert_close("scores", &Tensor::cat(&got, 0).to_kind(Kind::Double), &scores, Tol::F32.times(10.0));
        edited.params_mut().zero_grad();
        let learner = Learner::new(&mut causal, edited.as_mut(), UpdateRules::default());
        let (loss, _) = learner.gradients(&batch).expect("disjoint");
        assert!((loss - expected).abs() < 1e-5, "{cached} {micro_tokens} {recompute}: {loss}, not {expected}");
        let grad = causal.params().expect("a head").flat().grad().view([3, -1]).to_kind(Kind::Double);
        assert_close("gradient of the head", &grad, &slope, Tol::F32.times(10.0));
        assert!(edited.params().flat().grad().norm().double_value(&[]) > 1e-4, "edits have a gradient too");
    }
}

#[test]
fn a_separable_set_is_learned_with_the_adaptation_and_other_prompts_are_told_apart_better_than_by_guessing() {
    let model = model();
    let model = model.as_ref();
    let (learned, held_out) = (rows(&[10, 11, 12], 75, 0), rows(&[10, 11, 12], 75, 1000));
    let mut edited = adaptation(model);
    let objective: Arc<dyn Objective> = Arc::new(OBJECTIVE);
    let mut causal = Causal::new(model, FrozenForward::off(model), 4096).minimising(&objective).seeded(Seed(42));
    let batch: Vec<&Sequences> = learned.iter().collect();
    let fresh = [edited.params(), causal.params().expect("a head")].map(|set| set.flat().detach().copy());
    let mut learner = Learner::new(&mut causal, edited.as_mut(), UpdateRules::default());
    let losses: Vec<f64> = (0..80).map(|_| learner.update(&batch, 2e-2).expect("a finite loss").loss).collect();
    assert!((losses[0] - 3f64.ln()).abs() < 0.3 && losses[79] < 0.1, "{} to {}", losses[0], losses[79]);
    for (set, fresh) in [edited.params(), causal.params().expect("a head")].into_iter().zip(&fresh) {
        assert!((set.flat() - fresh).abs().max().double_value(&[]) > 1e-2, "both are trained");
    }
    let right = |rows: &[Sequences]| {
        let count = |outputs: &Outputs<'_>, rows: &[&Sequences]| {
            let taken =
                Vec::<i64>::try_from(OBJECTIVE.scores(outputs).argmax(-1, false)).expect("a class for each row");
            rows.iter().zip(taken).filter(|(row, taken)| row.class == Some(*taken)).count()
        };
        let counts = causal.evaluate(edited.as_ref(), &rows.iter().collect::<Vec<_>>(), count).expect("disjoint");
        counts.into_iter().sum::<usize>()
    };
    assert_eq!(right(&learned), 75);
    assert!(right(&held_out) >= 45, "{} of 75 other prompts, 25 by guessing", right(&held_out));
}

#[test]
fn a_single_class_is_refused() {
    assert!(SequenceClassification { classes: 1 }.check().expect_err("one class").contains("at least 2"));
    assert_eq!(OBJECTIVE.check(), Ok(()));
}
