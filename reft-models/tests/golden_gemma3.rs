//! Gemma 3 270M out of its GGUF file: weights, logits, greedy continuations, a prompt longer than the window. The model is
//! fetched on request only (`make model MODEL=gemma3-270m`): where it is not, there is nothing to test.

use reft_core::hooks::NoHooks;
use reft_core::layout::{Extent, Layout};
use reft_core::testing::{device, golden_dir, golden_json, indices};
use reft_models::attention::PastKeyValues;
use reft_models::decode::{Decoding, Generator, Stopping, undecided};
use reft_models::hub::{self, HubError};
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::Value;
use tch::{Kind, Tensor};

/// Tolerances of the golden's README.
const LOGITS: f64 = 1e-3;
const SUMS: f64 = 1e-5;

const GOLDEN: &str = "families/gemma3-270m/gemma3.json";

fn ints(value: &Value) -> Vec<i64> {
    value.as_array().expect("a list").iter().map(|item| item.as_i64().expect("an integer")).collect()
}

/// The golden and the model, if both are there.
fn open() -> Option<(Value, Weights)> {
    let path = match hub::locate("gemma3-270m") {
        Ok(path) => path,
        Err(HubError::NotSetUp { .. }) => {
            eprintln!("golden_gemma3: the model was not fetched, nothing is compared");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    golden_dir().join(GOLDEN).exists().then(|| (golden_json(GOLDEN), Weights::open(&path).expect("the model")))
}

fn check_weights(golden: &Value, weights: &Weights) {
    let cases = golden["weights"].as_array().expect("a list");
    assert_eq!(weights.names().len(), cases.len());
    for case in cases {
        let name = case["name"].as_str().expect("a name");
        let tensor = weights.tensor(name, &ints(&case["shape"]), Kind::Double, device()).expect("there");
        for (key, got) in [("sum", tensor.sum(Kind::Double)), ("l2", tensor.norm())] {
            let (got, expected) = (got.double_value(&[]), case[key].as_f64().expect("a number"));
            let allowed = SUMS * expected.abs().max(1.0);
            assert!((got - expected).abs() <= allowed, "{name} {key}: {got}, expected {expected}");
        }
        let first = Vec::<f64>::try_from(tensor.flatten(0, -1).narrow(0, 0, 8)).expect("numbers");
        let expected: Vec<f64> = case["first8"].as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
        assert_eq!(first, expected, "{name}");
    }
}

/// The largest logits after a prompt, and its greedy continuation of `tokens`.
fn check_case(model: &dyn Decoder, case: &Value, greedy: &str) {
    let ids = ints(&case["ids"]);
    let layout = Layout::packed(&[Extent { len: ids.len() as i64, prompt: ids.len() as i64 }]);
    let last = indices(&[ids.len() as i64 - 1]);
    let mut pass = Pass { layout: &layout, hooks: &NoHooks, cache: PastKeyValues::None, wanted: Some(&last) };
    let logits: Tensor = model.logits(&model.hidden(&indices(&ids), &mut pass).index_select(0, &last)).squeeze_dim(0);
    for pair in case["top20"].as_array().expect("a list") {
        let (id, value) = (pair[0].as_i64().expect("an id"), pair[1].as_f64().expect("a logit"));
        let got = logits.double_value(&[id]);
        assert!((got - value).abs() <= LOGITS, "{}: logit of {id} is {got}, expected {value}", case["text"]);
    }
    let expected = ints(&case[greedy]);
    let stop = Stopping { max_new: expected.len(), ends: Vec::new() };
    let decoding = &Decoding::default();
    let generator = Generator { model, adaptation: None, batch: 1, stop, decoding, seed: 0 };
    let answer = generator.run(&[&ids], &undecided).expect("a prompt").remove(0);
    assert_eq!(answer.ids, expected, "{}", case["text"]);
}

#[test]
fn golden_gemma3_weights_logits_and_greedy_tokens() {
    let Some((golden, weights)) = open() else { return };
    check_weights(&golden, &weights);
    let model = registry::load(&weights, Kind::Float, device()).expect("the model");
    assert_eq!(model.parameters(), golden["parameters"].as_i64().expect("a number"));
    for case in golden["cases"].as_array().expect("a list") {
        check_case(model.as_ref(), case, "greedy32");
    }
    check_case(model.as_ref(), &golden["beyond_the_window"], "greedy8");
}
