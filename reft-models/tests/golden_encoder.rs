//! The encoder port against Hugging Face transformers and pyreft: hidden states, class scores, edited class scores.
//! The cases are whatever the golden directory holds for models of this family.

use std::collections::BTreeMap;

use reft_core::AdaptSpec;
use reft_core::adaptation::Mode;
use reft_core::hooks::{Collect, Hooks, NoHooks};
use reft_core::layout::{Extent, Layout, Padding};
use reft_core::rng::Seed;
use reft_core::site::{Component, LayerId, Site};
use reft_core::testing::{Tol, assert_close, device, golden_dir, golden_json, golden_tensors, load_golden};
use reft_models::encoder::{Encoder, EncoderFamily, EncoderPass};
use reft_models::weights::Weights;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

const TOLERANCE: Tol = Tol::Absolute(1e-4);

fn is_encoder(name: &str) -> bool {
    let config: Value = golden_json(&format!("models/{name}/config.json"));
    EncoderFamily::ALL.iter().any(|family| config["model_type"] == family.name())
}

fn model(name: &str) -> Encoder {
    let weights = Weights::open(&golden_dir().join("models").join(name)).expect("a golden model");
    Encoder::load(&weights, Kind::Float, device()).expect("a golden model")
}

#[test]
fn golden_forward_hidden_states_and_class_scores_of_encoders() {
    let mut cases = 0;
    let entries = std::fs::read_dir(golden_dir().join("forward")).expect("a golden folder");
    for path in entries.map(|entry| entry.expect("readable").path()) {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a file name");
        let (model_name, side) = name.rsplit_once('-').expect("MODEL-SIDE");
        if is_encoder(model_name) {
            let padding = if side == "left" { Padding::Left } else { Padding::Right };
            check_forward(&model(model_name), &golden_tensors(&format!("forward/{name}.safetensors")), padding);
            cases += 1;
        }
    }
    assert!(cases > 0, "no forward cases for this family");
}

/// Packed, and padded on the side that the reference padded: the same real rows.
fn check_forward(model: &Encoder, golden: &BTreeMap<String, Tensor>, padding: Padding) {
    let (b, t) = golden["input_ids"].size2().expect("[B, T]");
    let real = golden["attention_mask"].flatten(0, -1).to_kind(Kind::Bool).nonzero().squeeze_dim(1);
    let lens = Vec::<i64>::try_from(golden["attention_mask"].sum_dim_intlist(1i64, false, Kind::Int64)).expect("[B]");
    let extents: Vec<Extent> = lens.iter().map(|&len| Extent { len, prompt: len }).collect();
    let flat = |name: &str| golden.get(name).map(|values| values.flatten(0, -1));
    let expected = |name: &str| golden[name].reshape([b * t, -1]).index_select(0, &real);
    for padding in [Padding::Packed, padding] {
        let layout = Layout::new(&extents, padding);
        let packed = padding == Padding::Packed;
        let rows = if packed { Tensor::arange(real.numel() as i64, (Kind::Int64, device())) } else { real.copy() };
        let place = |values: Tensor| if packed { values.index_select(0, &real) } else { values };
        let ids = place(flat("input_ids").expect("ids"));
        let types = flat("token_type_ids").map(place);
        let sites =
            (0..model.dims().layers).map(|layer| Site { layer: LayerId(layer), component: Component::BlockOutput });
        let collect = Collect::new(sites.collect());
        let begin = model.embed(&ids, types.as_ref(), &layout, &NoHooks);
        assert_close("hidden_0", &begin.index_select(0, &rows), &expected("hidden_0"), TOLERANCE);
        let reading = EncoderPass { layout: &layout, hooks: &collect, mode: Mode::Eval };
        let h = model.hidden(&ids, types.as_ref(), &reading);
        for (site, state) in collect.into_states() {
            let name = format!("hidden_{}", site.layer.0 + 1);
            assert_close(&name, &state.index_select(0, &rows), &expected(&name), TOLERANCE);
        }
        let scores = model.classify(&model.pooled(&h, &layout)).expect("a head");
        assert_close("logits", &scores, &golden["logits"], TOLERANCE);
    }
}

#[test]
fn golden_reft_class_scores_with_interventions() {
    let index = golden_json("reft/index.json");
    let name = |case: &Value| case["model"].as_str().expect("a name").to_owned();
    let cases = index.as_array().expect("a list").iter().filter(|case| is_encoder(&name(case)));
    let mut checked = 0;
    for case in cases {
        let file = case["file"].as_str().expect("a name");
        let golden = golden_tensors(&format!("reft/{file}"));
        let model = model(&name(case));
        let tying = if case["tied"].as_bool() == Some(true) { "tied" } else { "untied" };
        let reft = json!({"intervention": case["method"], "rank": case["rank"], "layers": case["layers"],
            "positions": case["positions"], "tying": tying});
        let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft })).expect("a valid specification");
        let adaptation = spec.build(model.dims(), Seed(0), device()).expect("it fits");
        load_golden(adaptation.as_ref(), &golden, "");
        let step = adaptation.begin(Mode::Eval);
        let ids = golden["input_ids"].flatten(0, -1);
        let len = ids.numel() as i64;
        let layout = Layout::packed(&[Extent { len, prompt: case["prompt_length"].as_i64().expect("a length") }]);
        let scores = |h: &Tensor| model.classify(&model.pooled(h, &layout)).expect("a head");
        let hidden =
            |hooks: &dyn Hooks| model.hidden(&ids, None, &EncoderPass { layout: &layout, hooks, mode: Mode::Eval });
        let base = scores(&hidden(&NoHooks));
        assert_close(&format!("{file} base"), &base, &golden["base_logits"], TOLERANCE);
        let hooks = step.hooks(&layout).expect("disjoint positions");
        let edited = scores(&hidden(hooks.as_ref()));
        assert_close(&format!("{file} edited"), &edited, &golden["logits"], TOLERANCE);
        checked += 1;
    }
    assert!(checked > 0, "no cases for this family");
}
