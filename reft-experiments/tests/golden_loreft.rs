//! `LoReFT`'s trajectory step by step against a replay of its own in f64.
//!
//! The reference library moves `R` by Householder reflections, so that its trajectory is another one. The replay shares the
//! frozen model with the program and nothing else: eq. 2, the rows to edit, orthonormalisation (Gram-Schmidt, which is what
//! Cholesky-QR of the rows computes), clipping, AdamW and retraction are written out again, in f64.

#[path = "support/golden.rs"]
mod golden;

use std::collections::BTreeMap;

use golden::{Tensors, examples};
use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, EditedRows, OverlapError, Step};
use reft_core::decay::Decay;
use reft_core::hooks::Hooks;
use reft_core::layout::Layout;
use reft_core::positions::Positions;
use reft_core::rng::Seed;
use reft_core::site::{Component, LayerId, Site};
use reft_core::testing::{Tol, assert_close, golden_dir, golden_json, golden_tensors, load_golden};
use reft_experiments::data::encode::Example;
use reft_experiments::train::causal::Causal;
use reft_experiments::train::frozen::FrozenForward;
use reft_experiments::train::learner::{HeadGradients, Learner, UpdateRules};
use reft_experiments::train::objective::Objective;
use reft_experiments::train::schedule::{Schedule, SchedulerType};
use reft_models::model::Decoder;
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

/// Losses, gradient norms and final tensors.
const TOLERANCE: f64 = 1e-5;
const WEIGHT_DECAY: f64 = 0.01;
const CLIP: f64 = 1.0;

/// A parameter in f64 with Adam's moments.
struct Parameter {
    value: Tensor,
    first: Tensor,
    second: Tensor,
    decays: bool,
}

impl Parameter {
    fn new(value: &Tensor, decays: bool) -> Self {
        let value = value.detach().to_kind(Kind::Double).copy().set_requires_grad(true);
        Self { first: value.zeros_like().detach(), second: value.zeros_like().detach(), value, decays }
    }

    /// `torch.optim.AdamW`'s formulas; `t` counts from 1.
    fn update(&mut self, scale: f64, lr: f64, t: i32) {
        let grad = self.value.grad() * scale;
        let moved = no_grad(|| {
            self.first = &self.first * 0.9 + &grad * 0.1;
            self.second = &self.second * 0.999 + &grad * &grad * 0.001;
            let decayed = if self.decays { &self.value * (1.0 - lr * WEIGHT_DECAY) } else { self.value.copy() };
            let (first, second) = (&self.first / (1.0 - 0.9f64.powi(t)), &self.second / (1.0 - 0.999f64.powi(t)));
            decayed - first / (second.sqrt() + 1e-8) * lr
        });
        self.value = moved.detach().set_requires_grad(true);
    }
}

/// Orthonormal rows that span the rows of `a`, each against those before it.
fn gram_schmidt(a: &Tensor) -> Tensor {
    let mut rows: Vec<Tensor> = Vec::new();
    for index in 0..a.size()[0] {
        let against = |row: Tensor, done: &Tensor| &row - done * row.dot(done);
        let row = rows.iter().fold(a.get(index), against);
        rows.push(&row / row.dot(&row).sqrt());
    }
    Tensor::stack(&rows, 0)
}

/// One `Φ`: the raw basis, `W` and `b`.
struct Unit {
    layer: usize,
    group: String,
    raw: Parameter,
    weight: Parameter,
    bias: Parameter,
}

/// All interventions of a case, and where they act.
struct Replay {
    units: Vec<Unit>,
    positions: Positions,
}

impl Replay {
    fn new(golden: &Tensors, positions: Positions) -> Self {
        let unit = |name: &String| {
            let (layer, group) = name.strip_prefix("initial.layer")?.strip_suffix(".R")?.split_once('.')?;
            let tensor = |tensor: &str| &golden[&format!("initial.layer{layer}.{group}.{tensor}")];
            Some(Unit {
                layer: layer.parse().ok()?,
                group: group.to_owned(),
                raw: Parameter::new(tensor("R"), false),
                weight: Parameter::new(tensor("W"), true),
                bias: Parameter::new(tensor("b"), true),
            })
        };
        let units: Vec<Unit> = golden.keys().filter_map(unit).collect();
        assert!(!units.is_empty(), "no interventions");
        Self { units, positions }
    }

