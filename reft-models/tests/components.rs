//! What every hook point hands to hooks: `x` and `y` as `Component` defines them, in every port, and against the goldens.

use std::cell::RefCell;
use std::collections::BTreeMap;

use reft_core::adaptation::Mode;
use reft_core::hooks::{Collect, Hooks, KeyValuePrefix, NoHooks};
use reft_core::layout::{Extent, Layout};
use reft_core::site::Component::{
    AttentionOutput, BlockInput, BlockOutput, Embedding, Gate, HeadOutput, Key, MlpHidden, MlpOutput, Query, Up, Value,
};
use reft_core::site::{Component, Dims, LayerId, LinearWeight, Site};
use reft_core::testing::{Tol, assert_close, golden_dir, golden_json, golden_tensors};
use reft_models::attention::PastKeyValues;
use reft_models::encoder::{Encoder, EncoderPass};
use reft_models::kv_cache::KvCache;
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::weights::Weights;
use tch::{Device, Kind, Tensor};

/// Every output of a linear map, before the model's norm of it, by site.
#[derive(Default)]
struct Maps(RefCell<BTreeMap<Site, Tensor>>);

impl Hooks for Maps {
    fn visit(&self, _: Site, _: &Tensor, y: Tensor) -> Tensor {
        y
    }

    fn visit_map(&self, at: Site, _: &Tensor, y: Tensor) -> Tensor {
        self.0.borrow_mut().insert(at, y.shallow_clone());
        y
    }

    fn wants(&self, at: Site) -> bool {
        at.component.is_linear()
    }
}

const IDS: [i64; 7] = [5, 9, 14, 20, 31, 6, 8];

/// Every visit of one layer, `x` and `y` by component; the embedding's is layer 0's.
type Visits = BTreeMap<Component, (Tensor, Tensor)>;

/// Outputs of linear maps of one layer.
type Outputs = BTreeMap<Component, Tensor>;

fn decoder(folder: &str) -> Box<dyn Decoder> {
    let weights = Weights::open(&golden_dir().join(folder)).expect("a golden model");
    registry::load(&weights, Kind::Float, Device::Cpu).expect("a golden model")
}

fn sites(layer: usize, dims: &Dims) -> Vec<Site> {
    let layer_of = |component| if component == Embedding { LayerId(0) } else { LayerId(layer) };
    let there = Component::ALL.into_iter().filter(|component| component.exists(dims));
    there.map(|component| Site { layer: layer_of(component), component }).collect()
}

fn collected(layer: usize, dims: &Dims, run: impl Fn(&dyn Hooks)) -> (Visits, Outputs) {
    let (collect, maps) = (Collect::new(sites(layer, dims)), Maps::default());
    run(&collect);
    run(&maps);
    let visits = collect.into_visits().into_iter().map(|(site, visit)| (site.component, visit)).collect();
    let of_layer = maps.0.into_inner().into_iter().filter(|(site, _)| site.layer.0 == layer);
    (visits, of_layer.map(|(site, output)| (site.component, output)).collect())
}

fn of_decoder(model: &dyn Decoder, ids: &Tensor, layer: usize) -> (Visits, Outputs) {
    let len = ids.numel() as i64;
    let layout = Layout::packed(&[Extent { len, prompt: len }]);
    collected(layer, model.dims(), |hooks| {
        let _ = model.hidden(ids, &mut Pass { layout: &layout, hooks, cache: PastKeyValues::None, wanted: None });
    })
}

