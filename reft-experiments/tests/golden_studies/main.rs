//! Every case of the golden studies (`studies/`): interchange, DAS, steering vectors, composed subspaces, the constant edit,
//! RED, collecting.

#[path = "../support/golden.rs"]
mod golden;

mod collect;
mod composition;
mod das;
mod interchange;
mod red;
mod steering;

use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Step};
use reft_core::hooks::Hooks;
use reft_core::layout::{Extent, Layout};
use reft_core::rng::Seed;
use reft_core::testing::{Tol, golden_dir};
use reft_models::attention::PastKeyValues;
use reft_models::decode::{Decoding, Generator, Stopping};
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::Value;
use tch::{Device, Kind, Tensor, no_grad};

/// Logits, states, vectors, gradients, losses: the golden's README.
const CLOSE: Tol = Tol::Absolute(1e-4);
/// Tensors after training.
const TRAINED: Tol = Tol::Absolute(1e-3);

fn model(index: &Value) -> Box<dyn Decoder> {
    let folder = golden_dir().join("models").join(text(index, "model"));
    registry::load(&Weights::open(&folder).expect("a model"), Kind::Float, Device::Cpu).expect("a model")
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} of {value}"))
}

/// A list that a test must not find empty.
fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    let list = value[key].as_array().unwrap_or_else(|| panic!("{key} of {value}"));
    assert!(!list.is_empty(), "{key} is empty");
    list
}

fn integers(value: &Value) -> Vec<i64> {
    value.as_array().expect("a list").iter().map(|number| number.as_i64().expect("an integer")).collect()
}

fn ids(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor).expect("token ids")
}

fn build(spec: Value, model: &dyn Decoder) -> Box<dyn Adaptation> {
    let spec: AdaptSpec = serde_json::from_value(spec).expect("a specification");
    spec.build(model.dims(), Seed(0), Device::Cpu).expect("it fits")
}

/// Puts values into a tensor of an adaptation, by its name.
fn put(adaptation: &dyn Adaptation, name: &str, values: &Tensor) {
    let named = adaptation.named();
    let found = named.iter().find(|named| named.name == name);
    let known = || named.iter().map(|named| named.name.clone()).collect::<Vec<_>>();
    let found = found.unwrap_or_else(|| panic!("{name} is none of {:?}", known()));
    no_grad(|| found.tensor.shallow_clone().copy_(values));
}

/// Logits of every row of a layout.
fn run(model: &dyn Decoder, layout: &Layout, ids: &[&[i64]], hooks: &dyn Hooks) -> Tensor {
    let mut pass = Pass { layout, hooks, cache: PastKeyValues::None, wanted: None };
    no_grad(|| model.logits(&model.hidden(&layout.place(ids, Device::Cpu), &mut pass)))
}

/// Logits of one prompt.
fn prompt_logits(model: &dyn Decoder, ids: &[i64], step: &dyn Step) -> Tensor {
    let layout = Layout::packed(&[Extent { len: ids.len() as i64, prompt: ids.len() as i64 }]);
    run(model, &layout, &[ids], step.hooks(&layout).expect("disjoint").as_ref())
}

/// Greedy tokens after each prompt, as many as asked for.
fn greedy(model: &dyn Decoder, prompts: &[Vec<i64>], step: Option<&dyn Step>, count: usize) -> Vec<Vec<i64>> {
    let decoding = Decoding::default();
    let stop = Stopping { max_new: count, ends: Vec::new() };
    let generator = Generator { model, adaptation: step, batch: 4, stop, decoding: &decoding, seed: 0 };
    let prompts: Vec<&[i64]> = prompts.iter().map(Vec::as_slice).collect();
    let answers = generator.run(&prompts, &|_, _| false).expect("answers");
    answers.into_iter().map(|answer| answer.ids).collect()
}
