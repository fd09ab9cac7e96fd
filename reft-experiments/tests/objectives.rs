//! Objectives against independent formulas and finite differences, under every way in which a pass can be run, and by the
//! command line.

mod support;

use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Mode, Step};
use reft_core::hooks::{Hooks, NoHooks};
use reft_core::layout::{Extent, Layout};
use reft_core::rng::Seed;
use reft_core::testing::{golden_dir, normal};
use reft_core::value_reader;
use reft_experiments::data::encode::Example;
use reft_experiments::train::activation_cache::CacheBudget;
use reft_experiments::train::activation_caches::ActivationCaches;
use reft_experiments::train::causal::Causal;
use reft_experiments::train::frozen::FrozenForward;
use reft_experiments::train::learner::{Learner, UpdateRules};
use reft_experiments::train::model_with_loss::ModelWithLoss;
use reft_experiments::train::objectives::{ObjectiveSpec, registry};
use reft_experiments::train::sequences::Sequences;
use reft_models::attention::PastKeyValues;
use reft_models::model::{Decoder, Pass};
use reft_models::registry as models;
use reft_models::weights::Weights;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

fn model() -> Box<dyn Decoder> {
    let path = golden_dir().join("models/llama3");
    models::load(&Weights::open(&path).expect("a model"), Kind::Float, Device::Cpu).expect("a model")
}

/// An adaptation away from its initial values, so that its edits are not zero.
fn adapted(model: &dyn Decoder) -> Box<dyn Adaptation> {
    let reft = json!({"intervention": "direft", "rank": 2, "positions": "l2", "layers": [1]});
    let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft })).expect("a specification");
    let mut adaptation = spec.build(model.dims(), Seed(5), Device::Cpu).expect("it fits");
    let moved = adaptation.params().flat().detach() + normal(&[adaptation.params().count()], 3) * 0.05;
    adaptation.params_mut().load(&moved);
    adaptation
}

fn spec(settings: &Value) -> ObjectiveSpec {
    value_reader::read(settings).expect("an objective")
}

fn sequence(prompt: usize, answer: usize, start: i64, name: String) -> Example {
    let ids = (0..(prompt + answer) as i64).map(|position| 3 + (position * 29 + start * 17) % 200).collect();
    Example { ids, prompt, name, lost: 0 }
}

/// A right choice and one or two wrong ones after prompts of several lengths.
fn preferences() -> Vec<Sequences> {
    let row = |row: usize| {
        let prompt = 2 + 4 * row;
        let choice = |choice: usize| {
            let mut example =
                sequence(prompt, 1 + (row + choice) % 3, row as i64, format!("row {row} choice {choice}"));
            example.ids[prompt..].iter_mut().for_each(|id| *id += 5 * choice as i64);
            example
        };
        let adapted: Vec<Example> = (0..2 + row % 2).map(choice).collect();
        Sequences { base: adapted.clone(), adapted, name: format!("row {row}"), class: None }
    };
    (0..4).map(row).collect()
}

/// Answers after a prompt, and the same answers after a longer one.
fn with_context() -> Vec<Sequences> {
    let row = |row: usize| {
        let example = sequence(2 + 3 * row, 1 + row % 3, row as i64, format!("row {row}"));
        let context = [7, 11, 13, 5];
        let ids = context.iter().chain(&example.ids).copied().collect();
        let base = Example { ids, prompt: example.prompt + context.len(), ..example.clone() };
        Sequences { name: example.name.clone(), adapted: vec![example], base: vec![base], class: None }
    };
    (0..4).map(row).collect()
}

/// Log-probabilities `[labels, V]` of a sequence's output tokens in f64, by a pass of its own.
fn log_probabilities(model: &dyn Decoder, step: Option<&dyn Step>, example: &Example) -> Tensor {
    let layout = Layout::packed(&[Extent { len: example.ids.len() as i64, prompt: example.prompt as i64 }]);
    let hooks: Box<dyn Hooks + '_> =
        step.map_or_else(|| Box::new(NoHooks) as Box<dyn Hooks>, |step| step.hooks(&layout).expect("disjoint"));
    let mut pass = Pass { layout: &layout, hooks: hooks.as_ref(), cache: PastKeyValues::None, wanted: None };
    let ids = layout.place(&[&example.ids], Device::Cpu);
    let logits = no_grad(|| model.logits(&model.hidden(&ids, &mut pass)));
    let labels = (example.ids.len() - example.prompt) as i64;
    logits.narrow(0, example.prompt as i64 - 1, labels).to_kind(Kind::Double).log_softmax(-1, Kind::Double)
}

/// Log-likelihood of a sequence's output tokens.
fn log_likelihood(model: &dyn Decoder, step: Option<&dyn Step>, example: &Example) -> f64 {
    let next = Tensor::from_slice(&example.ids[example.prompt..]).unsqueeze(1);
    log_probabilities(model, step, example).gather(1, &next, false).sum(Kind::Double).double_value(&[])
}

/// The mean loss over rows of DPO by its formula.
fn dpo(model: &dyn Decoder, adaptation: &dyn Adaptation, rows: &[Sequences], [beta, smoothing]: [f64; 2]) -> f64 {
    let step = adaptation.begin(Mode::Eval);
    let ratio =
        |example: &Example| log_likelihood(model, Some(step.as_ref()), example) - log_likelihood(model, None, example);
    let softplus = |x: f64| x.exp().ln_1p();
    let of_row = |row: &Sequences| {
        let (right, wrong) = row.adapted.split_first().expect("a choice");
        let pair = |other: &Example| {
            let margin = beta * (ratio(right) - ratio(other));
            (1.0 - smoothing) * softplus(-margin) + smoothing * softplus(margin)
        };
        wrong.iter().map(pair).sum::<f64>() / wrong.len() as f64
    };
    rows.iter().map(of_row).sum::<f64>() / rows.len() as f64
}

