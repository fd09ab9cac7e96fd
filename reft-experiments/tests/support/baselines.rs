//! A case of the baselines: its base, its adapter as a library saved it, its trajectory.

use std::path::PathBuf;

use crate::golden::{Tensors, examples, labelled, load_head};
use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::decay::Decay;
use reft_core::layout::{Extent, Layout};
use reft_core::lender::Lender;
use reft_core::rng::Seed;
use reft_core::site::Dims;
use reft_core::testing::{Tol, assert_close, golden_dir, golden_json, golden_tensors};
use reft_experiments::data::encode::Example;
use reft_experiments::data::labelled::Labelled;
use reft_experiments::interop::{self, ImportSettings, ImportedAdapter, adapter_hub, peft};
use reft_experiments::train::causal::Causal;
use reft_experiments::train::classification::Classification;
use reft_experiments::train::frozen::FrozenForward;
use reft_experiments::train::head::ClassificationHead;
use reft_experiments::train::learner::{HeadGradients, Learner, Update, UpdateRules};
use reft_experiments::train::schedule::Schedule;
use reft_models::attention::PastKeyValues;
use reft_models::encoder::{Encoder, EncoderPass};
use reft_models::lending::{LendingDecoder, LendingEncoder};
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

/// Absolute tolerances: the first three are the README's, the last is what moves too little to be seen by its 1e-3.
pub const LOGITS: f64 = 1e-4;
pub const LOSS: f64 = 1e-4;
pub const NORM: f64 = 1e-4;
pub const FINAL: f64 = 5e-5;

/// As the README says: everything that is trained decays.
pub const RULES: UpdateRules =
    UpdateRules { weight_decay: 0.01, decay: Decay::All, clip: 1.0, head_gradients: HeadGradients::Zeroed, peak: 1e-3 };

/// The base model of a case.
pub enum Model {
    Decoder(Box<dyn Decoder>),
    Encoder(Box<Encoder>),
}

pub struct Case {
    pub name: String,
    pub json: Value,
    pub weights: Weights,
    pub model: Model,
    /// The base's tensors by their names.
    pub base: Tensors,
}

impl Case {
    pub fn read(name: &str) -> Self {
        let json = golden_json(&format!("baselines/{name}/case.json"));
        let folder = format!("baselines/models/{}", json["base"].as_str().expect("a base"));
        let weights = Weights::open(&golden_dir().join(&folder)).expect("a model");
        let base = golden_tensors(&format!("{folder}/model.safetensors"));
        let model = match registry::load(&weights, Kind::Float, Device::Cpu) {
            Ok(decoder) => Model::Decoder(decoder),
            Err(_) => Model::Encoder(Box::new(Encoder::load(&weights, Kind::Float, Device::Cpu).expect("an encoder"))),
        };
        Self { name: name.to_owned(), json, weights, model, base }
    }

    pub fn folder(&self) -> PathBuf {
        golden_dir().join("baselines").join(&self.name)
    }

    pub fn tensors(&self, file: &str) -> Tensors {
        golden_tensors(&format!("baselines/{}/{file}.safetensors", self.name))
    }

    pub fn method(&self) -> &str {
        self.json["method"].as_str().expect("a method")
    }

    pub fn dims(&self) -> Dims {
        match &self.model {
            Model::Decoder(model) => *model.dims(),
            Model::Encoder(model) => *model.dims(),
        }
    }

    /// Runs `f` with what the model lends.
    pub fn lending<T>(&self, f: impl FnOnce(&dyn Lender) -> T) -> T {
        match &self.model {
            Model::Decoder(model) => f(&LendingDecoder { model: model.as_ref(), weights: &self.weights }),
            Model::Encoder(model) => f(&LendingEncoder { model, weights: &self.weights }),
        }
    }

    pub fn build(&self, spec: &AdaptSpec) -> Box<dyn Adaptation> {
        self.lending(|lender| spec.build_on(&self.dims(), lender, Seed(3), Device::Cpu)).expect("it fits the model")
    }

    pub fn put(&self, foreign: &ImportedAdapter) -> Box<dyn Adaptation> {
        self.lending(|lender| foreign.onto(&self.dims(), lender, Device::Cpu))
            .unwrap_or_else(|error| panic!("{}: {error:#}", self.name))
    }

