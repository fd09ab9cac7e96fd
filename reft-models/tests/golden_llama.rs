//! The Llama port against Hugging Face transformers and pyreft: hidden states, logits, edited logits, greedy tokens.
//! The cases are whatever the golden directory holds for models of this family.

use std::path::PathBuf;

use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::hooks::{Collect, Hooks, NoHooks};
use reft_core::layout::{Extent, Layout, Padding};
use reft_core::rng::Seed;
use reft_core::site::{Component, LayerId, Site};
use reft_core::testing::{Tol, assert_close, device, golden_dir, golden_json, golden_tensors, indices, load_golden};
use reft_models::attention::PastKeyValues;
use reft_models::decode::processors::{History, processors};
use reft_models::decode::settings::{EarlyStopping, Sampling};
use reft_models::decode::{Decoding, Generation, Generator, Stopping, undecided};
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

fn model(name: &str) -> Box<dyn Decoder> {
    let weights = Weights::open(&golden_dir().join("models").join(name)).expect("a golden model");
    registry::load(&weights, Kind::Float, device()).expect("a golden model")
}

fn is_llama(name: &str) -> bool {
    let config = std::fs::read_to_string(golden_dir().join("models").join(name).join("config.json"));
    config.is_ok_and(|text| text.contains("LlamaForCausalLM"))
}

fn ints(value: &Value) -> Vec<i64> {
    value.as_array().expect("a list").iter().map(|item| item.as_i64().expect("an integer")).collect()
}

