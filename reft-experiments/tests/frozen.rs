//! Losses and gradients with what cannot change kept, or with states computed again, are those of the plain pass.

use reft_core::hooks::Collect;
use reft_core::rng::Seed;
use reft_core::site::{Component, LayerId, Site};
use reft_core::testing::{Tol, assert_close, golden_dir, normal};
use reft_core::{AdaptSpec, Adaptation};
use reft_experiments::data::encode::Example;
use reft_experiments::train::activation_cache::CacheBudget;
use reft_experiments::train::activation_caches::ActivationCaches;
use reft_experiments::train::causal::Causal;
use reft_experiments::train::frozen::FrozenForward;
use reft_experiments::train::learner::{Learner, UpdateRules};
use reft_models::model::Decoder;
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::json;
use tch::{Device, Kind, Tensor};

/// Prompts of 1 to 17 tokens: some are shorter than what is edited. Names do not tell them apart: rows of two files may have the same.
fn examples() -> Vec<Example> {
    let example = |index: i64| {
        let (prompt, answer) = (1 + 4 * index, 1 + index % 3);
        let ids = (0..prompt + answer).map(|position| 3 + (position * 29 + index * 7) % 200).collect();
        Example { ids, prompt: prompt as usize, name: format!("row {}", index % 2), lost: 0 }
    };
    (0..5).map(example).collect()
}

fn refs(examples: &[Example]) -> Vec<&Example> {
    examples.iter().collect()
}

/// Loss and gradient of one batch.
fn gradient(model: &dyn Decoder, spec: &AdaptSpec, budget: Option<(usize, usize)>, recompute: usize) -> (f64, Tensor) {
    let examples = examples();
    let mut adaptation = spec.build(model.dims(), Seed(5), Device::Cpu).expect("it fits");
    let frozen = match budget {
        None => FrozenForward::off(model),
        Some((memory, disk)) => {
            let mut frozen = FrozenForward::new(model, adaptation.as_ref(), 17, CacheBudget { memory, disk });
            let held = frozen.fill(&refs(&examples), 30, &ActivationCaches::default());
            assert_eq!(held.is_some_and(|held| !held.contains(" 0 examples")), memory + disk > 0, "{spec:?}");
            frozen
        }
    };
    let mut objective = Causal::new(model, frozen, 1 << 20);
    objective.recompute = recompute;
    // Recomputation seeds libtorch's generator, which tests in other threads draw from.
    let _draws = Seed(1).seed_libtorch("dropout", 0);
    let learner = Learner::new(&mut objective, adaptation.as_mut(), UpdateRules::default());
    let batch: Vec<&Example> = examples.iter().collect();
    let (loss, tokens) = learner.gradients(&batch).expect("disjoint positions");
    assert_eq!(tokens, examples.iter().map(|example| example.ids.len()).sum::<usize>());
    (loss, adaptation.params().flat().grad())
}

#[test]
fn cached_is_uncached() {
    let path = golden_dir().join("models/llama3");
    let model = registry::load(&Weights::open(&path).expect("a model"), Kind::Float, Device::Cpu).expect("a model");
    let last = model.dims().layers - 1;
    let reft = |positions: &str, layers: serde_json::Value, component: &str| json!({"intervention": "loreft", "rank": 4, "positions": positions, "layers": layers, "component": component});
    let specs = [
        json!({"reft": reft("f3+l2", json!("all"), "block_output")}),
        json!({"reft": reft("l1", json!([last]), "block_output")}),
        json!({"reft": reft("l3", json!("all"), "block_output")}),
        json!({"reft": reft("l2", json!([last]), "mlp_output")}),
        json!({"reft": reft("f2", json!([1]), "attention_output")}),
        json!({"reft": reft("gen", json!([1]), "block_output")}),
        json!({"refts": [reft("l1", json!([1]), "block_output"), reft("l4", json!([last]), "block_input")]}),
        json!({"lora": {"rank": 2, "alpha": 4, "components": ["q", "v", "down"], "layers": [last], "positions": "l2"}}),
        json!({"lora": {"rank": 2, "alpha": 4, "components": ["k", "up"], "layers": [1], "positions": "f2"}}),
        json!({"joint": [{"adapt": {"lora": {"rank": 2, "alpha": 4, "layers": [last], "positions": "all"}}},
            {"adapt": {"reft": reft("l2", json!([1]), "block_output")}}]}),
    ];
    for spec in specs {
        let spec: AdaptSpec = serde_json::from_value(spec).expect("a specification");
        let (loss, grad) = gradient(model.as_ref(), &spec, None, 0);
        for (memory, disk) in [(1 << 20, 0), (0, 1 << 20), (2000, 1 << 20), (0, 0)] {
            let (kept_loss, kept_grad) = gradient(model.as_ref(), &spec, Some((memory, disk)), 0);
            assert!((kept_loss - loss).abs() < 1e-5, "{spec:?}: loss {kept_loss}, uncached {loss}");
            assert_close(&format!("{spec:?}, {memory} and {disk} bytes"), &kept_grad, &grad, Tol::F32);
        }
        for (every, budget) in [(1, None), (2, None), (3, Some((1 << 20, 0))), (9, None)] {
            let (again_loss, again_grad) = gradient(model.as_ref(), &spec, budget, every);
            assert!((again_loss - loss).abs() < 1e-5, "{spec:?}: loss {again_loss} recomputed, {loss} kept");
            assert_close(&format!("{spec:?}, recomputed by {every}"), &again_grad, &grad, Tol::F32);
        }
    }
}