    /// A head with these tensors, or the base's.
    pub fn head(&self, tensors: &Tensors) -> ClassificationHead {
        let outputs = self.base["classifier.out_proj.bias"].size()[0];
        let head = ClassificationHead::new(self.dims().width, outputs, Seed(0), Device::Cpu);
        if tensors.is_empty() {
            load_head(&head, &self.base, "");
        } else {
            let named: Tensors =
                tensors.iter().map(|(name, t)| (format!("classifier.{name}"), t.shallow_clone())).collect();
            load_head(&head, &named, "");
        }
        head
    }

    /// Logits of these rows, without padding: `[len, V]` each for a decoder, `[C]` for an encoder.
    pub fn logits(&self, adaptation: &dyn Adaptation, head: &Tensors, ids: &Tensor, mask: &Tensor) -> Vec<Tensor> {
        let step = adaptation.begin(Mode::Eval);
        let prompts: Vec<i64> = self.json["config"]["prompt_lengths"]
            .as_array()
            .map_or(Vec::new(), |list| list.iter().filter_map(Value::as_i64).collect());
        let row = |row: i64| {
            let len = mask.get(row).sum(Kind::Int64).int64_value(&[]);
            let ids = ids.get(row).masked_select(&mask.get(row).to_kind(Kind::Bool));
            let prompt = prompts.get(row as usize).copied().unwrap_or(len);
            let layout = Layout::packed(&[Extent { len, prompt }]);
            let hooks = step.hooks(&layout).expect("disjoint");
            no_grad(|| match &self.model {
                Model::Decoder(model) => {
                    let own = step.weights().map(|weights| model.on(weights).expect("its own"));
                    let model = own.as_deref().unwrap_or(model.as_ref());
                    let (hooks, cache) = (hooks.as_ref(), PastKeyValues::None);
                    let mut pass = Pass { layout: &layout, hooks, cache, wanted: None };
                    model.logits(&model.hidden(&ids, &mut pass))
                }
                Model::Encoder(model) => {
                    let own = step.weights().map(|weights| model.on(weights).expect("its own"));
                    let model = own.as_ref().unwrap_or(model);
                    let reading = EncoderPass { layout: &layout, hooks: hooks.as_ref(), mode: Mode::Eval };
                    let first = model.hidden(&ids, None, &reading).narrow(0, 0, 1);
                    self.head(head).forward(&first, reft_models::encoder::DropoutRates::OFF).get(0)
                }
            })
        };
        (0..ids.size()[0]).map(row).collect()
    }

    /// Compares the logits of real tokens.
    pub fn check_logits(&self, adaptation: &dyn Adaptation, head: &Tensors, tensors: &Tensors, name: &str) {
        let (ids, mask) = (&tensors["input_ids"], &tensors["attention_mask"]);
        for (row, got) in self.logits(adaptation, head, ids, mask).iter().enumerate() {
            let expected = tensors[name].get(row as i64);
            let expected = if expected.dim() == 2 {
                expected.index(&[Some(mask.get(row as i64).to_kind(Kind::Bool))])
            } else {
                expected
            };
            let what = format!("{}: {name}, row {row}", self.name);
            assert_close(&what, got, &expected, Tol::Absolute(LOGITS));
        }
    }

    /// The adapter as the library saved it.
    pub fn saved(&self) -> ImportedAdapter {
        let folder = self.folder().join("adapter");
        let direft = self.method().starts_with("DiReft");
        interop::read(&folder, ImportSettings { direft, ..ImportSettings::default() })
            .unwrap_or_else(|error| panic!("{}: {error:#}", self.name))
    }

    /// The tensors of one state of a trajectory (`initial`, `staged`, `final`), by their own names.
    pub fn state(training: &Tensors, prefix: &str) -> Tensors {
        let strip = |(name, t): (&String, &Tensor)| {
            Some((name.strip_prefix(&format!("{prefix}."))?.to_owned(), t.shallow_clone()))
        };
        training.iter().filter_map(strip).collect()
    }