    fn parameters(&mut self) -> impl Iterator<Item = &mut Parameter> {
        self.units.iter_mut().flat_map(|unit| [&mut unit.raw, &mut unit.weight, &mut unit.bias])
    }

    /// Clips, moves, retracts; the gradient's norm before clipping.
    fn update(&mut self, lr: f64, t: i32) -> f64 {
        let squares = |parameter: &mut Parameter| parameter.value.grad().square().sum(Kind::Double).double_value(&[]);
        let norm = self.parameters().map(squares).sum::<f64>().sqrt();
        let scale = if norm > CLIP { CLIP / (norm + 1e-6) } else { 1.0 };
        self.parameters().for_each(|parameter| parameter.update(scale, lr, t));
        for unit in &mut self.units {
            let met = no_grad(|| gram_schmidt(&unit.raw.value));
            unit.raw.value = met.detach().set_requires_grad(true);
        }
        norm
    }

    /// The tokens of a prompt of `n` that a group edits (section 4.1).
    fn tokens(&self, group: &str, n: i64) -> Vec<i64> {
        let Positions::Ends { prefix, suffix } = self.positions else { panic!("positions with ends") };
        let (mut p, mut s) = (i64::from(prefix), i64::from(suffix));
        if n < p + s {
            (p, s) = (p.min(n / 2), s.min(n - n / 2));
        }
        match group {
            "prefix" => (0..p).collect(),
            "suffix" => (n - s..n).collect(),
            _ => (0..p).chain(n - s..n).collect(),
        }
    }
}

/// The replay's parameters in one pass.
struct ReplayStep<'a>(&'a Replay);

impl Step for ReplayStep<'_> {
    fn hooks<'s>(&'s self, layout: &Layout) -> Result<Box<dyn Hooks + 's>, OverlapError> {
        let edit = |unit: &'s Unit| {
            let of_span = |span: &reft_core::layout::Span| {
                let first = span.row - span.past;
                self.0.tokens(&unit.group, span.prompt).into_iter().map(move |token| first + token).collect::<Vec<_>>()
            };
            let rows: Vec<i64> = layout.spans().iter().flat_map(of_span).collect();
            (unit, Tensor::from_slice(&rows), gram_schmidt(&unit.raw.value))
        };
        Ok(Box::new(ReplayHooks(self.0.units.iter().map(edit).collect())))
    }

    fn edits(&self, _: &Layout) -> Vec<EditedRows> {
        Vec::new()
    }

    fn backprop(self: Box<Self>) {}
}

/// Eq. 2 in f64 at every edited site.
struct ReplayHooks<'a>(Vec<(&'a Unit, Tensor, Tensor)>);

impl ReplayHooks<'_> {
    fn at(&self, site: Site) -> impl Iterator<Item = &(&Unit, Tensor, Tensor)> {
        let there = move |unit: &Unit| site == Site { layer: LayerId(unit.layer), component: Component::BlockOutput };
        self.0.iter().filter(move |(unit, ..)| there(unit))
    }
}

impl Hooks for ReplayHooks<'_> {
    fn visit(&self, at: Site, _: &Tensor, y: Tensor) -> Tensor {
        self.at(at).fold(y, |y, (unit, rows, r)| {
            let h = y.index_select(0, rows).to_kind(Kind::Double);
            let difference = h.matmul(&unit.weight.value.tr()) + &unit.bias.value - h.matmul(&r.tr());
            let edited = &h + difference.matmul(r);
            y.index_copy(0, rows, &edited.to_kind(y.kind()))
        })
    }

    fn wants(&self, at: Site) -> bool {
        self.at(at).next().is_some()
    }
}

