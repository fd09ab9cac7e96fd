//! Every family of decoders against Hugging Face transformers: logits, hidden states, LoReFT, greedy tokens; for every case
//! that the golden directory holds, whichever those are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reft_core::AdaptSpec;
use reft_core::adaptation::Mode;
use reft_core::hooks::{Collect, Hooks, NoHooks};
use reft_core::layout::{Extent, Layout, Padding};
use reft_core::rng::Seed;
use reft_core::site::{Component, LayerId, Site};
use reft_core::testing::{Tol, assert_close, device, golden_dir, golden_json, golden_tensors, indices, load_golden};
use reft_models::attention::PastKeyValues;
use reft_models::decode::{Decoding, Generator, Stopping, undecided};
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::{Value, json};
use tch::{Kind, Tensor};
use tempfile::TempDir;

const TOLERANCE: Tol = Tol::Absolute(1e-4);

fn folder(name: &str) -> PathBuf {
    golden_dir().join("families/models").join(name)
}

fn load(path: &Path) -> Box<dyn Decoder> {
    let weights = Weights::open(path).unwrap_or_else(|error| panic!("{error}"));
    registry::load(&weights, Kind::Float, device()).unwrap_or_else(|error| panic!("{error}"))
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn ints(value: &Value) -> Vec<i64> {
    list(value).iter().map(|item| item.as_i64().expect("an integer")).collect()
}

/// A family's model under every description of it that there is: the folder, the same weights with the configuration of
/// version 4, the same weights under other names.
fn described(family: &Value) -> Vec<(String, Box<dyn Decoder>)> {
    let name = text(family, "name");
    let mut models = vec![(name.to_owned(), load(&folder(name)))];
    if let Some(older) = family["v4"].as_str().filter(|older| folder(older).is_dir()) {
        let place = TempDir::new().expect("a folder");
        let copy = |from: &Path, file: &str| std::fs::copy(from.join(file), place.path().join(file)).expect("copied");
        copy(&folder(older), "config.json");
        copy(&folder(name), "model.safetensors");
        models.push((older.to_owned(), load(place.path())));
    }
    if let Some(same) = family["same_weights"].as_str().filter(|same| folder(same).is_dir()) {
        models.push((same.to_owned(), load(&folder(same))));
    }
    models
}

/// Calls `check` for every model of every family.
fn for_all(check: impl Fn(&Value, &str, &dyn Decoder)) {
    let index = golden_json("families/index.json");
    let families: Vec<&Value> = list(&index["families"]).iter().collect();
    assert!(!families.is_empty(), "the index names no family");
    for family in families {
        for (name, model) in described(family) {
            check(family, &name, model.as_ref());
        }
    }
}

/// Final hidden states of a pass, with hooks.
fn hidden(model: &dyn Decoder, ids: &Tensor, layout: &Layout, hooks: &dyn Hooks) -> Tensor {
    model.hidden(ids, &mut Pass { layout, hooks, cache: PastKeyValues::None, wanted: None })
}

#[test]
fn golden_families_logits_and_hidden_states() {
    for_all(|family, name, model| {
        assert_eq!(model.dims().layers as u64, family["layers"].as_u64().expect("layers"), "{name}");
        if let Some(parameters) = family["parameters"].as_i64() {
            assert_eq!(model.parameters(), parameters, "{name}");
        }
        for forward in list(&family["forward"]) {
            // A padded batch of these models depends on its longest row in the library; here a sequence is itself.
            let alone = family["limit"].is_null() || text(forward, "rows").starts_with("each row run alone");
            if alone {
                check_forward(name, model, &golden_tensors(&format!("families/{}", text(forward, "file"))));
            }
        }
    });
}

/// Packed, and padded on both sides: the same real rows.
fn check_forward(name: &str, model: &dyn Decoder, golden: &BTreeMap<String, Tensor>) {
    let (b, t) = golden["input_ids"].size2().expect("[B, T]");
    let real = golden["attention_mask"].flatten(0, -1).to_kind(Kind::Bool).nonzero().squeeze_dim(1);
    let lens = Vec::<i64>::try_from(golden["attention_mask"].sum_dim_intlist(1i64, false, Kind::Int64)).expect("[B]");
    let extents: Vec<Extent> = lens.iter().map(|&len| Extent { len, prompt: len }).collect();
    let rows = Vec::<i64>::try_from(golden["input_ids"].flatten(0, -1).index_select(0, &real)).expect("ids");
    let tokens: Vec<&[i64]> = lens
        .iter()
        .scan(0, |at, &len| {
            *at += len as usize;
            Some(&rows[*at - len as usize..*at])
        })
        .collect();
    for padding in [Padding::Packed, Padding::Right, Padding::Left] {
        let layout = Layout::new(&extents, padding);
        let of_span = layout.spans().iter().flat_map(|span| span.row..span.row + span.len);
        let rows = indices(&of_span.collect::<Vec<_>>());
        let expected = |name: &str| golden[name].reshape([b * t, -1]).index_select(0, &real);
        let last = model.dims().layers;
        let outputs = (0..last).map(|layer| Site { layer: LayerId(layer), component: Component::BlockOutput });
        let embedding = Site { layer: LayerId(0), component: Component::Embedding };
        let collect = Collect::new(outputs.chain([embedding]).collect());
        let h = hidden(model, &layout.place(&tokens, device()), &layout, &collect);
        let close = |key: &str, got: &Tensor| {
            assert_close(
                &format!("{name}, {padding:?}: {key}"),
                &got.index_select(0, &rows),
                &expected(key),
                TOLERANCE,
            );
        };
        for (site, state) in collect.into_states() {
            let layer = if site == embedding { 0 } else { site.layer.0 + 1 };
            let state = if layer == last { model.normalise(&state) } else { state };
            let key = format!("hidden_{layer}");
            if golden.contains_key(&key) {
                close(&key, &state);
            }
        }
        close("logits", &model.logits(&h));
    }
}

#[test]
fn golden_families_loreft() {
    for_all(|family, name, model| {
        let case = &family["loreft"];
        if case.is_null() {
            return;
        }
        let golden = golden_tensors(&format!("families/{}", text(case, "file")));
        let prompt = case["prompt_length"].as_i64().expect("a length");
        let tying = if case["tied"].as_bool() == Some(true) { "tied" } else { "untied" };
        let reft = json!({"intervention": case["method"], "rank": case["rank"], "layers": case["layers"],
            "positions": case["positions"], "tying": tying});
        let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft })).expect("a specification");
        let adaptation = spec.build(model.dims(), Seed(0), device()).expect("it fits");
        load_golden(adaptation.as_ref(), &golden, "");
        let step = adaptation.begin(Mode::Eval);
        let ids = golden["input_ids"].flatten(0, -1);
        let layout = Layout::packed(&[Extent { len: ids.numel() as i64, prompt }]);
        let edits = step.hooks(&layout).expect("disjoint positions");
        for (what, hooks, key) in
            [("base", &NoHooks as &dyn Hooks, "base_logits"), ("edited", edits.as_ref(), "logits")]
        {
            let logits = model.logits(&hidden(model, &ids, &layout, hooks));
            assert_close(&format!("{name} {what}"), &logits, &golden[key].squeeze_dim(0), TOLERANCE);
        }
    });
}

#[test]
fn golden_families_greedy_tokens() {
    for_all(|family, name, model| {
        let cases = list(&family["greedy"]);
        let prompts: Vec<Vec<i64>> = cases.iter().map(|case| ints(&case["prompt"])).collect();
        let expected: Vec<Vec<i64>> = cases.iter().map(|case| ints(&case["greedy"])).collect();
        let max_new = expected.iter().map(Vec::len).max().unwrap_or(0);
        let prompts: Vec<&[i64]> = prompts.iter().map(Vec::as_slice).collect();
        // Alone and together, token by token and with guesses that are checked several at once.
        for (batch, lookahead) in [(1, 0), (cases.len(), 8)] {
            let decoding = Decoding { lookahead, ..Decoding::default() };
            let stop = Stopping { max_new, ends: Vec::new() };
            let generator = Generator { model, adaptation: None, batch, stop, decoding: &decoding, seed: 0 };
            let answers = generator.run(&prompts, &undecided).expect("prompts");
            for (index, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
                let what = format!("{name}, prompt {index}, batch {batch}, lookahead {lookahead}");
                assert_eq!(&answer.ids[..expected.len()], expected, "{what}");
            }
        }
    });
}