    /// An adapter with one state of the trajectory.
    pub fn at(&self, training: &Tensors, prefix: &str) -> ImportedAdapter {
        let state = Self::state(training, prefix);
        let head = || {
            let of =
                |(name, t): (&String, &Tensor)| Some((name.split_once("classifier.")?.1.to_owned(), t.shallow_clone()));
            state.iter().filter_map(of).collect::<Tensors>()
        };
        let origin = interop::AdapterOrigin::default();
        let config = || interop_json(&self.folder().join("adapter/adapter_config.json"));
        let converted = |foreign: anyhow::Result<ImportedAdapter>| {
            foreign.unwrap_or_else(|error| panic!("{} {prefix}: {error:#}", self.name))
        };
        match self.json["library"].as_str().expect("a library") {
            "transformers" => {
                let key = if self.method() == "FT" { "full" } else { "bitfit" };
                let spec = serde_json::from_value(json!({ key: {} })).expect("a specification");
                let own = |(name, t): (&String, &Tensor)| {
                    let name = name.strip_prefix("roberta.").unwrap_or(name);
                    (!name.starts_with("classifier.")).then(|| (name.to_owned(), t.shallow_clone()))
                };
                ImportedAdapter {
                    spec,
                    names: std::collections::BTreeMap::new(),
                    expected: None,
                    tensors: state.iter().filter_map(own).collect(),
                    head: head(),
                    origin,
                }
            }
            "adapters" => {
                let own = state.iter().filter(|(name, _)| !name.starts_with("classifier."));
                let own = own.map(|(name, t)| (name.clone(), t.shallow_clone())).collect();
                let mut foreign =
                    converted(adapter_hub::convert(&config(), own, Tensors::new(), ImportSettings::default()));
                foreign.head = head();
                foreign
            }
            _ if self.method() == "prefix-tuning" => {
                let inner = state.get("transform.0.bias").map(|bias| bias.size()[0]);
                let tokens = state["embedding.weight"].size()[0];
                let spec = json!({"prefix": {"tokens": tokens, "reparametrisation": inner}});
                let spec = serde_json::from_value(spec).expect("a specification");
                let ours = |(name, t): (String, Tensor)| (name.replace("embedding.weight", "embedding"), t);
                ImportedAdapter {
                    spec,
                    names: std::collections::BTreeMap::new(),
                    expected: None,
                    tensors: state.into_iter().map(ours).collect(),
                    head: Tensors::new(),
                    origin,
                }
            }
            _ => converted(peft::convert(&config(), state)),
        }
    }

    /// Batch `step mod 2`, as rows of either kind.
    pub fn replay(
        &self,
        foreign: &ImportedAdapter,
        training: &Tensors,
        trace: &[Value],
    ) -> (Box<dyn Adaptation>, Tensors) {
        let mut adaptation = self.put(foreign);
        let mut head = Tensors::new();
        match &self.model {
            Model::Decoder(model) => {
                let batches: Vec<Vec<Example>> = (0..2).map(|i| examples(training, &format!("batch{i}"))).collect();
                // Passes of some rows each: what they leave in the leaf must add up.
                let mut objective = Causal::new(model.as_ref(), FrozenForward::off(model.as_ref()), 20);
                let mut learner = Learner::new(&mut objective, adaptation.as_mut(), RULES);
                self.follow(trace, |step, lr| learner.update(&batches[step % 2].iter().collect::<Vec<_>>(), lr));
            }
            Model::Encoder(encoder) => {
                let batches: Vec<Vec<Labelled>> = (0..2).map(|i| labelled(training, &format!("batch{i}"))).collect();
                let mut objective = Classification {
                    encoder,
                    head: self.head(&foreign.head),
                    model_dropout: false,
                    label_kind: Kind::Float,
                    micro_tokens: 30,
                    watch: None,
                };
                let mut learner = Learner::new(&mut objective, adaptation.as_mut(), RULES);
                self.follow(trace, |step, lr| learner.update(&batches[step % 2].iter().collect::<Vec<_>>(), lr));
                head = objective.head.named().into_iter().map(|named| (named.name, named.tensor)).collect();
            }
        }
        (adaptation, head)
    }

    /// Every update's rate, loss and norm.
    pub fn follow<E: std::fmt::Debug>(&self, trace: &[Value], mut update: impl FnMut(usize, f64) -> Result<Update, E>) {
        let schedule = Schedule::linear(RULES.peak, 2.0 / trace.len() as f64, trace.len() as u64);
        for (step, expected) in trace.iter().enumerate() {
            let lr = schedule.at(step as u64);
            let got = update(step, lr).expect("finite");
            for (key, got, tolerance) in [("lr", lr, 1e-12), ("loss", got.loss, LOSS), ("grad_norm", got.norm, NORM)] {
                let wanted = expected[key].as_f64().expect("a number");
                assert!((got - wanted).abs() < tolerance, "{} step {step}: {key} {got}, not {wanted}", self.name);
            }
        }
    }