/// The mean KL divergence of an output token from the base model with its context.
fn kl(model: &dyn Decoder, adaptation: &dyn Adaptation, rows: &[Sequences]) -> f64 {
    let step = adaptation.begin(Mode::Eval);
    let of_row = |row: &Sequences| {
        let student = log_probabilities(model, Some(step.as_ref()), &row.adapted[0]);
        let teacher = log_probabilities(model, None, &row.base[0]);
        ((&teacher - student) * teacher.exp()).sum(Kind::Double).double_value(&[])
    };
    let labels: usize = rows.iter().map(|row| row.adapted[0].labels()).sum();
    rows.iter().map(of_row).sum::<f64>() / labels as f64
}

/// How a pass is run.
#[derive(Clone, Copy, Debug)]
struct Way {
    cached: bool,
    micro_tokens: usize,
    recompute: usize,
}

const WAYS: [Way; 4] = [
    Way { cached: false, micro_tokens: 1 << 20, recompute: 0 },
    Way { cached: true, micro_tokens: 1 << 20, recompute: 0 },
    Way { cached: false, micro_tokens: 1, recompute: 0 },
    Way { cached: true, micro_tokens: 24, recompute: 1 },
];

/// Loss and gradient of all rows as one batch.
fn gradient(model: &dyn Decoder, objective: &ObjectiveSpec, rows: &[Sequences], way: Way) -> (f64, Tensor) {
    let mut adaptation = adapted(model);
    let (budget, caches) = (CacheBudget { memory: 1 << 20, disk: 0 }, ActivationCaches::default());
    let frozen =
        if way.cached { FrozenForward::new(model, adaptation.as_ref(), 64, budget) } else { FrozenForward::off(model) };
    let mut causal = Causal::new(model, frozen, way.micro_tokens).minimising(objective.objective());
    (causal.recompute, causal.caches) = (way.recompute, way.cached.then_some(&caches));
    causal.prepare(adaptation.as_ref(), rows, 0, 1).expect("nothing to read");
    let _draws = Seed(1).seed_libtorch("dropout", 0);
    let batch: Vec<&Sequences> = rows.iter().collect();
    let learner = Learner::new(&mut causal, adaptation.as_mut(), UpdateRules::default());
    let (loss, _) = learner.gradients(&batch).expect("disjoint positions");
    (loss, adaptation.params().flat().grad())
}

/// The loss by the formula, and its derivatives by central differences along the gradient and along a random direction, against
/// every way of a pass.
fn check(objective: &ObjectiveSpec, rows: &[Sequences], formula: &dyn Fn(&dyn Adaptation) -> f64) {
    let model = model();
    let mut adaptation = adapted(model.as_ref());
    let expected = formula(adaptation.as_ref());
    let values = adaptation.params().flat().detach().copy();
    let (_, downhill) = gradient(model.as_ref(), objective, rows, WAYS[0]);
    let random = normal(&[adaptation.params().count()], 9);
    let steepest = &downhill * (random.norm() / downhill.norm());
    let step = 1e-3;
    let mut slope = |direction: &Tensor| {
        let mut at = |side: f64| {
            adaptation.params_mut().load(&(&values + direction * side));
            formula(adaptation.as_ref())
        };
        (at(step) - at(-step)) / (2.0 * step)
    };
    let slopes = [steepest, random].map(|direction| (slope(&direction), direction));
    assert!(slopes[0].0 > 0.02, "the loss changes: {}", slopes[0].0);
    for way in WAYS {
        let (loss, grad) = gradient(model.as_ref(), objective, rows, way);
        assert!((loss - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{way:?}: loss {loss}, formula {expected}");
        for (slope, direction) in &slopes {
            let along = (&grad * direction).sum(Kind::Double).double_value(&[]);
            let close = (along - slope).abs() < 1e-2 * slope.abs() + 3e-4;
            assert!(close, "{way:?}: derivative {along}, differences {slope}");
        }
    }
}

#[test]
fn dpo_is_its_formula_and_its_gradient_the_slope() {
    let rows = preferences();
    for [beta, smoothing] in [[0.5, 0.0], [2.0, 0.2]] {
        let objective = spec(&json!({"dpo": {"beta": beta, "label_smoothing": smoothing}}));
        let model = model();
        check(&objective, &rows, &|adaptation| dpo(model.as_ref(), adaptation, &rows, [beta, smoothing]));
    }
}

#[test]
fn context_distillation_is_the_divergence_and_its_gradient_the_slope() {
    let (rows, model) = (with_context(), model());
    let objective = spec(&json!({"context_distillation": {"context": "of the test's own tokens"}}));
    check(&objective, &rows, &|adaptation| kl(model.as_ref(), adaptation, &rows));
}

#[test]
fn every_objective_of_the_table_is_read_as_it_is_written() {
    for entry in registry().entries() {
        let written = serde_json::to_value(&entry.example).expect("plain data");
        assert_eq!(spec(&written), entry.example, "{}", entry.key);
        assert_eq!(entry.example.objective().check(), Ok(()), "{}", entry.key);
    }
    assert!(spec(&json!("cross_entropy")).is_default() && spec(&json!({"cross_entropy": null})).is_default());
}