fn loreft(model: &dyn Decoder, rank: i64, positions: &str, layer: usize) -> Box<dyn Adaptation> {
    let reft = json!({"intervention": "loreft", "rank": rank, "positions": positions, "layers": [layer]});
    let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft })).expect("a specification");
    spec.build(model.dims(), Seed(5), Device::Cpu).expect("it fits")
}

/// Gradient of LoReFT at these positions and layers, the contents of the LRU cache used; and where they came from.
fn from_caches(
    model: &dyn Decoder,
    caches: &ActivationCaches,
    rank: i64,
    positions: &str,
    layer: usize,
) -> (Tensor, String) {
    let mut adaptation = loreft(model, rank, positions, layer);
    let (examples, budget) = (examples(), CacheBudget { memory: 1 << 20, disk: 0 });
    let mut frozen = FrozenForward::new(model, adaptation.as_ref(), 17, budget);
    let reserved = frozen.reserve(&refs(&examples), 30, caches);
    let held = frozen.fill(&refs(&examples), 30, caches).expect("it pays");
    assert_eq!(reserved == 0, held.contains("earlier run"), "{held}: {reserved} bytes are new");
    let mut objective = Causal::new(model, frozen, 1 << 20);
    let batch: Vec<&Example> = examples.iter().collect();
    Learner::new(&mut objective, adaptation.as_mut(), UpdateRules::default())
        .gradients(&batch)
        .expect("disjoint positions");
    (adaptation.params().flat().grad(), held)
}

#[test]
fn runs_share_what_neither_can_change_and_nothing_else() {
    let path = golden_dir().join("models/llama3");
    let model = registry::load(&Weights::open(&path).expect("a model"), Kind::Float, Device::Cpu).expect("a model");
    let caches = ActivationCaches::default();
    // Each rank, position and layer once alone and once after the others: equal to the last bit.
    let cases = [(4, "l1", 1, false), (2, "l1", 1, true), (4, "l2", 1, false), (4, "l1", 0, false), (4, "l1", 1, true)];
    for (rank, positions, layer, shared) in cases {
        let (alone, _) = from_caches(model.as_ref(), &ActivationCaches::default(), rank, positions, layer);
        let (together, held) = from_caches(model.as_ref(), &caches, rank, positions, layer);
        assert_eq!(held.contains("earlier run"), shared, "rank {rank}, {positions}, layer {layer}: {held}");
        assert_close(&held, &together, &alone, Tol::Exact);
    }
    // Other tokens under the same names are other rows.
    let mut others = examples();
    others[3].ids[2] += 1;
    let adaptation = loreft(model.as_ref(), 4, "l1", 1);
    let frozen = FrozenForward::new(model.as_ref(), adaptation.as_ref(), 17, CacheBudget { memory: 1 << 20, disk: 0 });
    assert_eq!(frozen.reserve(&refs(&examples()), 30, &caches), 0);
    assert!(frozen.reserve(&refs(&others), 30, &caches) > 0);
}