    /// Compares what is trained with a state of the trajectory.
    pub fn check_final(&self, got: &dyn Adaptation, head: &Tensors, expected: &ImportedAdapter) {
        let left_out = &self.json["not_compared"]["names_ending"];
        let mut left_out: Vec<&str> = left_out.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if matches!(self.model, Model::Encoder(_)) {
            // As the README says of every case that trains them.
            left_out.push("key.bias");
        }
        let expected_adaptation = self.put(expected);
        let pairs = got.named().into_iter().zip(expected_adaptation.named());
        let pairs = pairs.map(|(got, expected)| (got.name, got.tensor, expected.tensor));
        let heads =
            head.iter().map(|(name, got)| (name.clone(), got.shallow_clone(), expected.head[name].shallow_clone()));
        let mut moved = 0.0f64;
        for (name, got, expected) in pairs.chain(heads) {
            if !left_out.iter().any(|ending| name.ends_with(ending)) {
                assert_close(&format!("{}: final {name}", self.name), &got, &expected, Tol::Absolute(FINAL));
                moved = moved.max(expected.abs().max().double_value(&[]));
            }
        }
        assert!(moved > 0.0, "{}: nothing compared", self.name);
    }

    /// A fresh adapter changes nothing, or something, as the case says.
    pub fn check_fresh(&self, spec: &AdaptSpec) {
        let Some(stored) = self.json["at_init_max_abs_diff"].as_f64() else { return };
        let tensors = self.tensors("tensors");
        let fresh = self.build(spec);
        let (ids, mask) = (&tensors["input_ids"], &tensors["attention_mask"]);
        let apart = |row: usize, got: &Tensor| {
            let expected = tensors["base_logits"].get(row as i64);
            let expected = if expected.dim() == 2 {
                expected.index(&[Some(mask.get(row as i64).to_kind(Kind::Bool))])
            } else {
                expected
            };
            (got - expected).abs().max().double_value(&[])
        };
        let logits = self.logits(fresh.as_ref(), &Tensors::new(), ids, mask);
        let apart = logits.iter().enumerate().map(|(row, got)| apart(row, got)).fold(0.0, f64::max);
        if stored == 0.0 {
            assert!(apart < 2e-5, "{}: a fresh adapter moves the logits by {apart}", self.name);
        } else {
            assert!(apart > stored / 20.0, "{}: a fresh adapter moves the logits by {apart}, not {stored}", self.name);
        }
    }

    /// Trainable numbers, with the head where there is one.
    pub fn check_count(&self, adaptation: &dyn Adaptation) {
        let head = match &self.model {
            Model::Decoder(_) => 0,
            Model::Encoder(_) => self.head(&Tensors::new()).params().count(),
        };
        let Some(expected) = self.json["trainable_parameters"].as_i64() else { return };
        let count = adaptation.params().count();
        let of_adapter = self.json["adapter_parameters"].as_i64().unwrap_or(expected - head);
        assert_eq!(count, of_adapter, "{}: trained numbers", self.name);
    }

    /// Everything that a case of one method shows.
    pub fn check(&self) {
        if self.folder().join("adapter").exists() {
            let saved = self.saved();
            let adaptation = self.put(&saved);
            self.check_logits(adaptation.as_ref(), &saved.head, &self.tensors("tensors"), "logits");
        }
        if self.json["training"]["file"].is_null() {
            return;
        }
        let training = self.tensors("training");
        let trace = self.json["training"]["trace"].as_array().expect("a trace");
        let begin = if training.keys().any(|name| name.starts_with("initial.")) {
            self.at(&training, "initial")
        } else {
            // What is not stored begins at the base.
            let end = self.at(&training, "final");
            let of_base = |name: &String| {
                let full = self.base.get(&format!("roberta.{name}")).or_else(|| self.base.get(name));
                (name.clone(), full.unwrap_or_else(|| panic!("{name} is in the base")).shallow_clone())
            };
            ImportedAdapter { tensors: end.tensors.keys().map(of_base).collect(), head: Tensors::new(), ..end }
        };
        let (adaptation, head) = self.replay(&begin, &training, trace);
        self.check_final(adaptation.as_ref(), &head, &self.at(&training, "final"));
        self.check_count(adaptation.as_ref());
        self.check_fresh(&begin.spec);
        if !self.folder().join("adapter").exists() {
            let end = self.at(&training, "final");
            self.check_logits(self.put(&end).as_ref(), &end.head, &self.tensors("tensors"), "logits");
        }
    }
}

pub fn interop_json(path: &std::path::Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}