fn check(case: &Value) {
    let golden = golden_tensors(&format!("training/{}", case["file"].as_str().expect("a name")));
    let folder = golden_dir().join("models").join(case["model"].as_str().expect("a name"));
    let model = registry::load(&Weights::open(&folder).expect("a model"), Kind::Float, Device::Cpu).expect("a model");
    let tying = if case["tied"].as_bool() == Some(true) { "tied" } else { "untied" };
    let reft = json!({"intervention": "loreft", "rank": case["rank"], "layers": case["layers"],
        "positions": case["positions"], "tying": tying});
    let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft })).expect("a specification");
    let mut adaptation = spec.build(model.dims(), Seed(0), Device::Cpu).expect("it fits");
    load_golden(adaptation.as_ref(), &golden, "initial.");
    let positions = case["positions"].as_str().expect("a text").parse().expect("positions");
    let mut replay = Replay::new(&golden, positions);
    let trace = case["trace"].as_array().expect("a trace");
    follow(trace, &golden, model.as_ref(), adaptation.as_mut(), &mut replay);
    let expected: BTreeMap<String, Tensor> = replay
        .units
        .iter()
        .flat_map(|Unit { layer, group, raw, weight, bias }| {
            [("R", raw), ("W", weight), ("b", bias)]
                .map(|(name, parameter)| (format!("layer{layer}.{group}.{name}"), parameter.value.detach()))
        })
        .collect();
    let end = spec.build(model.dims(), Seed(0), Device::Cpu).expect("it fits");
    load_golden(end.as_ref(), &expected, "");
    for (got, expected) in adaptation.named().iter().zip(end.named()) {
        assert_close(&format!("final {}", got.name), &got.tensor, &expected.tensor, Tol::Absolute(TOLERANCE));
    }
    let start = spec.build(model.dims(), Seed(0), Device::Cpu).expect("it fits");
    load_golden(start.as_ref(), &golden, "initial.");
    let moved = (adaptation.params().flat() - start.params().flat()).abs().max().double_value(&[]);
    assert!(moved > 100.0 * TOLERANCE, "the trajectory leads somewhere: {moved}");
}

fn follow(
    trace: &[Value],
    golden: &Tensors,
    model: &dyn Decoder,
    adaptation: &mut dyn Adaptation,
    replay: &mut Replay,
) {
    let batches: Vec<Vec<Example>> = (0..2).map(|index| examples(golden, &format!("batch{index}"))).collect();
    let schedule = Schedule::new(SchedulerType::Linear, 1e-3, 2.0 / trace.len() as f64, trace.len() as u64);
    let rules = UpdateRules {
        weight_decay: WEIGHT_DECAY,
        decay: Decay::All,
        clip: CLIP,
        head_gradients: HeadGradients::Zeroed,
        peak: 1e-3,
    };
    // The program accumulates over several passes; the replay makes one of each batch.
    let mut objective = Causal::new(model, FrozenForward::off(model), 10);
    let whole = Causal::new(model, FrozenForward::off(model), 1 << 20);
    let mut learner = Learner::new(&mut objective, adaptation, rules);
    assert!(trace.len() >= 20, "a trajectory of {} steps", trace.len());
    for (step, t) in (0..trace.len()).zip(1..) {
        let batch: Vec<&Example> = batches[step % 2].iter().collect();
        let lr = schedule.at(step as u64);
        let update = learner.update(&batch, lr).expect("finite");
        let (loss, _) = whole.gradients(&ReplayStep(replay), &batch).expect("disjoint positions");
        let norm = replay.update(lr, t);
        for (key, got, expected) in [("loss", update.loss, loss), ("norm", update.norm, norm)] {
            assert!((got - expected).abs() < TOLERANCE, "step {step}: {key} {got}, replayed {expected}");
        }
    }
}

#[test]
fn golden_loreft_is_replayed_step_by_step() {
    let index = golden_json("training/index.json");
    let cases = index["cases"].as_array().expect("a list").iter();
    let cases: Vec<&Value> = cases.filter(|case| case["task"] == "lm" && case["method"] == "LoReFT").collect();
    assert!(!cases.is_empty(), "no trajectory of LoReFT");
    cases.into_iter().for_each(check);
}