/// Checks that `x` and `y` are what the definition says, by the weights that the model lends.
fn check(
    name: &str,
    dims: &Dims,
    (visits, outputs): &(Visits, Outputs),
    weight: impl Fn(Component) -> Option<LinearWeight>,
) {
    let expected = Component::ALL.into_iter().filter(|component| component.exists(dims)).count();
    assert_eq!(visits.len(), expected, "{name}: every component is visited");
    let rows = IDS.len() as i64;
    for (component, (x, y)) in visits {
        let what = format!("{name}: {component}");
        assert_eq!(y.size(), [rows, component.width(dims)], "{what}: y");
        match component.input_width(dims) {
            None => assert_eq!(x.size(), [rows], "{what}: x"),
            Some(width) => assert_eq!(x.size(), [rows, width], "{what}: x"),
        }
        let lent = weight(*component);
        assert_eq!(lent.is_some(), component.is_linear() && component.exists(dims), "{what}: a weight");
        if let Some(LinearWeight { weight, bias }) = lent {
            let output = &outputs[component];
            assert_close(&what, output, &x.linear(&weight, bias.as_ref()), Tol::F32.times(10.0));
            // Behind a norm of the model's `y` is no linear map of `x`.
            assert!(what.contains("norms") || y.equal(output), "{what}: `y` is what the map gives");
        }
    }
    let x = |component| &visits[&component].0;
    let y = |component| &visits[&component].1;
    for stream in [BlockInput, BlockOutput] {
        assert_close(&format!("{name}: {stream}"), x(stream), y(stream), Tol::Exact);
    }
    assert_close("down's input", x(MlpOutput), y(MlpHidden), Tol::Exact);
    assert_close("the output projection's input", x(AttentionOutput), y(HeadOutput), Tol::Exact);
    for component in [Key, Value, HeadOutput] {
        assert_close("attention's input", x(component), x(Query), Tol::Exact);
    }
    assert_close("the MLP's input", x(Up), x(MlpHidden), Tol::Exact);
    if Gate.exists(dims) {
        assert_close("the MLP's input", x(Gate), x(Up), Tol::Exact);
        let gated = |gate: Tensor| close(&(gate * y(Up)), y(MlpHidden));
        let kinds = [y(Gate).silu(), y(Gate).gelu("tanh"), y(Gate).gelu("none")];
        assert!(kinds.into_iter().any(gated), "{name}: gated");
    } else {
        let activated = ["none", "tanh"].map(|kind| close(&y(Up).gelu(kind), y(MlpHidden)));
        assert!(activated.contains(&true), "{name}: activated");
    }
}

fn close(one: &Tensor, other: &Tensor) -> bool {
    (one - other).abs().max().double_value(&[]) < 1e-5
}

/// The golden models: of the Llama goldens, and one of each family, marked where it normalises what linear layers give.
fn decoders() -> Vec<(String, String)> {
    let llamas = ["llama1", "llama3", "llama-tied"].map(|name| (name.to_owned(), format!("models/{name}")));
    let index = golden_json("families/index.json");
    let family = |family: &serde_json::Value| {
        let name = family["name"].as_str().expect("a name");
        let normed = ["qwen3", "gemma2", "gemma3_text", "olmo2"].iter().any(|with| family["model_type"] == *with);
        (format!("{name}{}", if normed { ", norms" } else { "" }), format!("families/models/{name}"))
    };
    llamas.into_iter().chain(index["families"].as_array().expect("a list").iter().map(family)).collect()
}

#[test]
fn x_and_y_are_what_every_component_says_in_every_decoder() {
    for (name, folder) in decoders() {
        let (name, model) = (name.as_str(), decoder(&folder));
        let both = of_decoder(model.as_ref(), &Tensor::from_slice(&IDS), 1);
        check(name, model.dims(), &both, |component| model.weight(Site { layer: LayerId(1), component }));
        let (visits, _) = both;
        let sum = &visits[&BlockInput].1 + &visits[&AttentionOutput].1 + &visits[&MlpOutput].1;
        assert_close(name, &visits[&BlockOutput].1, &sum, Tol::F32);
    }
}

#[test]
fn x_and_y_are_what_every_component_says_in_every_encoder() {
    // The third is the repository's alone.
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/models/modernbert");
    for name in ["bert", "roberta", own] {
        let weights = Weights::open(&golden_dir().join("models").join(name)).expect("a golden model");
        let model = Encoder::load(&weights, Kind::Float, Device::Cpu).expect("a golden model");
        let layout = Layout::packed(&[Extent { len: IDS.len() as i64, prompt: IDS.len() as i64 }]);
        let both = collected(1, model.dims(), |hooks| {
            let reading = EncoderPass { layout: &layout, hooks, mode: Mode::Eval };
            let _ = model.hidden(&Tensor::from_slice(&IDS), None, &reading);
        });
        check(name, model.dims(), &both, |component| model.weight(Site { layer: LayerId(1), component }));
    }
}

