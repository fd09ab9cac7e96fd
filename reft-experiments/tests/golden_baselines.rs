//! Weight-based baselines and their combinations with ReFT against peft, adapters, LLM-Adapters' formulas and transformers:
//! logits, counts, fresh adapters and trajectories of every case that the golden directory lists.

#[path = "support/golden.rs"]
mod golden;

use std::path::PathBuf;

use golden::{Tensors, examples, labelled, load_head};
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
use reft_experiments::interop::{self, Foreign, Told, adapter_hub, householder, peft};
use reft_experiments::train::causal::Causal;
use reft_experiments::train::classification::Classification;
use reft_experiments::train::frozen::Frozen;
use reft_experiments::train::head::Head;
use reft_experiments::train::learner::{HeadGradients, Learner, Update, UpdateRules};
use reft_experiments::train::schedule::Linear;
use reft_experiments::train::trainer::{Plan, Trainer};
use reft_models::attention::Cache;
use reft_models::encoder::{Encoder, Reading};
use reft_models::lending::{LendingDecoder, LendingEncoder};
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

/// Absolute tolerances: the first three are the README's, the last is what moves too little to be seen by its 1e-3.
const LOGITS: f64 = 1e-4;
const LOSS: f64 = 1e-4;
const NORM: f64 = 1e-4;
const FINAL: f64 = 5e-5;

/// As the README says: everything that is trained decays.
const RULES: UpdateRules =
    UpdateRules { weight_decay: 0.01, decay: Decay::All, clip: 1.0, head_gradients: HeadGradients::Zeroed, peak: 1e-3 };

/// The base model of a case.
enum Model {
    Decoder(Box<dyn Decoder>),
    Encoder(Box<Encoder>),
}

struct Case {
    name: String,
    json: Value,
    weights: Weights,
    model: Model,
    /// The base's tensors by their names.
    base: Tensors,
}

