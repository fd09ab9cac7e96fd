//! Weight-based baselines and their combinations with ReFT against peft, adapters, LLM-Adapters' formulas and transformers:
//! logits, counts, fresh adapters and trajectories of every case that the golden directory lists.

#[path = "support/baselines.rs"]
mod baselines;
#[path = "support/golden.rs"]
mod golden;

use baselines::{Case, FINAL, LOSS, Model, RULES, interop_json};
use golden::{Tensors, examples};
use reft_core::AdaptSpec;
use reft_core::adaptation::Adaptation;
use reft_core::rng::Seed;
use reft_core::testing::{Tol, assert_close, golden_dir, golden_json};
use reft_experiments::data::encode::Example;
use reft_experiments::interop::{self, ImportedAdapter, householder};
use reft_experiments::train::causal::Causal;
use reft_experiments::train::frozen::FrozenForward;
use reft_experiments::train::learner::Learner;
use reft_experiments::train::trainer::{Trainer, TrainingArguments};
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// LoRA with an intervention, together or in stages.
struct Combination(Case);

impl Combination {
    fn is_loreft(&self) -> bool {
        self.0.json["formula"].as_str().expect("a formula").contains("R^T")
    }

    fn spec(&self) -> AdaptSpec {
        let config = &self.0.json["config"];
        let lora = interop_json(&self.0.folder().join("adapter/lora/adapter_config.json"));
        let targets = lora["target_modules"].as_array().expect("a list");
        let targets: Vec<&str> = targets.iter().map(|target| &target.as_str().expect("a name")[..1]).collect();
        let tying = if config["tied"] == true { "tied" } else { "untied" };
        let reft = json!({"intervention": if self.is_loreft() { "loreft" } else { "direft" }, "rank": config["rank"],
            "positions": config["positions"], "layers": config["reft_layers"], "tying": tying});
        let lora = json!({"rank": config["lora_r"], "alpha": config["lora_alpha"], "components": targets});
        let order = if self.is_staged() { "staged" } else { "joint" };
        let members = json!([{"adapt": {"lora": lora}}, {"adapt": {"reft": reft}}]);
        serde_json::from_value(json!({ order: members })).expect("a specification")
    }

    fn is_staged(&self) -> bool {
        self.0.json["training"]["stages"].as_array().expect("stages").len() > 1
    }

    /// Tensors of a state by our names; those of an intervention are `layerL.GROUP.NAME`.
    fn state(tensors: &Tensors, prefix: &str) -> Tensors {
        let ours = |(name, t): (&String, &Tensor)| {
            let name = if prefix.is_empty() { name } else { name.strip_prefix(&format!("{prefix}."))? };
            if let Some(rest) = name.strip_prefix("layer") {
                let parts: Vec<&str> = rest.split('.').collect();
                let tensor = match parts.get(2)? {
                    &"R" | &"W2" => "basis",
                    &"W" => "weight",
                    &"b" => "bias",
                    _ => return None,
                };
                return Some((format!("1.block_output.{}.{}.{tensor}", parts[0], parts[1]), t.shallow_clone()));
            }
            let (module, matrix) = name.strip_suffix(".weight")?.rsplit_once('.')?;
            let site = interop::names::site(module).ok()?;
            Some((format!("0.{site}.{matrix}"), t.shallow_clone()))
        };
        tensors.iter().filter_map(ours).collect()
    }

    fn foreign(&self, tensors: Tensors) -> ImportedAdapter {
        ImportedAdapter {
            spec: self.spec(),
            names: std::collections::BTreeMap::new(),
            expected: None,
            tensors,
            head: Tensors::new(),
            origin: interop::AdapterOrigin::default(),
        }
    }

    fn check(&self) {
        let case = &self.0;
        let tensors = case.tensors("tensors");
        let lora = case.tensors("adapter/lora/adapter_model");
        let mut all = Self::state(&tensors, "");
        all.extend(Self::state(&lora, ""));
        let both = case.put(&self.foreign(all));
        case.check_logits(both.as_ref(), &Tensors::new(), &tensors, "logits");
        Self::check_parametrisation(&tensors);
        if self.is_staged() {
            let mut first = case.put(&self.foreign(self.staged_end()));
            first.enter(0);
        }
        self.train();
    }

    /// `R` from what torch stores.
    fn check_parametrisation(tensors: &Tensors) {
        for (name, original) in tensors.iter().filter(|(name, _)| name.ends_with(".R_original")) {
            let (base, expected) =
                (&tensors[&name.replace("R_original", "R_base")], &tensors[&name.replace("R_original", "R")]);
            assert_close(name, &householder::basis(original, base), expected, Tol::Absolute(1e-5));
        }
    }

    fn staged_end(&self) -> Tensors {
        let training = self.0.tensors("training");
        let mut state = Self::state(&training, "initial");
        state.extend(Self::state(&training, "staged"));
        state
    }