#[test]
fn hooks_of_one_component_change_what_follows_from_it_alone() {
    struct Zero(Site);
    impl Hooks for Zero {
        fn visit(&self, at: Site, _: &Tensor, y: Tensor) -> Tensor {
            if at == self.0 { y.zeros_like() } else { y }
        }
        fn wants(&self, at: Site) -> bool {
            at == self.0
        }
    }
    let model = decoder("models/llama3");
    let layout = Layout::packed(&[Extent { len: IDS.len() as i64, prompt: IDS.len() as i64 }]);
    let hidden = |hooks: &dyn Hooks| {
        let mut pass = Pass { layout: &layout, hooks, cache: PastKeyValues::None, wanted: None };
        model.hidden(&Tensor::from_slice(&IDS), &mut pass)
    };
    let plain = hidden(&NoHooks);
    let zeroed = |component| hidden(&Zero(Site { layer: LayerId(1), component }));
    for component in Component::ALL.into_iter().filter(|&component| component != Embedding) {
        let moved = (zeroed(component) - &plain).abs().max().double_value(&[]);
        assert!(moved > 1e-3, "{component}: zeroed, and the output moved by {moved}");
    }
    // Without either factor, or without the down projection, the MLP adds nothing.
    for component in [Gate, Up, MlpHidden] {
        assert_close(component.name(), &zeroed(component), &zeroed(MlpOutput), Tol::F32);
    }
    assert_close("values", &zeroed(Value), &zeroed(AttentionOutput), Tol::F32);
}

#[test]
fn golden_components_of_families() {
    let index = golden_json("families/index.json");
    let golden = golden_tensors(&format!("families/{}", index["components"]["file"].as_str().expect("a file")));
    let names = [
        (BlockInput, "block_input"),
        (Query, "query"),
        (Key, "key"),
        (Value, "value"),
        (HeadOutput, "head_output"),
        (AttentionOutput, "attention_output"),
        (Gate, "mlp_gate"),
        (Up, "mlp_up"),
        (MlpHidden, "mlp_hidden"),
        (MlpOutput, "mlp_output"),
        (BlockOutput, "block_output"),
    ];
    let mut checked = 0;
    for (label, model) in index["components"]["models"].as_object().expect("models by label") {
        let folder = format!("families/models/{}", model["model"].as_str().expect("a name"));
        let weights = Weights::open(&golden_dir().join(folder)).expect("a golden model");
        let model = registry::load(&weights, Kind::Float, Device::Cpu).unwrap_or_else(|error| panic!("{error}"));
        for layer in index["components"]["layers"].as_array().expect("layers") {
            let layer = layer.as_u64().expect("a number") as usize;
            let ids = golden[&format!("{label}.input_ids")].flatten(0, -1);
            let (visits, outputs) = of_decoder(model.as_ref(), &ids, layer);
            for (component, name) in [
                (Query, "query_projected"),
                (Key, "key_projected"),
                (AttentionOutput, "attention_projected"),
                (MlpOutput, "mlp_projected"),
            ] {
                let Some(expected) = golden.get(&format!("{label}.layer{layer}.{name}")) else { continue };
                let what = format!("{label}, layer {layer}, {name}");
                assert_close(&what, &outputs[&component], &expected.squeeze_dim(0), Tol::Absolute(1e-4));
                checked += 1;
            }
            for (component, name) in names {
                let Some(expected) = golden.get(&format!("{label}.layer{layer}.{name}")) else { continue };
                let what = format!("{label}, layer {layer}, {component}");
                assert_close(&what, &visits[&component].1, &expected.squeeze_dim(0), Tol::Absolute(1e-4));
                checked += 1;
            }
        }
    }
    assert!(checked > 0, "the index names no component");
}

/// Keys and values of every layer, `[P, L, (key, value), K, E]`.
struct Prefix(Tensor);

impl Hooks for Prefix {
    fn visit(&self, _: Site, _: &Tensor, y: Tensor) -> Tensor {
        y
    }