impl Case {
    fn read(name: &str) -> Self {
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

    fn folder(&self) -> PathBuf {
        golden_dir().join("baselines").join(&self.name)
    }

    fn tensors(&self, file: &str) -> Tensors {
        golden_tensors(&format!("baselines/{}/{file}.safetensors", self.name))
    }

    fn method(&self) -> &str {
        self.json["method"].as_str().expect("a method")
    }

    fn dims(&self) -> Dims {
        match &self.model {
            Model::Decoder(model) => *model.dims(),
            Model::Encoder(model) => *model.dims(),
        }
    }

    /// Runs `f` with what the model lends.
    fn lending<T>(&self, f: impl FnOnce(&dyn Lender) -> T) -> T {
        match &self.model {
            Model::Decoder(model) => f(&LendingDecoder { model: model.as_ref(), weights: &self.weights }),
            Model::Encoder(model) => f(&LendingEncoder { model, weights: &self.weights }),
        }
    }

    fn build(&self, spec: &AdaptSpec) -> Box<dyn Adaptation> {
        self.lending(|lender| spec.build_on(&self.dims(), lender, Seed(3), Device::Cpu)).expect("it fits the model")
    }

    fn put(&self, foreign: &Foreign) -> Box<dyn Adaptation> {
        self.lending(|lender| foreign.onto(&self.dims(), lender, Device::Cpu))
            .unwrap_or_else(|error| panic!("{}: {error:#}", self.name))
    }

    /// A head with these tensors, or the base's.
    fn head(&self, tensors: &Tensors) -> Head {
        let outputs = self.base["classifier.out_proj.bias"].size()[0];
        let head = Head::new(self.dims().width, outputs, Seed(0), Device::Cpu);
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
    fn logits(&self, adaptation: &dyn Adaptation, head: &Tensors, ids: &Tensor, mask: &Tensor) -> Vec<Tensor> {
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
                    let (hooks, cache) = (hooks.as_ref(), Cache::None);
                    let mut pass = Pass { layout: &layout, hooks, cache, wanted: None };
                    model.logits(&model.hidden(&ids, &mut pass))
                }
                Model::Encoder(model) => {
                    let own = step.weights().map(|weights| model.on(weights).expect("its own"));
                    let model = own.as_ref().unwrap_or(model);
                    let reading = Reading { layout: &layout, hooks: hooks.as_ref(), mode: Mode::Eval };
                    let first = model.hidden(&ids, None, &reading).narrow(0, 0, 1);
                    self.head(head).forward(&first, reft_models::encoder::Dropout::OFF).get(0)
                }
            })
        };
        (0..ids.size()[0]).map(row).collect()
    }

    /// Compares the logits of real tokens.
    fn check_logits(&self, adaptation: &dyn Adaptation, head: &Tensors, tensors: &Tensors, name: &str) {
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
    fn saved(&self) -> Foreign {
        let folder = self.folder().join("adapter");
        let direft = self.method().starts_with("DiReft");
        interop::read(&folder, Told { direft, ..Told::default() })
            .unwrap_or_else(|error| panic!("{}: {error:#}", self.name))
    }

    /// The tensors of one state of a trajectory (`initial`, `staged`, `final`), by their own names.
    fn state(training: &Tensors, prefix: &str) -> Tensors {
        let strip = |(name, t): (&String, &Tensor)| {
            Some((name.strip_prefix(&format!("{prefix}."))?.to_owned(), t.shallow_clone()))
        };
        training.iter().filter_map(strip).collect()
    }

    /// An adapter with one state of the trajectory.
    fn at(&self, training: &Tensors, prefix: &str) -> Foreign {
        let state = Self::state(training, prefix);
        let head = || {
            let of =
                |(name, t): (&String, &Tensor)| Some((name.split_once("classifier.")?.1.to_owned(), t.shallow_clone()));
            state.iter().filter_map(of).collect::<Tensors>()
        };
        let origin = interop::Origin::default();
        let config = || interop_json(&self.folder().join("adapter/adapter_config.json"));
        let converted = |foreign: anyhow::Result<Foreign>| {
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
                Foreign { spec, tensors: state.iter().filter_map(own).collect(), head: head(), origin }
            }
            "adapters" => {
                let own = state.iter().filter(|(name, _)| !name.starts_with("classifier."));
                let own = own.map(|(name, t)| (name.clone(), t.shallow_clone())).collect();
                let mut foreign = converted(adapter_hub::convert(&config(), own, Tensors::new(), Told::default()));
                foreign.head = head();
                foreign
            }
            _ if self.method() == "prefix-tuning" => {
                let inner = state.get("transform.0.bias").map(|bias| bias.size()[0]);
                let tokens = state["embedding.weight"].size()[0];
                let spec = json!({"prefix": {"tokens": tokens, "reparametrisation": inner}});
                let spec = serde_json::from_value(spec).expect("a specification");
                let ours = |(name, t): (String, Tensor)| (name.replace("embedding.weight", "embedding"), t);
                Foreign { spec, tensors: state.into_iter().map(ours).collect(), head: Tensors::new(), origin }
            }
            _ => converted(peft::convert(&config(), state)),
        }
    }

    /// Batch `step mod 2`, as rows of either kind.
    fn replay(&self, foreign: &Foreign, training: &Tensors, trace: &[Value]) -> (Box<dyn Adaptation>, Tensors) {
        let mut adaptation = self.put(foreign);
        let mut head = Tensors::new();
        match &self.model {
            Model::Decoder(model) => {
                let batches: Vec<Vec<Example>> = (0..2).map(|i| examples(training, &format!("batch{i}"))).collect();
                // Passes of some rows each: what they leave in the leaf must add up.
                let mut objective = Causal::new(model.as_ref(), Frozen::off(model.as_ref()), 20);
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
    fn follow<E: std::fmt::Debug>(&self, trace: &[Value], mut update: impl FnMut(usize, f64) -> Result<Update, E>) {
        let schedule = Linear::new(RULES.peak, 2.0 / trace.len() as f64, trace.len() as u64);
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
    fn check_final(&self, got: &dyn Adaptation, head: &Tensors, expected: &Foreign) {
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
    fn check_fresh(&self, spec: &AdaptSpec) {
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
    fn check_count(&self, adaptation: &dyn Adaptation) {
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
    fn check(&self) {
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
            Foreign { tensors: end.tensors.keys().map(of_base).collect(), head: Tensors::new(), ..end }
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

fn interop_json(path: &std::path::Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

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

    fn foreign(&self, tensors: Tensors) -> Foreign {
        Foreign { spec: self.spec(), tensors, head: Tensors::new(), origin: interop::Origin::default() }
    }

    fn check(&self) {
        let case = &self.0;
        let tensors = case.tensors("tensors");
        let lora = case.tensors("adapter/lora/adapter_model");
        let mut all = Self::state(&tensors, "");
        all.extend(Self::state(&lora, ""));
        let both = case.put(&self.foreign(all));
        case.check_logits(both.as_ref(), &Tensors::new(), &tensors, "logits");
        self.check_parametrisation(&tensors);
        if self.is_staged() {
            let mut first = case.put(&self.foreign(self.staged_end()));
            first.enter(0);
        }
        self.train();
    }

    /// `R` from what torch stores.
    fn check_parametrisation(&self, tensors: &Tensors) {
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
        let mut objective = Causal::new(model.as_ref(), Frozen::off(model.as_ref()), 20);
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
            let mut objective = Causal::new(model.as_ref(), Frozen::off(model.as_ref()), 100);
            let plan = Plan { epochs: 2, lr: 1e-3, batch: 2, warmup_ratio: 0.25, rules: RULES, checkpoint_every: 3 };
            let mut trainer = Trainer {
                objective: &mut objective,
                adaptation: fresh.as_mut(),
                plan,
                seed: Seed(1),
                examples: &examples,
                checkpoint: folder.path().join(name),
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
