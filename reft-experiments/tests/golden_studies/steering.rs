//! Vectors from pairs of texts, and what a model says with them.

use reft_core::adaptation::Mode;
use reft_core::positions::Positions;
use reft_core::reading::ReadingMethod;
use reft_core::site::{LayerId, Site};
use reft_core::testing::{assert_close, golden_json, golden_tensors};
use reft_experiments::collect::{Keep, StateRequest};
use reft_models::model::Decoder;
use serde_json::{Value, json};
use tch::Tensor;

use super::golden::Tensors;
use super::{CLOSE, build, greedy, ids, integers, list, model, number, prompt_logits, put, text};

const LAST: Positions = Positions::Ends { prefix: 0, suffix: 1 };

/// States of one text at some positions.
fn states(model: &dyn Decoder, site: Site, positions: Positions, ids: &[i64]) -> Tensor {
    let wanted = StateRequest { sites: vec![site], positions, keep: Keep::Tokens };
    wanted.of(model, None, &[ids]).expect("no edits").at.remove(0).1
}

fn site(index: &Value, layer: usize) -> Site {
    let component = serde_json::from_value(index["component"].clone()).expect("a component");
    Site { layer: LayerId(layer), component }
}

#[test]
fn vectors_of_every_layer_from_pairs() {
    let index = golden_json("studies/steering/index.json");
    let golden = golden_tensors(&format!("studies/steering/{}", text(&index, "file")));
    let model = model(&index);
    let pairs = index["pairs"].as_u64().expect("a number");
    let swaps: Vec<bool> = ids(&golden["swaps"]).into_iter().map(|swap| swap != 0).collect();
    let layers: Vec<usize> =
        golden.keys().filter_map(|name| name.strip_prefix("layer")?.strip_suffix(".positive")?.parse().ok()).collect();
    assert!(!layers.is_empty(), "no layers");
    for layer in layers {
        let of_side = |side: &str| {
            let state = |pair| {
                states(model.as_ref(), site(&index, layer), LAST, &ids(&golden[&format!("pair{pair}.{side}_ids")]))
            };
            Tensor::cat(&(0..pairs).map(state).collect::<Vec<_>>(), 0)
        };
        let sides = ["positive", "negative"].map(of_side);
        let expected = |name: &str| &golden[&format!("layer{layer}.{name}")];
        assert_close("positive", &sides[0], expected("positive"), CLOSE);
        assert_close("negative", &sides[1], expected("negative"), CLOSE);
        let first = sides.each_ref().map(|states| states.narrow(0, 0, 1));
        for (name, reading, [positive, negative]) in [
            ("activation_addition", ReadingMethod::Difference, &first),
            ("mean_difference", ReadingMethod::Difference, &sides),
            ("pca", ReadingMethod::Pca, &sides),
            ("pca_swapped", ReadingMethod::PcaSwapped, &sides),
            ("pca_uncentred", ReadingMethod::PcaUncentred, &sides),
        ] {
            let vector = reading.vector(positive, negative, &swaps).expect("a direction");
            assert_close(&format!("layer {layer} {name}"), &vector, expected(name), CLOSE);
        }
    }
}

/// The positions of a case as they are written here; a vector for each of the first tokens is untied.
fn positions(case: &Value, golden: &Tensors) -> (String, &'static str) {
    let tied = match text(case, "positions") {
        "last" => "l1",
        "new" => "gen",
        "last+new" => "l1+gen",
        same @ ("prompt" | "all") => same,
        first => {
            assert!(first.starts_with("the first"), "{first}");
            return (format!("f{}", golden["sequence"].size()[0]), "per_position");
        }
    };
    (tied.to_owned(), "tied")
}

fn check(case: &Value, index: &Value, golden: &Tensors, model: &dyn Decoder) {
    let name = text(case, "name");
    let (positions, tying) = positions(case, golden);
    let spec = json!({"reft": {"intervention": {"steer": {"operator": case["operator"]}}, "rank": 1,
        "layers": case["layers"], "component": index["component"], "positions": positions, "tying": tying,
        "strength": case["coefficient"]}});
    let adaptation = build(spec, model);
    for named in adaptation.named() {
        let parts: Vec<&str> = named.name.split('.').collect();
        let vector = match parts[2].strip_prefix("first") {
            Some(row) => golden["sequence"].get(row.parse().expect("a number")),
            None => golden[&format!("layer{}.{}", parts[1], text(case, "vector"))].shallow_clone(),
        };
        put(adaptation.as_ref(), &named.name, &vector);
    }
    let step = adaptation.begin(Mode::Eval);
    let tokens = list(case, "tokens");
    let prompts: Vec<Vec<i64>> = (0..tokens.len()).map(|prompt| ids(&golden[&format!("prompt{prompt}.ids")])).collect();
    for (place, prompt) in prompts.iter().enumerate() {
        if let Some(expected) = golden.get(&format!("prompt{place}.{name}.logits")) {
            assert_close(name, &prompt_logits(model, prompt, step.as_ref()), expected, CLOSE);
        }
    }
    let expected: Vec<Vec<i64>> = tokens.iter().map(integers).collect();
    assert_eq!(greedy(model, &prompts, Some(step.as_ref()), expected[0].len()), expected, "{name}");
    assert!(number(case, "coefficient").abs() > 0.0);
}

#[test]
fn what_is_said_with_every_vector_operator_and_position() {
    let index = golden_json("studies/steering/index.json");
    let golden = golden_tensors(&format!("studies/steering/{}", text(&index, "file")));
    let model = model(&index);
    let base: Vec<Vec<i64>> = list(&index, "base_tokens").iter().map(integers).collect();
    let prompts: Vec<Vec<i64>> = (0..base.len()).map(|prompt| ids(&golden[&format!("prompt{prompt}.ids")])).collect();
    assert_eq!(greedy(model.as_ref(), &prompts, None, base[0].len()), base);
    for case in list(&index, "cases") {
        check(case, &index, &golden, model.as_ref());
    }
}

#[test]
fn a_vector_for_each_token_is_the_difference_of_whole_sequences() {
    let index = golden_json("studies/steering/index.json");
    let golden = golden_tensors(&format!("studies/steering/{}", text(&index, "file")));
    let model = model(&index);
    let cases = list(&index, "cases").iter().filter(|case| text(case, "vector") == "sequence");
    for case in cases {
        let layer = integers(&case["layers"])[0] as usize;
        let rows = golden["sequence"].size()[0];
        let side = |side: &str| {
            let ids = ids(&golden[&format!("pair0.{side}_ids")]);
            states(model.as_ref(), site(&index, layer), Positions::Prompt, &ids).narrow(0, 0, rows)
        };
        assert_close("sequence", &(side("positive") - side("negative")), &golden["sequence"], CLOSE);
    }
}