    fn wants(&self, _: Site) -> bool {
        false
    }

    fn prefix(&self, layer: LayerId) -> Option<KeyValuePrefix> {
        let both = self.0.select(1, layer.0 as i64);
        Some(KeyValuePrefix { keys: both.select(1, 0), values: both.select(1, 1) })
    }
}

impl Prefix {
    fn new(embeddings: &Tensor, dims: &Dims) -> Self {
        Self(embeddings.view([embeddings.size()[0], dims.layers as i64, 2, dims.kv_heads, dims.head_width]))
    }
}

fn logits(model: &dyn Decoder, ids: &[i64], hooks: &dyn Hooks) -> Tensor {
    let layout = Layout::packed(&[Extent { len: ids.len() as i64, prompt: ids.len() as i64 }]);
    let mut pass = Pass { layout: &layout, hooks, cache: PastKeyValues::None, wanted: None };
    model.logits(&model.hidden(&Tensor::from_slice(ids), &mut pass))
}

#[test]
fn golden_prefix_hooks_give_the_logits_of_prefix_tuning() {
    let mut cases = 0;
    for case in golden_json("baselines/cases.json").as_array().expect("a list") {
        let case = case.as_str().or_else(|| case["case"].as_str()).expect("a name");
        let about = golden_json(&format!("baselines/{case}/case.json"));
        if about["method"] != "prefix-tuning" {
            continue;
        }
        let model = decoder(&format!("baselines/models/{}", about["base"].as_str().expect("a base")));
        let tensors = golden_tensors(&format!("baselines/{case}/tensors.safetensors"));
        let adapter = golden_tensors(&format!("baselines/{case}/adapter/adapter_model.safetensors"));
        let prefix = Prefix::new(&adapter["prompt_embeddings"], model.dims());
        let (ids, mask) = (&tensors["input_ids"], &tensors["attention_mask"]);
        for row in 0..ids.size()[0] {
            let len = mask.get(row).sum(Kind::Int64).int64_value(&[]);
            let ids = Vec::<i64>::try_from(ids.get(row).narrow(0, 0, len)).expect("ids");
            let expected = tensors["logits"].get(row).narrow(0, 0, len);
            let got = logits(model.as_ref(), &ids, &prefix);
            assert_close(&format!("{case}, row {row}"), &got, &expected, Tol::Absolute(1e-4));
        }
        cases += 1;
    }
    assert!(cases > 0 || std::env::var_os("REFT_GOLDEN").is_some(), "no prefix-tuning case");
}

#[test]
fn a_prefix_gets_gradients_and_serves_a_growing_cache() {
    let model = decoder("models/llama3");
    let dims = *model.dims();
    let numbers = 3 * dims.layers as i64 * 2 * dims.kv_heads * dims.head_width;
    let embeddings = reft_core::testing::normal(&[3, numbers / 3], 4).set_requires_grad(true);
    let whole = logits(model.as_ref(), &IDS, &Prefix::new(&embeddings, &dims));
    whole.square().mean(Kind::Float).backward();
    let rows = embeddings.grad().view([3 * dims.layers as i64 * 2, -1]).abs().sum_dim_intlist(1i64, false, Kind::Float);
    assert!(rows.min().double_value(&[]) > 0.0, "every key and value row has a gradient");

    let prefix = Prefix::new(&embeddings.detach(), &dims);
    let mut cache = KvCache::new(&dims, LayerId(0), IDS.len() as i64, (Kind::Float, Device::Cpu));
    for (at, id) in IDS.iter().enumerate() {
        let span = reft_core::layout::Span { row: 0, past: at as i64, past_row: 0, len: 1, prompt: 7, adaptation: 0 };
        let layout = Layout::of([span]);
        let mut pass = Pass { layout: &layout, hooks: &prefix, cache: PastKeyValues::Grow(&mut cache), wanted: None };
        let token = tch::no_grad(|| model.logits(&model.hidden(&Tensor::from_slice(&[*id]), &mut pass)));
        assert_close("token by token", &token, &whole.detach().narrow(0, at as i64, 1), Tol::F32.times(10.0));
    }
}