/// Logits of every row of one packed sequence.
fn logits(model: &dyn Decoder, ids: &[i64], prompt: i64, hooks: &dyn Fn(&Layout) -> Box<dyn Hooks>) -> Tensor {
    let layout = Layout::packed(&[Extent { len: ids.len() as i64, prompt }]);
    let hooks = hooks(&layout);
    let h = model.hidden(
        &indices(ids),
        &mut Pass { layout: &layout, hooks: hooks.as_ref(), cache: PastKeyValues::None, wanted: None },
    );
    model.logits(&h)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(golden_dir().join(folder)).expect("a golden folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths
}

#[test]
fn golden_forward_hidden_states_and_logits() {
    let mut cases = 0;
    for path in files("forward") {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a file name");
        let (model_name, side) = name.rsplit_once('-').expect("MODEL-SIDE");
        if !is_llama(model_name) {
            continue;
        }
        let golden = golden_tensors(&format!("forward/{name}.safetensors"));
        check_forward(model(model_name).as_ref(), &golden, side);
        cases += 1;
    }
    assert!(cases > 0, "no forward cases for this family");
}

/// Packed, and padded on the side that the reference padded: the same real rows.
fn check_forward(model: &dyn Decoder, golden: &std::collections::BTreeMap<String, Tensor>, side: &str) {
    let (b, t) = golden["input_ids"].size2().expect("[B, T]");
    let real = golden["attention_mask"].flatten(0, -1).to_kind(Kind::Bool).nonzero().squeeze_dim(1);
    let lens = Vec::<i64>::try_from(golden["attention_mask"].sum_dim_intlist(1i64, false, Kind::Int64)).expect("[B]");
    let extents: Vec<Extent> = lens.iter().map(|&len| Extent { len, prompt: len }).collect();
    let padding = if side == "left" { Padding::Left } else { Padding::Right };
    let ids = golden["input_ids"].flatten(0, -1);
    for (layout, ids, rows) in [
        (
            Layout::packed(&extents),
            ids.index_select(0, &real),
            Tensor::arange(real.numel() as i64, (Kind::Int64, device())),
        ),
        (Layout::new(&extents, padding), ids.shallow_clone(), real.shallow_clone()),
    ] {
        let last = model.dims().layers;
        let sites = (0..last).map(|layer| Site { layer: LayerId(layer), component: Component::BlockOutput }).collect();
        let collect = Collect::new(sites);
        let h = model
            .hidden(&ids, &mut Pass { layout: &layout, hooks: &collect, cache: PastKeyValues::None, wanted: None });
        let expected = |name: &str| golden[name].reshape([b * t, -1]).index_select(0, &real);
        for (site, state) in collect.into_states() {
            let layer = site.layer.0 + 1;
            let state = if layer == last { model.normalise(&state) } else { state };
            let name = format!("hidden_{layer}");
            assert_close(&name, &state.index_select(0, &rows), &expected(&name), Tol::Absolute(1e-4));
        }
        let logits = model.logits(&h.index_select(0, &rows));
        assert_close("logits", &logits, &expected("logits"), Tol::Absolute(1e-4));
    }
}

/// The specification of a golden case.
fn spec(case: &Value) -> AdaptSpec {
    let tying = if case["tied"].as_bool() == Some(true) { "tied" } else { "untied" };
    let reft = json!({"intervention": case["method"], "rank": case["rank"], "layers": case["layers"],
        "positions": case["positions"], "tying": tying});
    serde_json::from_value(json!({ "reft": reft })).expect("a valid specification")
}

fn adaptation(model: &dyn Decoder, spec: &AdaptSpec) -> Box<dyn Adaptation> {
    spec.build(model.dims(), Seed(0), device()).expect("a specification that fits")
}

#[test]
fn golden_reft_logits_with_interventions() {
    let index = golden_json("reft/index.json");
    let cases: Vec<&Value> = index
        .as_array()
        .expect("a list")
        .iter()
        .filter(|case| is_llama(case["model"].as_str().expect("a name")))
        .collect();
    assert!(!cases.is_empty(), "no cases for this family");
    for case in cases {
        let file = case["file"].as_str().expect("a name");
        let golden = golden_tensors(&format!("reft/{file}"));
        let model = model(case["model"].as_str().expect("a name"));
        let adaptation = adaptation(model.as_ref(), &spec(case));
        load_golden(adaptation.as_ref(), &golden, "");
        let step = adaptation.begin(Mode::Eval);
        let ids = Vec::<i64>::try_from(golden["input_ids"].flatten(0, -1)).expect("ids");
        let prompt = case["prompt_length"].as_i64().expect("a length");
        let base = logits(model.as_ref(), &ids, prompt, &|_| Box::new(NoHooks));
        assert_close(&format!("{file} base"), &base, &golden["base_logits"].squeeze_dim(0), Tol::Absolute(1e-4));
        let layout = Layout::packed(&[Extent { len: ids.len() as i64, prompt }]);
        let hooks = step.hooks(&layout).expect("disjoint positions");
        let pass = &mut Pass { layout: &layout, hooks: hooks.as_ref(), cache: PastKeyValues::None, wanted: None };
        let edited = model.logits(&model.hidden(&indices(&ids), pass));
        assert_close(&format!("{file} edited"), &edited, &golden["logits"].squeeze_dim(0), Tol::Absolute(1e-4));
    }
}

#[test]
fn golden_generation_greedy_tokens() {
    let index = golden_json("generation/index.json");
    let mut runs = 0;
    for case in index["cases"].as_array().expect("a list") {
        let model_name = case["model"].as_str().expect("a name");
        if !is_llama(model_name) {
            continue;
        }
        let model = model(model_name);
        let golden = golden_tensors(&format!("generation/{}.safetensors", case["name"].as_str().expect("a name")));
        for run in case["runs"].as_array().expect("a list") {
            check_generation(model.as_ref(), case, run, &golden);
            runs += 1;
        }
    }
    assert!(runs > 0, "no generation cases for this family");
}

fn check_generation(
    model: &dyn Decoder,
    case: &Value,
    run: &Value,
    golden: &std::collections::BTreeMap<String, Tensor>,
) {
    let prompt = ints(&run["prompt"]);
    let edited = ints(&run["edited_positions"]);
    let adaptation = (!edited.is_empty()).then(|| {
        // The edited positions are a prefix and a suffix of the prompt; their lengths give the specification.
        let prefix = (0..).zip(&edited).take_while(|(index, at)| index == *at).count();
        let suffix = edited.len() - prefix;
        let positions = match (prefix, suffix) {
            (prefix, 0) => format!("f{prefix}"),
            (0, suffix) => format!("l{suffix}"),
            (prefix, suffix) => format!("f{prefix}+l{suffix}"),
        };
        let reft =
            json!({"intervention": "loreft", "rank": case["rank"], "layers": case["layers"], "positions": positions});
        let adaptation = adaptation(model, &serde_json::from_value(json!({ "reft": reft })).expect("valid"));
        load_golden(adaptation.as_ref(), golden, "");
        adaptation
    });
    let step = adaptation.as_ref().map(|adaptation| adaptation.begin(Mode::Eval));
    let answer = |max_new: usize, ends: &[i64], decoding: &Decoding| {
        let stop = Stopping { max_new, ends: ends.to_vec() };
        let generator = Generator { model, adaptation: step.as_deref(), batch: 1, stop, decoding, seed: 0 };
        generator.run(&[&prompt], &undecided).expect("disjoint positions").remove(0)
    };
    let greedy = Decoding::default();
    let expected = ints(&run["greedy"]);
    assert_eq!(answer(expected.len(), &[], &greedy).ids, expected, "{} greedy", case["name"]);
    let ends: Vec<i64> = run["eos"].as_i64().into_iter().filter(|&eos| eos >= 0).collect();
    let until = answer(expected.len(), &ends, &greedy).ids;
    assert_eq!(until, ints(&run["greedy_until_eos"]), "{} until {ends:?}", case["name"]);
    for (key, expected) in run.as_object().expect("an object").iter().filter(|(key, _)| key.contains("_ngram")) {
        let (penalty, ngram) = key.trim_start_matches("greedy_rep").split_once("_ngram").expect("two numbers");
        let (repetition_penalty, no_repeat_ngram) = (penalty.parse().expect(key), ngram.parse().expect(key));
        let decoding = Decoding { repetition_penalty, no_repeat_ngram, ..Decoding::default() };
        let expected = ints(expected);
        assert_eq!(answer(expected.len(), &[], &decoding).ids, expected, "{} {key}", case["name"]);
    }
    check_beams(run, &|beams, ends| answer(16, ends, &beams), &ends);
}

/// The fixtures' beam searches: length penalty 1, early stopping, 16 tokens at most.
fn check_beams(run: &Value, answer: &dyn Fn(Decoding, &[i64]) -> Generation, ends: &[i64]) {
    let scored = |key: &&String| key.starts_with("beam") && !key.ends_with("_score");
    for key in run.as_object().expect("an object").keys().filter(scored) {
        let beams = key.trim_start_matches("beam").parse().expect("a number of beams");
        let early_stopping = EarlyStopping::Switch(true);
        let got = answer(Decoding { beams, early_stopping, ..Decoding::default() }, ends);
        assert_eq!(got.ids, ints(&run[key]), "{key}");
        let expected = run[format!("{key}_score")].as_f64().expect("a score");
        let score = f64::from(got.score.expect("beams are scored"));
        assert!((score - expected).abs() < 1e-4, "{key}: score {score}, expected {expected}");
    }
}

#[test]
fn golden_generation_processors() {
    let golden = golden_tensors("generation/processors.safetensors");
    let ids = golden["previous_ids"].shallow_clone();
    let numbers = |name: &str| -> Vec<f64> { name.split('_').filter_map(|part| part.parse().ok()).collect() };
    for (name, expected) in golden.iter().filter(|(name, _)| !matches!(name.as_str(), "previous_ids" | "logits")) {
        let given = numbers(name);
        let sampling = |temperature, top_k: f64, top_p| Some(Sampling { temperature, top_k: top_k as usize, top_p });
        let plain = Decoding::default();
        let (decoding, ends) = match (name.split('_').next().expect("a name"), given.as_slice()) {
            ("min", &[length, end]) => (Decoding { min_new_tokens: length as usize, ..plain }, vec![end as i64]),
            ("no", &[n]) => (Decoding { no_repeat_ngram: n as usize, ..plain }, vec![]),
            ("repetition", &[repetition_penalty]) => (Decoding { repetition_penalty, ..plain }, vec![]),
            ("temperature", &[t, k, p]) => (Decoding { sample: sampling(t, k, p), ..plain }, vec![]),
            ("temperature", &[t]) => (Decoding { sample: sampling(t, 0.0, 1.0), ..plain }, vec![]),
            ("top", &[k]) if name.contains("_k_") => (Decoding { sample: sampling(1.0, k, 1.0), ..plain }, vec![]),
            ("top", &[p]) => (Decoding { sample: sampling(1.0, 0.0, p), ..plain }, vec![]),
            _ => panic!("an unknown rule: {name}"),
        };
        let rules = processors(&decoding, &ends);
        for row in 0..ids.size()[0] {
            let ids = Vec::<i64>::try_from(ids.get(row)).expect("ids");
            let mut scores = Vec::<f32>::try_from(golden["logits"].get(row)).expect("logits");
            for rule in &rules {
                rule.apply(History { ids: &ids, prompt: 0 }, &mut scores);
            }
            let expected = Vec::<f32>::try_from(expected.get(row)).expect("scores");
            // What must not be said is -inf on both sides.
            let same = |(a, b): (&f32, &f32)| a.total_cmp(b).is_eq() || (a - b).abs() <= 1e-5;
            assert!(scores.iter().zip(&expected).all(same), "{name} row {row}: {scores:?}, expected {expected:?}");
        }
    }
}
