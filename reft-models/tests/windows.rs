//! Layers with a window keep what the window needs: less memory, the same answers, greedy and by beams.

use reft_core::hooks::NoHooks;
use reft_core::layout::{Extent, Layout};
use reft_core::site::LayerId;
use reft_core::testing::{device, golden_dir, golden_json, indices};
use reft_models::attention::PastKeyValues;
use reft_models::decode::settings::EarlyStopping;
use reft_models::decode::{Decoding, Generation, Generator, Stopping, undecided};
use reft_models::kv_cache::{KvCache, SlotSizes};
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::weights::Weights;
use tch::{Kind, Tensor};

const MAX_NEW: usize = 30;

/// The golden models of which a layer has a window, on the kernels and (f64) by explicit products.
fn models() -> Vec<(String, Box<dyn Decoder>)> {
    let index = golden_json("families/index.json");
    let names = index["families"].as_array().expect("a list").iter().filter_map(|family| family["name"].as_str());
    let load = |name: &str, kind: Kind| {
        let weights = Weights::open(&golden_dir().join("families/models").join(name)).expect("a golden model");
        (format!("{name}, {kind:?}"), registry::load(&weights, kind, device()).expect("a golden model"))
    };
    let both = names.flat_map(|name| [load(name, Kind::Float), load(name, Kind::Double)]);
    let slides = |model: &dyn Decoder| (0..model.dims().layers).any(|layer| model.window(LayerId(layer)).is_some());
    both.filter(|(_, model)| slides(model.as_ref())).collect()
}

/// Prompts with a common beginning, shorter and longer than windows.
fn prompts() -> Vec<Vec<i64>> {
    [3, 9, 25]
        .map(|len: i64| (0..6 + len).map(|at| if at < 6 { 50 + at } else { 3 + at * (37 + len) % 97 }).collect())
        .into()
}

/// Logits of every token, without a cache.
fn logits(model: &dyn Decoder, ids: &[i64]) -> Tensor {
    let layout = Layout::packed(&[Extent { len: ids.len() as i64, prompt: ids.len() as i64 }]);
    let mut pass = Pass { layout: &layout, hooks: &NoHooks, cache: PastKeyValues::None, wanted: None };
    tch::no_grad(|| model.logits(&model.hidden(&indices(ids), &mut pass)))
}

fn answers(model: &dyn Decoder, decoding: &Decoding) -> Vec<Generation> {
    let prompts = prompts();
    let prompts: Vec<&[i64]> = prompts.iter().map(Vec::as_slice).collect();
    let stop = Stopping { max_new: MAX_NEW, ends: vec![7] };
    Generator { model, adaptation: None, batch: 6, stop, decoding, seed: 3 }.run(&prompts, &undecided).expect("prompts")
}

#[test]
fn a_cache_of_windows_gives_the_answers_of_whole_passes() {
    let models = models();
    assert!(!models.is_empty(), "no golden model has a window");
    for (name, model) in models {
        for lookahead in [0, 6] {
            let decoding = Decoding { lookahead, ..Decoding::default() };
            for (prompt, answer) in prompts().iter().zip(answers(model.as_ref(), &decoding)) {
                let all = logits(model.as_ref(), &[prompt.as_slice(), &answer.ids].concat());
                let said = all.narrow(0, prompt.len() as i64 - 1, answer.ids.len() as i64);
                let best = Vec::<i64>::try_from(said.argmax(-1, false)).expect("ids");
                assert_eq!(answer.ids, best, "{name}, lookahead {lookahead}");
            }
        }
        let early_stopping = EarlyStopping::Switch(false);
        let beams = Decoding { beams: 3, early_stopping, ..Decoding::default() };
        for (prompt, answer) in prompts().iter().zip(answers(model.as_ref(), &beams)) {
            let all = logits(model.as_ref(), &[prompt.as_slice(), &answer.ids].concat());
            let said = all.narrow(0, prompt.len() as i64 - 1, answer.ids.len() as i64).log_softmax(-1, Kind::Double);
            let of_token = said.gather(1, &indices(&answer.ids).unsqueeze(1), false);
            let (mean, score) =
                (of_token.mean(Kind::Double).double_value(&[]), f64::from(answer.score.expect("a score")));
            assert!((mean - score).abs() < 1e-4, "{name}: beams say {score}, a whole pass {mean}");
        }
    }
}

#[test]
fn layers_with_a_window_take_memory_for_the_window_alone() {
    for (name, model) in models() {
        let dims = model.dims();
        let windows: Vec<_> = (0..dims.layers).map(|layer| model.window(LayerId(layer))).collect();
        let bytes = |room: i64| {
            let places = SlotSizes { room, guessed: 4 };
            KvCache::bounded(dims, &windows, (3 * room, places), (Kind::Float, device())).bytes() as i64
        };
        let token = dims.kv_heads * dims.head_width * 2 * 4;
        let full = windows.iter().filter(|window| window.is_none()).count() as i64;
        assert_eq!(bytes(2000) - bytes(1000), 3 * 1000 * full * token, "{name}: only layers without a window grow");
    }
}
