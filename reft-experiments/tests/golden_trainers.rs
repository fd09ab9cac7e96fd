//! What runs under pyreft's and Hugging Face's trainers: which parameters decay, and what becomes of the head's gradients.

#[path = "support/golden.rs"]
mod golden;

use golden::{Tensors, labelled, load_head};
use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, NamedTensor};
use reft_core::decay::Decay;
use reft_core::params::ParamSet;
use reft_core::rng::Seed;
use reft_core::testing::{golden_dir, golden_json, golden_tensors, load_golden};
use reft_experiments::data::labelled::Labelled;
use reft_experiments::train::classification::Classification;
use reft_experiments::train::head::ClassificationHead;
use reft_experiments::train::learner::{HeadGradients, Learner, Update, UpdateRules};
use reft_experiments::train::schedule::{Schedule, SchedulerType};
use reft_models::encoder::Encoder;
use reft_models::lending::LendingEncoder;
use reft_models::weights::Weights;
use serde_json::{Value, json};
use tch::{Device, Kind, no_grad};

/// Tolerance of gradient norms, by the golden's README; the others are in each case.
const NORM: f64 = 1e-4;

/// A trajectory with what is needed to follow it.
struct Case {
    name: String,
    json: Value,
    tensors: Tensors,
    weights: Weights,
    /// The base model's own tensors: where what the case does not store begins.
    base: Tensors,
}

impl Case {
    fn read(name: &str) -> Self {
        let json = golden_json(&format!("baselines/{name}/case.json"));
        let file = json["training"]["file"].as_str().expect("a file");
        let tensors = golden_tensors(&format!("baselines/{name}/{file}"));
        let base = format!("baselines/models/{}", json["base"].as_str().expect("a base"));
        let weights = Weights::open(&golden_dir().join(&base)).expect("a model");
        Self {
            name: name.to_owned(),
            tensors,
            weights,
            base: golden_tensors(&format!("{base}/model.safetensors")),
            json,
        }
    }

    fn number(&self, group: &str, key: &str) -> f64 {
        self.json[group][key].as_f64().unwrap_or_else(|| panic!("{}: {group}.{key}", self.name))
    }

    /// Whether interventions are trained; else all of the model is.
    fn intervenes(&self) -> bool {
        self.json["method"].as_str().expect("a method") != "FT"
    }

    /// The adaptation as the formula says it: a method at the first positions of every layer's output.
    fn spec(&self) -> AdaptSpec {
        if !self.intervenes() {
            return serde_json::from_value(json!({"full": {}})).expect("a specification");
        }
        let method = self.json["method"].as_str().and_then(|text| text.split(',').next()).expect("a method");
        let formula = self.json["formula"].as_str().expect("a formula");
        let (_, positions) = formula.split_once("at positions ").expect("positions");
        let positions: Vec<usize> = positions.split([',', ';']).map_while(|text| text.trim().parse().ok()).collect();
        assert_eq!(positions, (0..positions.len()).collect::<Vec<_>>(), "the first positions");
        let rank = self.tensors["initial.layer0.prefix.W"].size()[0];
        let reft = json!({"intervention": method, "rank": rank, "tying": "untied",
            "positions": format!("f{}", positions.len())});
        serde_json::from_value(json!({ "reft": reft })).expect("a specification")
    }

    /// The adaptation and the head with the tensors of this prefix; what is not stored is the base's.
    fn build(&self, encoder: &Encoder, prefix: &str) -> (Box<dyn Adaptation>, ClassificationHead) {
        let dims = encoder.dims();
        let outputs = self.base["classifier.out_proj.bias"].size()[0];
        let head = ClassificationHead::new(dims.width, outputs, Seed(0), Device::Cpu);
        let lender = LendingEncoder { model: encoder, weights: &self.weights };
        let adaptation = self.spec().build_on(dims, &lender, Seed(0), Device::Cpu).expect("it fits");
        match (self.intervenes(), prefix) {
            (true, _) => load_golden(adaptation.as_ref(), &self.tensors, prefix),
            (false, "initial.") => {
                load_head(&head, &self.base, "");
                return (adaptation, head);
            }
            (false, _) => {
                for named in adaptation.named() {
                    let stored = &self.tensors[&format!("{prefix}{}", full_name(&named.name))];
                    no_grad(|| named.tensor.shallow_clone().copy_(stored));
                }
            }
        }
        load_head(&head, &self.tensors, prefix);
        (adaptation, head)
    }

    fn rules(&self) -> UpdateRules {
        let kept = self.json["config"]["head_gradients"].as_str().is_some_and(|text| text.starts_with("never zeroed"));
        UpdateRules {
            weight_decay: self.number("config", "weight_decay"),
            decay: if self.intervenes() { Decay::Pyreft } else { Decay::Matrices },
            clip: self.number("config", "max_grad_norm"),
            head_gradients: if kept { HeadGradients::Kept } else { HeadGradients::Zeroed },
            peak: self.number("config", "lr"),
        }
    }