/// Dropout masks of the backward pass are those of the forward pass: the gradient is that of the loss as it was computed.
#[test]
fn recomputed_states_drop_the_same_coordinates() {
    let path = golden_dir().join("models/llama3");
    let model = registry::load(&Weights::open(&path).expect("a model"), Kind::Float, Device::Cpu).expect("a model");
    let reft = json!({"intervention": "direft", "rank": 4, "positions": "f3+l3", "dropout": {"p": 0.3}});
    let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft })).expect("a specification");
    let mut adaptation = spec.build(model.dims(), Seed(5), Device::Cpu).expect("it fits");
    let examples = examples();
    let batch: Vec<&Example> = examples.iter().collect();
    let start = adaptation.params().flat().detach().copy();
    let direction = normal(&start.size(), 8);
    let mut at = |along: f64| {
        adaptation.params_mut().load(&(&start + &direction * along));
        adaptation.params_mut().zero_grad();
        let _draws = Seed(1).seed_libtorch("dropout", 0);
        let mut objective = Causal::new(model.as_ref(), FrozenForward::off(model.as_ref()), 1 << 20);
        objective.recompute = 1;
        let learner = Learner::new(&mut objective, adaptation.as_mut(), UpdateRules::default());
        let (loss, _) = learner.gradients(&batch).expect("disjoint positions");
        (loss, (adaptation.params().flat().grad() * &direction).sum(Kind::Double).double_value(&[]))
    };
    let step = 2e-3;
    let numeric = (at(step).0 - at(-step).0) / (2.0 * step);
    let analytic = at(0.0).1;
    assert!(
        (numeric - analytic).abs() < 0.02 * analytic.abs().max(0.1),
        "{numeric} by differences, {analytic} by backward"
    );
}

/// The cached pass shows hooks the very tensors of the plain pass, for the tokens and blocks that it runs.
#[test]
fn hooks_see_the_same_tensors_with_and_without_the_cache() {
    let path = golden_dir().join("models/llama3");
    let model = registry::load(&Weights::open(&path).expect("a model"), Kind::Float, Device::Cpu).expect("a model");
    let examples = examples();
    let batch: Vec<&Example> = examples.iter().collect();
    for (layer, component, positions) in [(1, "block_output", "l1"), (1, "block_input", "l2"), (0, "embedding", "all")]
    {
        let reft = json!({"intervention": "loreft", "rank": 2, "positions": positions, "layers": [layer], "component": component});
        let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft })).expect("a specification");
        let adaptation = spec.build(model.dims(), Seed(5), Device::Cpu).expect("it fits");
        let visits = |frozen: &FrozenForward<'_>| {
            let layers = layer..model.dims().layers;
            let site = |layer, component| Site { layer: LayerId(layer), component };
            let inner = layers.clone().flat_map(|at| Component::ALL.map(|component| site(at, component)));
            let collect =
                Collect::new(inner.filter(|at| at.layer.0 > layer || at.component == adapted(component)).collect());
            let split = frozen.split(&batch);
            let all = Tensor::arange(split.layout.rows(), (Kind::Int64, Device::Cpu));
            let _ = split.blocks(model.as_ref(), split.enter(&collect), split.range(model.as_ref()), &collect, &all);
            let ends: Vec<i64> = split.layout.spans().iter().map(|span| span.row + span.len).collect();
            (collect.into_visits(), ends)
        };
        let mut kept =
            FrozenForward::new(model.as_ref(), adaptation.as_ref(), 17, CacheBudget { memory: 1 << 20, disk: 0 });
        kept.fill(&refs(&examples), 30, &ActivationCaches::default());
        let ((cached, ends), (plain, plain_ends)) = (visits(&kept), visits(&FrozenForward::off(model.as_ref())));
        assert_eq!(cached.keys().collect::<Vec<_>>(), plain.keys().collect::<Vec<_>>());
        for (site, (x, y)) in &cached {
            // The last token of every sequence is in both passes.
            let last = |t: &Tensor, ends: &[i64]| t.index_select(0, &(Tensor::from_slice(ends) - 1));
            let (plain_x, plain_y) = &plain[site];
            assert_close(&format!("{site}: x"), &last(x, &ends), &last(plain_x, &plain_ends), Tol::F32.times(10.0));
            assert_close(&format!("{site}: y"), &last(y, &ends), &last(plain_y, &plain_ends), Tol::F32.times(10.0));
        }
    }
}

fn adapted(name: &str) -> Component {
    Component::ALL.into_iter().find(|component| component.name() == name).expect("a component")
}