    fn train(&self) {
        let case = &self.0;
        let Model::Decoder(model) = &case.model else { panic!("a decoder") };
        let training = case.tensors("training");
        let batches: Vec<Vec<Example>> = (0..2).map(|i| examples(&training, &format!("batch{i}"))).collect();
        let mut adaptation = case.put(&self.foreign(Self::state(&training, "initial")));
        let stages = case.json["training"]["stages"].as_array().expect("stages");
        let mut objective = Causal::new(model.as_ref(), FrozenForward::off(model.as_ref()), 20);
        let mut learner = Learner::new(&mut objective, adaptation.as_mut(), RULES);
        let mut began = 0;
        for (stage, about) in stages.iter().enumerate() {
            let trace = about["trace"].as_array().expect("a trace");
            learner.enter(stage, began);
            began += trace.len() as u64;
            let moves_reft = !self.is_staged() || stage == 1;
            let update = |step: usize, lr: f64| learner.update(&batches[step % 2].iter().collect::<Vec<_>>(), lr);
            if self.is_loreft() && moves_reft {
                // Torch moves Householder reflections, and not R: the rate and the loss before anything moved are the same.
                let got = { update }(0, 0.0).expect("finite");
                let loss = trace[0]["loss"].as_f64().expect("a number");
                assert!((got.loss - loss).abs() < LOSS, "{}: loss {}, not {loss}", case.name, got.loss);
            } else {
                case.follow(trace, update);
            }
            if self.is_staged() && stage == 0 {
                self.compare(learner.adaptation, &self.staged_end());
            }
        }
        if !self.is_loreft() {
            self.compare(adaptation.as_ref(), &Self::state(&training, "final"));
        }
    }

    fn compare(&self, got: &dyn Adaptation, expected: &Tensors) {
        for named in got.named() {
            let what = format!("{}: {}", self.0.name, named.name);
            assert_close(&what, &named.tensor, &expected[&named.name], Tol::Absolute(FINAL));
        }
    }
}

#[test]
fn golden_baselines() {
    let index = golden_json("baselines/cases.json");
    let mut cases = 0;
    for name in index.as_array().expect("a list").iter().filter_map(Value::as_str) {
        // `golden_trainers.rs` follows the trainers' own trajectories.
        if name.starts_with("hf-trainer") {
            continue;
        }
        eprintln!("{name}");
        let case = Case::read(name);
        if case.json["training"]["stages"].is_array() {
            Combination(case).check();
        } else {
            case.check();
        }
        cases += 1;
    }
    assert!(cases > 0, "no baselines");
}

#[test]
fn a_staged_run_that_is_interrupted_in_either_stage_ends_as_if_it_had_not_been() {
    let weights = Weights::open(&golden_dir().join("models/llama-tied")).expect("a model");
    let model = registry::load(&weights, Kind::Float, Device::Cpu).expect("a decoder");
    let spec: AdaptSpec = serde_json::from_value(json!({"staged": [
        {"adapt": {"lora": {"rank": 2, "alpha": 4, "dropout": 0.1}}},
        {"adapt": {"reft": {"intervention": "loreft", "rank": 2, "positions": "f1+l1"}}, "lr": 2e-3}]}))
    .expect("a specification");
    let example = |index: i64| {
        let ids = (0..6 + index % 3).map(|at| 3 + (at * 31 + index * 7) % 90).collect();
        Example { ids, prompt: 4, name: format!("row {index}"), lost: 0 }
    };
    let examples: Vec<Example> = (0..8).map(example).collect();
    let folder = tempfile::tempdir().expect("a folder");
    // Updates: 2 stages of 2 epochs of 4; stopped in the first stage, between the two, in the second.
    let run = |name: &str, stops: &[u64]| {
        let mut adaptation = None;
        for &stop in stops {
            let mut fresh = spec.build(model.dims(), Seed(1), Device::Cpu).expect("it fits");
            let mut objective = Causal::new(model.as_ref(), FrozenForward::off(model.as_ref()), 100);
            let plan = TrainingArguments {
                epochs: 2,
                lr: 1e-3,
                batch: 2,
                shape: reft_experiments::train::schedule::SchedulerType::Linear,
                warmup_ratio: 0.25,
                rules: RULES,
                checkpoint_every: 3,
                stops_early: false,
            };
            let mut trainer = Trainer {
                model: &mut objective,
                adaptation: fresh.as_mut(),
                plan,
                seed: Seed(1),
                examples: &examples,
                checkpoint: folder.path().join(name),
                group: None,
            };
            assert_eq!(trainer.total(), 16);
            trainer.fit(stop, true, &mut []).expect("trained");
            adaptation = Some(fresh);
        }
        adaptation.expect("trained").params().flat().detach().copy()
    };
    let whole = run("whole", &[16]);
    assert_close("interrupted", &run("parts", &[3, 8, 13, 16]), &whole, Tol::Exact);
}