    /// The trainer's own groups: each tensor decays if and only if it is listed.
    fn check_groups(&self, adaptation: &dyn Adaptation, head: &ClassificationHead) {
        let listed = |group: &str, name: &str| {
            let names = self.json["config"][group].as_array().expect("a list");
            names.iter().filter_map(Value::as_str).any(|listed| listed.ends_with(name))
        };
        let decay = self.rules().decay;
        let head_names = head.named().into_iter().map(|named| format!("classifier.{}", named.name));
        let own_names = adaptation.named().into_iter().map(|named| full_name(&named.name));
        let own = own_names.zip(decaying(adaptation.params(), decay)).filter(|_| !self.intervenes());
        for (name, decays) in own.chain(head_names.zip(decaying(head.params(), decay))) {
            assert_ne!(listed("decayed", &name), listed("exempt", &name), "{name} is in one group");
            assert_eq!(decays, listed("decayed", &name), "{}: {name}", self.name);
        }
        let of_interventions = listed("decayed", "learned_source.weight") || listed("decayed", "proj_layer.weight");
        if self.intervenes() {
            assert_eq!(decaying(adaptation.params(), decay).contains(&true), of_interventions, "{}", self.name);
        }
    }

    /// Follows the trace by the trainer's rules, and shows that other rules lead elsewhere.
    fn check(&self) {
        let rules = self.rules();
        let (steps, end) = self.replay(rules);
        steps.iter().zip(self.json["training"]["trace"].as_array().expect("a trace")).for_each(|(step, expected)| {
            self.check_step(step, expected);
        });
        let tolerance = self.number("tolerance", "final");
        assert!(end <= tolerance, "{}: final tensors differ by {end}", self.name);
        let kept = rules.head_gradients == HeadGradients::Kept;
        let other = if kept { HeadGradients::Zeroed } else { HeadGradients::Kept };
        for wrong in [
            UpdateRules { decay: Decay::All, ..rules },
            UpdateRules { weight_decay: 0.0, ..rules },
            UpdateRules { head_gradients: other, ..rules },
        ] {
            let (_, end) = self.replay(wrong);
            assert!(end > tolerance, "{}: {wrong:?} would pass: {end}", self.name);
        }
    }

    /// What every update did under these rules, and by how much the final tensors then differ from the stored ones.
    fn replay(&self, rules: UpdateRules) -> (Vec<(f64, Update)>, f64) {
        let encoder = Encoder::load(&self.weights, Kind::Float, Device::Cpu).expect("an encoder");
        let (mut adaptation, head) = self.build(&encoder, "initial.");
        self.check_groups(adaptation.as_ref(), &head);
        let mut objective = Classification {
            encoder: &encoder,
            head,
            model_dropout: false,
            label_kind: Kind::Float,
            micro_tokens: 1 << 20,
            watch: None,
        };
        let steps = self.follow(rules, &mut objective, adaptation.as_mut());
        let (expected, expected_head) = self.build(&encoder, "final.");
        let left_out = &self.json["not_compared"]["names_ending"];
        let left_out: Vec<&str> = left_out.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let pairs = adaptation.named().into_iter().zip(expected.named());
        let pairs = pairs.chain(objective.head.named().into_iter().zip(expected_head.named()));
        let compared = pairs.filter(|(got, _)| !left_out.iter().any(|ending| got.name.ends_with(ending)));
        let apart = |(got, expected): (NamedTensor, NamedTensor)| {
            assert_eq!(got.tensor.size(), expected.tensor.size(), "{}", got.name);
            (got.tensor - expected.tensor).abs().max().double_value(&[])
        };
        // NaN is kept: it is within no tolerance.
        (steps, compared.map(apart).fold(0.0, |worst, apart| if worst >= apart { worst } else { apart }))
    }

    /// The rate and the outcome of every update.
    fn follow(
        &self,
        rules: UpdateRules,
        objective: &mut Classification<'_>,
        adaptation: &mut dyn Adaptation,
    ) -> Vec<(f64, Update)> {
        let trace = self.json["training"]["trace"].as_array().expect("a trace");
        let warmup = self.number("config", "warmup_steps") / trace.len() as f64;
        let schedule = Schedule::new(SchedulerType::Linear, self.number("config", "lr"), warmup, trace.len() as u64);
        let mut learner = Learner::new(objective, adaptation, rules);
        let mut update = |step: usize| {
            let rows = labelled(&self.tensors, &format!("step{step}"));
            let lr = schedule.at(step as u64);
            (lr, learner.update(&rows.iter().collect::<Vec<&Labelled>>(), lr).expect("finite"))
        };
        (0..trace.len()).map(&mut update).collect()
    }

    fn check_step(&self, (lr, update): &(f64, Update), expected: &Value) {
        let loss = self.number("tolerance", "loss");
        for (key, got, tolerance) in [("lr", *lr, 1e-12), ("loss", update.loss, loss), ("grad_norm", update.norm, NORM)]
        {
            let wanted = expected[key].as_f64().expect("a number");
            let step = &expected["step"];
            assert!((got - wanted).abs() < tolerance, "{} step {step}: {key} {got}, not {wanted}", self.name);
        }
    }
}

/// A tensor's name in the golden file: with the model's prefix.
fn full_name(name: &str) -> String {
    format!("roberta.{name}")
}

/// Whether each tensor of a set decays.
fn decaying(set: &ParamSet, decay: Decay) -> Vec<bool> {
    set.stacks().iter().map(|stack| decay.applies(&stack.declared)).collect()
}

#[test]
fn golden_trajectories_under_the_authors_trainers() {
    let index = golden_json("baselines/cases.json");
    let names = index.as_array().expect("a list").iter().filter_map(Value::as_str);
    let cases: Vec<Case> = names.filter(|name| name.starts_with("hf-trainer")).map(Case::read).collect();
    assert!(!cases.is_empty(), "no trajectories of trainers");
    cases.iter().for_each(Case::check);
}
