//! The real model out of its GGUF file: weights, tokenizer, logits, greedy continuations, edits.

use reft_core::adaptation::Mode;
use reft_core::hooks::NoHooks;
use reft_core::layout::{Extent, Layout};
use reft_core::rng::Seed;
use reft_core::testing::{device, golden_json, golden_tensors, indices, load_golden};
use reft_core::{AdaptSpec, Step};
use reft_models::attention::PastKeyValues;
use reft_models::decode::{Decoding, Generator, Stopping, undecided};
use reft_models::model::{Decoder, Pass};
use reft_models::tokenizer::{Message, Role, Specials, Tokenizer};
use reft_models::weights::Weights;
use reft_models::{hub, registry};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

/// Tolerances of the golden's README.
const LOGITS: f64 = 2e-3;
const SUMS: f64 = 1e-5;

fn ints(value: &Value) -> Vec<i64> {
    value.as_array().expect("a list").iter().map(|item| item.as_i64().expect("an integer")).collect()
}

fn open() -> (Weights, Tokenizer) {
    let path = hub::locate("smollm2").unwrap_or_else(|error| panic!("{error}"));
    (Weights::open(&path).expect("the default model"), Tokenizer::open(&path).expect("its tokenizer"))
}

fn load(weights: &Weights) -> Box<dyn Decoder> {
    registry::load(weights, Kind::Float, device()).expect("the default model")
}

#[test]
fn golden_smollm2_weights_and_tokenizer() {
    let golden = golden_json("smollm2/smollm2.json");
    let (weights, tokenizer) = open();
    for case in golden["weights"].as_array().expect("a list") {
        let name = case["name"].as_str().expect("a name");
        let tensor = weights.tensor(name, &ints(&case["shape"]), Kind::Double, device()).expect("there");
        let close = |got: f64, key: &str| {
            let expected = case[key].as_f64().expect("a number");
            assert!(
                (got - expected).abs() <= SUMS * expected.abs().max(1.0),
                "{name} {key}: {got}, expected {expected}"
            );
        };
        close(tensor.sum(Kind::Double).double_value(&[]), "sum");
        close(tensor.norm().double_value(&[]), "l2");
        let first = Vec::<f64>::try_from(tensor.flatten(0, -1).narrow(0, 0, 8)).expect("numbers");
        let expected: Vec<f64> = case["first8"].as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
        assert_eq!(first, expected, "{name}");
    }
    for case in golden["tokenizer"].as_array().expect("a list") {
        let text = case["text"].as_str().expect("a text");
        assert_eq!(tokenizer.encode(text, Specials::None).expect("encodes"), ints(&case["ids"]), "{text:?}");
    }
    let piece = |id: Option<i64>| id.and_then(|id| tokenizer.piece(id));
    assert_eq!(piece(tokenizer.bos()).as_deref(), golden["bos"].as_str());
    assert_eq!(piece(tokenizer.eos()).as_deref(), golden["eos"].as_str());
}

/// The largest logits after the last token, against the golden's list of id and value.
fn check_top20(what: &str, logits: &Tensor, expected: &Value) {
    let pairs = expected.as_array().expect("a list");
    let (values, ids) = logits.topk(pairs.len() as i64, -1, true, true);
    for (rank, pair) in (0..).zip(pairs) {
        let (id, value) = (pair[0].as_i64().expect("an id"), pair[1].as_f64().expect("a logit"));
        let got = logits.double_value(&[id]);
        assert!((got - value).abs() < LOGITS, "{what}: logit of {id} is {got}, expected {value}");
        let near_tie = (values.double_value(&[rank]) - value).abs() < LOGITS;
        assert!(ids.int64_value(&[rank]) == id || near_tie, "{what}: rank {rank}");
    }
}

fn last_logits(model: &dyn Decoder, ids: &[i64], step: Option<&dyn Step>) -> Tensor {
    let len = ids.len() as i64;
    let layout = Layout::packed(&[Extent { len, prompt: len }]);
    let hooks = step.map(|step| step.hooks(&layout).expect("disjoint"));
    let hooks = hooks.as_deref().unwrap_or(&NoHooks);
    let h = model.hidden(&indices(ids), &mut Pass { layout: &layout, hooks, cache: PastKeyValues::None, wanted: None });
    model.logits(&h.narrow(0, len - 1, 1)).squeeze_dim(0)
}

#[test]
fn golden_smollm2_logits_and_greedy_tokens() {
    let golden = golden_json("smollm2/smollm2.json");
    let (weights, tokenizer) = open();
    let model = load(&weights);
    assert_eq!(Some(model.parameters()), golden["parameters"].as_i64());
    for case in golden["cases"].as_array().expect("a list") {
        let text = case["text"].as_str().expect("a text");
        let ids = tokenizer.encode(text, Specials::None).expect("encodes");
        assert_eq!(ids, ints(&case["ids"]), "{text:?}");
        check_top20(text, &last_logits(model.as_ref(), &ids, None), &case["top20"]);
        let expected = ints(&case["greedy32"]);
        let stop = Stopping { max_new: expected.len(), ends: Vec::new() };
        let decoding = &Decoding::default();
        let generator = Generator { model: model.as_ref(), adaptation: None, batch: 1, stop, decoding, seed: 0 };
        let said = generator.run(&[&ids], &undecided).expect("no edits").remove(0).ids;
        assert_eq!(said, expected, "{text:?}");
        assert_eq!(tokenizer.decode(&said, false).expect("decodes"), case["greedy_text"].as_str().expect("a text"));
    }
}

#[test]
fn golden_smollm2_logits_with_a_loreft() {
    let golden = golden_json("smollm2/loreft.json");
    let tensors = golden_tensors("smollm2/loreft.safetensors");
    let model = load(&open().0);
    let reft =
        json!({"intervention": "loreft", "rank": golden["rank"], "layers": golden["layers"], "positions": "f3+l3"});
    let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft })).expect("valid");
    let adaptation = spec.build(model.dims(), Seed(0), device()).expect("it fits");
    load_golden(adaptation.as_ref(), &tensors, "");
    let step = adaptation.begin(Mode::Eval);
    for case in golden["cases"].as_array().expect("a list") {
        let ids = ints(&case["ids"]);
        check_top20("edited", &last_logits(model.as_ref(), &ids, Some(step.as_ref())), &case["top20"]);
    }
}

#[test]
fn smollm2_s_own_chat_template_is_read_from_the_gguf() {
    let (_, tokenizer) = open();
    let turn = |role, content: &str| Message { role, content: content.to_owned() };
    let system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n";
    let asked = tokenizer.chat(&[turn(Role::User, "hi")]).expect("it has one");
    assert_eq!(asked, format!("{system}<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"));
    let told = tokenizer.chat(&[turn(Role::System, "Be brief."), turn(Role::User, "hi")]).expect("it has one");
    assert!(told.starts_with("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"), "{told}");
    assert_eq!(tokenizer.ends(), [tokenizer.eos().expect("an end token")]);
}
