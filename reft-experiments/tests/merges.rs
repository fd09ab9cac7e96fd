//! Merges that no other library has: edits of all positions of a linear component, RED, biases beside LoRA, full finetuning; and
//! full finetuning of bf16 weights, whose masters are f32.

#![cfg(feature = "program")]

use std::path::Path;

use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::layout::{Extent, Layout};
use reft_core::rng::Seed;
use reft_core::testing::{Tol, assert_close, golden_dir, indices, normal};
use reft_experiments::data::encode::Example;
use reft_experiments::interop::merge::Merged;
use reft_experiments::interop::ours::{LoadedBase, tensors_of};
use reft_experiments::interop::{NamedTensors, model_folder};
use reft_experiments::train::causal::Causal;
use reft_experiments::train::frozen::FrozenForward;
use reft_experiments::train::learner::{Learner, UpdateRules};
use reft_models::attention::PastKeyValues;
use reft_models::hub;
use reft_models::lending::LendingDecoder;
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::tokenizer::{Conversation, Specials, Tokenizer};
use reft_models::weights::Weights;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

const IDS: [i64; 9] = [1, 17, 33, 4, 2, 5, 40, 45, 2];

fn spec(value: &Value) -> AdaptSpec {
    serde_json::from_value(value.clone()).expect("a specification")
}

fn model(name: &str) -> std::path::PathBuf {
    golden_dir().join(name)
}

/// The adaptation with every number moved from where it began.
fn moved(base: &LoadedBase, spec: &AdaptSpec) -> Box<dyn Adaptation> {
    let put = base.put(|lender| Ok(spec.build_on(base.dims(), lender, Seed(1), Device::Cpu)?));
    let adaptation = put.unwrap_or_else(|error| panic!("{error:#}"));
    for (index, named) in adaptation.named().into_iter().enumerate() {
        // A basis stays one: the others move.
        if !named.name.ends_with("basis") {
            let step = normal(&named.tensor.size(), index as u64) * 0.05;
            no_grad(|| drop(named.tensor.shallow_clone().g_add_(&step)));
        }
    }
    adaptation
}

/// Logits of one sequence, all of which is a prompt.
fn logits(folder: &Path, adaptation: Option<&dyn Adaptation>) -> Tensor {
    let weights = Weights::open(folder).expect("a model");
    let decoder = registry::load(&weights, Kind::Float, Device::Cpu).expect("a decoder");
    let len = IDS.len() as i64;
    let layout = Layout::packed(&[Extent { len, prompt: len }]);
    let step = adaptation.map(|adaptation| adaptation.begin(Mode::Eval));
    let hooks = step.as_ref().map(|step| step.hooks(&layout).expect("disjoint"));
    let hooks = hooks.as_deref().unwrap_or(&reft_core::hooks::NoHooks);
    let own = step.as_ref().and_then(|step| step.weights());
    no_grad(|| {
        let own = own.map(|own| decoder.on(own).expect("its own"));
        let decoder: &dyn Decoder = own.as_deref().unwrap_or(decoder.as_ref());
        let mut pass = Pass { layout: &layout, hooks, cache: PastKeyValues::None, wanted: None };
        decoder.logits(&decoder.hidden(&indices(&IDS), &mut pass))
    })
}

