//! A real BERT encoder against Hugging Face transformers: tokens and types of texts and pairs, hidden states.

use reft_core::adaptation::Mode;
use reft_core::hooks::{Collect, NoHooks};
use reft_core::layout::{Extent, Layout};
use reft_core::site::{Component, LayerId, Site};
use reft_core::testing::{Tol, assert_close, device, golden_json, golden_tensors, indices};
use reft_models::encoder::{Encoder, EncoderPass};
use reft_models::hub;
use reft_models::tokenizer::Tokenizer;
use reft_models::weights::Weights;
use serde_json::Value;
use tch::Kind;

/// Tolerance of the golden's README.
const TOLERANCE: Tol = Tol::Absolute(1e-4);

fn ints(value: &Value) -> Vec<i64> {
    value.as_array().expect("a list").iter().map(|item| item.as_i64().expect("an integer")).collect()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::open(&hub::locate("minilm").unwrap_or_else(|error| panic!("{error}"))).expect("its tokenizer")
}

#[test]
fn golden_minilm_tokens_types_and_hidden_states() {
    let path = hub::locate("minilm").unwrap_or_else(|error| panic!("{error}"));
    let weights = Weights::open(&path).expect("the model");
    let encoder = Encoder::load(&weights, Kind::Float, device()).expect("the model");
    let (tokenizer, tensors) = (tokenizer(), golden_tensors("minilm/minilm.safetensors"));
    let golden = golden_json("minilm/minilm.json");
    for (index, case) in golden["cases"].as_array().expect("a list").iter().enumerate() {
        let text = case["text"].as_str().expect("a text");
        let typed = tokenizer.encode_pair(text, case["pair"].as_str(), 128).expect("encodes");
        assert_eq!((&typed.ids, &typed.types), (&ints(&case["ids"]), &ints(&case["token_type_ids"])), "{text:?}");
        let len = typed.ids.len() as i64;
        let layout = Layout::packed(&[Extent { len, prompt: len }]);
        let (ids, types) = (indices(&typed.ids), indices(&typed.types));
        let site = |layer| Site { layer: LayerId(layer), component: Component::BlockOutput };
        let collect = Collect::new((0..encoder.dims().layers).map(site).collect());
        let h = encoder.hidden(&ids, Some(&types), &EncoderPass { layout: &layout, hooks: &collect, mode: Mode::Eval });
        let expected = |name: &str| &tensors[&format!("{index}.{name}")];
        let begin = encoder.embed(&ids, Some(&types), &layout, &NoHooks);
        assert_close("first_token_0", &begin.get(0), expected("first_token_0"), TOLERANCE);
        for (site, state) in collect.into_states() {
            let name = format!("first_token_{}", site.layer.0 + 1);
            assert_close(&format!("{text:?} {name}"), &state.get(0), expected(&name), TOLERANCE);
        }
        assert_close("mean", &h.mean_dim(0i64, false, Kind::Float), expected("mean"), TOLERANCE);
    }
}

#[test]
fn of_a_pair_that_is_too_long_the_longer_text_is_cut() {
    let tokenizer = tokenizer();
    let (long, short) = ("one two three four five six seven eight nine ten", "a cat");
    let whole = tokenizer.encode_pair(long, Some(short), 128).expect("encodes");
    assert_eq!(whole.ids.len(), 15);
    let cut = tokenizer.encode_pair(long, Some(short), 9).expect("encodes");
    assert_eq!((cut.ids.len(), cut.types.iter().sum::<i64>()), (9, 3), "the short text and its separator stay");
    assert_eq!(cut.ids[..5], whole.ids[..5]);
    assert_eq!(cut.ids[5..], whole.ids[11..]);
    assert_eq!(tokenizer.encode_pair(long, None, 4).expect("encodes").ids.len(), 4);
}