#[test]
fn the_merged_folder_answers_as_model_and_adapter() {
    let reft = |intervention: &str, component: &str| json!({"reft": {"intervention": intervention, "rank": 2, "positions": "all", "component": component}});
    let cases = [
        ("models/llama-tied", reft("loreft", "value")),
        ("baselines/models/llama-bias", reft("loreft", "query")),
        ("models/llama-tied", reft("direft", "mlp_output")),
        ("baselines/models/llama-bias", reft("noreft", "up")),
        ("models/llama-tied", reft("consreft", "attention_output")),
        ("models/llama-tied", reft("red", "mlp_output")),
        ("baselines/models/llama-bias", reft("red", "gate")),
        ("models/llama-tied", json!({"full": {}})),
        ("baselines/models/llama-bias", json!({"bitfit": {}})),
        (
            "baselines/models/llama-bias",
            json!({"lora": {"rank": 2, "alpha": 4, "components": ["q", "down"], "bias": "lora_only"}}),
        ),
        (
            "baselines/models/llama-bias",
            json!({"joint": [
            {"adapt": {"lora": {"rank": 2, "alpha": 4, "components": ["q", "v"]}}},
            {"adapt": {"reft": {"intervention": "red", "rank": 1, "positions": "all", "component": "mlp_output"}}}]}),
        ),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    for (index, (name, written)) in cases.into_iter().enumerate() {
        let (base, spec) = (LoadedBase::open(model(name).to_str().expect("a name")).expect("a base"), spec(&written));
        let adaptation = moved(&base, &spec);
        let expected = logits(&model(name), Some(adaptation.as_ref()));
        let apart = (&expected - logits(&model(name), None)).abs().max().double_value(&[]);
        assert!(apart > 1e-2, "{written}: nothing moved ({apart})");
        let tensors = tensors_of(adaptation.as_ref());
        let naming = base.naming().expect("names");
        let merged = Merged::new(&spec, &tensors, (&base.weights, naming, base.dims()))
            .unwrap_or_else(|error| panic!("{written}: {error:#}"));
        let out = folder.path().join(index.to_string());
        model_folder::write(&base.weights, (&merged.tensors(), &serde_json::Map::new()), &out, 1 << 30)
            .expect("written");
        assert_close(&written.to_string(), &logits(&out, None), &expected, Tol::Absolute(1e-4));
    }
}

#[test]
fn a_gguf_file_becomes_a_folder_with_its_tokenizer_and_template() {
    let gguf = hub::locate("smollm2").expect("`make model` fetched it");
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("model");
    let weights = Weights::open(&gguf).expect("a model");
    model_folder::write(&weights, (&NamedTensors::new(), &serde_json::Map::new()), &out, usize::MAX).expect("written");
    assert!(logits(&out, None).equal(&logits(&gguf, None)), "other weights");
    let (theirs, ours) = (Tokenizer::open(&gguf).expect("read"), Tokenizer::open(&out).expect("read"));
    let messages = [json!({"role": "user", "content": "Ahoy,  world 2026!"})];
    let ids = |tokenizer: &Tokenizer| {
        let chat = tokenizer.chat_ids(&Conversation::new(&messages)).expect("a prompt").ids;
        (
            chat,
            tokenizer.encode(" two  words\n", Specials::AsModel).expect("ids"),
            tokenizer.answer_ends(),
            tokenizer.bos(),
        )
    };
    assert_eq!(ids(&theirs), ids(&ours));
    let config: Value = serde_json::from_slice(&std::fs::read(out.join("config.json")).expect("there")).expect("JSON");
    assert_eq!(config["model_type"], "llama");
    assert!(config.as_object().is_some_and(|keys| keys.values().all(|value| !value.is_null())), "{config}");
}

#[test]
fn what_no_weight_can_do_is_refused_with_the_reason() {
    let base = LoadedBase::open(model("models/llama-tied").to_str().expect("a name")).expect("a base");
    let cases = [
        (
            json!({"reft": {"intervention": "loreft", "rank": 2, "positions": "f2+l2", "component": "value"}}),
            "acts on every token",
        ),
        (json!({"reft": {"intervention": "loreft", "rank": 2, "positions": "all"}}), "the output of no linear map"),
        (json!({"prefix": {"tokens": 2}}), "no change of the model's linear maps"),
    ];
    for (written, reason) in cases {
        let spec = spec(&written);
        let tensors = tensors_of(moved(&base, &spec).as_ref());
        let naming = base.naming().expect("names");
        let merged = Merged::new(&spec, &tensors, (&base.weights, naming, base.dims()));
        let Err(said) = merged else { panic!("{written}: merged") };
        assert!(format!("{said:#}").contains(reason), "{said:#}");
    }
    let written = json!({"lora": {"rank": 2, "alpha": 4, "bias": "lora_only"}});
    let without = base.put(|lender| Ok(spec(&written).build_on(base.dims(), lender, Seed(1), Device::Cpu)?));
    let said = format!("{:#}", without.expect_err("Llama's queries have no biases"));
    assert!(said.contains("has no bias in this model: choose bias: none"), "{said}");
}

#[test]
fn a_fresh_lora_with_biases_is_the_base_and_its_biases_are_trained() {
    let name = "baselines/models/llama-bias";
    let base = LoadedBase::open(model(name).to_str().expect("a name")).expect("a base");
    let written = json!({"lora": {"rank": 2, "alpha": 4, "components": ["q", "v"], "bias": "lora_only"}});
    let fresh =
        base.put(|lender| Ok(spec(&written).build_on(base.dims(), lender, Seed(1), Device::Cpu)?)).expect("built");
    let fresh_logits = logits(&model(name), Some(fresh.as_ref()));
    assert_close("fresh", &fresh_logits, &logits(&model(name), None), Tol::Absolute(2e-5));
    let biases = |adaptation: &dyn Adaptation| {
        let named = adaptation.named().into_iter().filter(|named| named.name.ends_with(".bias"));
        Tensor::cat(&named.map(|named| named.tensor.detach().copy()).collect::<Vec<_>>(), 0)
    };
    let layers = base.dims().layers as i64;
    let widths = base.dims().heads * base.dims().head_width + base.dims().kv_heads * base.dims().head_width;
    assert_eq!(biases(fresh.as_ref()).numel() as i64, layers * widths);
    let before = biases(fresh.as_ref());
    let mut trained = fresh;
    let decoder = registry::load(&base.weights, Kind::Float, Device::Cpu).expect("a decoder");
    train(decoder.as_ref(), trained.as_mut(), 1e-2, 2);
    let apart = (biases(trained.as_ref()) - before).abs().min().double_value(&[]);
    assert!(apart > 1e-4, "a bias stayed where it was");
}

/// Some updates on two rows; the losses.
fn train(model: &dyn Decoder, adaptation: &mut dyn Adaptation, lr: f64, updates: usize) -> Vec<f64> {
    let example = |index: i64| {
        let ids = (0..7 + index).map(|at| 3 + (at * 31 + index * 7) % 80).collect();
        Example { ids, prompt: 3, name: format!("row {index}"), lost: 0 }
    };
    let rows: Vec<Example> = (0..2).map(example).collect();
    let mut objective = Causal::new(model, FrozenForward::off(model), 100);
    let mut learner = Learner::new(&mut objective, adaptation, UpdateRules::default());
    (0..updates).map(|_| learner.update(&rows.iter().collect::<Vec<_>>(), lr).expect("finite").loss).collect()
}

#[test]
fn full_finetuning_of_bf16_weights_keeps_f32_masters() {
    let weights = Weights::open(&model("models/llama-tied")).expect("a model");
    let trained = |kind: Kind, lr: f64, updates: usize| {
        let decoder = registry::load(&weights, kind, Device::Cpu).expect("a decoder");
        let lender = LendingDecoder { model: decoder.as_ref(), weights: &weights };
        let full = spec(&json!({"full": {}})).build_on(decoder.dims(), &lender, Seed(0), Device::Cpu);
        let mut full = full.expect("weights to train");
        let before = full.params().flat().detach().copy();
        let losses = train(decoder.as_ref(), full.as_mut(), lr, updates);
        (before, full.params().flat().detach().copy(), losses)
    };
    let (stored, _, _) = trained(Kind::Float, 1e-5, 1);
    // Updates of a hundred-thousandth: a weight near 1 of bf16 moves by 1/256 or not at all.
    let (before, after, _) = trained(Kind::BFloat16, 1e-5, 8);
    assert_close("masters are the stored weights, not rounded ones", &before, &stored, Tol::Exact);
    let largest = (&after - &before).abs().max().double_value(&[]);
    assert!((1e-6..1e-4).contains(&largest), "the masters moved by {largest}");
    let rounded = |flat: &Tensor| flat.to_kind(Kind::BFloat16).to_kind(Kind::Float);
    let (moved, seen) = (after.ne_tensor(&before), rounded(&after).ne_tensor(&rounded(&before)));
    let counts = [moved, seen].map(|mask| mask.sum(Kind::Int64).int64_value(&[]));
    assert!(counts[0] > 2 * counts[1], "{counts:?}: steps too small for bf16 are kept");
    // They add up: as many large updates learn what f32 learns.
    let (_, _, half) = trained(Kind::BFloat16, 1e-3, 12);
    let (_, _, single) = trained(Kind::Float, 1e-3, 12);
    let (first, last) = (single[0], single[11]);
    assert!(last < first - 0.1, "{single:?}");
    assert!((half[11] - last).abs() < 0.2 * (first - last), "bf16 {half:?}, f32 {single:?}");
}
