//! Interventions as a whole: gradients, orthonormality over a long run, counts, disjointness, files.

use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Mode, OverlapError, Step};
use reft_core::adaptations::routed::Routed;
use reft_core::adapter_file::{AdapterError, SavedAdapter, save};
use reft_core::base_model::BaseModel;
use reft_core::hooks::Hooks;
use reft_core::layout::{Extent, Layout, Span};
use reft_core::method::named;
use reft_core::orthonormal::deviation;
use reft_core::rng::Seed;
use reft_core::site::{Component, Dims, LayerId, Mlp, Site};
use reft_core::testing::{Tol, assert_close, device, normal};
use serde_json::{Value, json};
use tch::{Kind, Tensor, no_grad};

const DIMS: Dims =
    Dims { layers: 4, width: 12, heads: 3, kv_heads: 1, head_width: 4, mlp_width: 20, vocab: 30, mlp: Mlp::Gated };

fn spec(value: Value) -> AdaptSpec {
    serde_json::from_value(value).expect("a valid specification")
}

fn reft(method: &str, positions: &str, tying: &str) -> AdaptSpec {
    spec(json!({"reft": {"intervention": method, "rank": 3, "positions": positions, "tying": tying, "layers": [1, 3]}}))
}

fn build(spec: &AdaptSpec) -> Box<dyn Adaptation> {
    spec.build(&DIMS, Seed(1), device()).expect("it fits")
}

fn layout() -> Layout {
    Layout::packed(&[Extent { len: 7, prompt: 5 }, Extent { len: 9, prompt: 6 }])
}

fn site(layer: usize) -> Site {
    Site { layer: LayerId(layer), component: Component::BlockOutput }
}

/// A made-up scalar that depends on every edited state, with fresh gradients left in the flat leaf.
fn objective(adaptation: &dyn Adaptation, gradients: bool) -> f64 {
    let step = adaptation.begin(if gradients { Mode::Train } else { Mode::Eval });
    let mut total = 0.0;
    // Two passes stand for two micro-batches.
    for seed in 0..2 {
        let hooks = step.hooks(&layout()).expect("disjoint");
        let states = [1, 3].map(|layer| {
            let h = normal(&[16, 12], seed);
            hooks.visit(site(layer), &h, h.shallow_clone()) * normal(&[16, 12], 10 + layer as u64)
        });
        let loss = (&states[0].sin() + &states[1].cos()).sum(Kind::Float);
        total += loss.double_value(&[]);
        if gradients {
            loss.backward();
        }
    }
    if gradients {
        step.backprop();
    }
    total
}

#[test]
fn gradients_of_every_method_agree_with_finite_differences() {
    for name in named().filter(|name| !name.phi.as_intervention().takes_source()) {
        for (positions, tying) in [("f2+l2", "tied"), ("f2+l2", "untied"), ("f2+l1", "per_position"), ("all", "tied")] {
            let adaptation = build(&reft(name.key, positions, tying));
            objective(adaptation.as_ref(), true);
            let flat = adaptation.params().flat().shallow_clone();
            let gradient = flat.grad().copy();
            let direction = normal(&[flat.numel() as i64], 99);
            let at = |shift: f64| {
                let moved = &flat + &direction * shift;
                no_grad(|| flat.shallow_clone().copy_(&moved));
                let value = objective(adaptation.as_ref(), false);
                no_grad(|| flat.shallow_clone().copy_(&(&moved - &direction * shift)));
                value
            };
            let difference = (at(2e-3) - at(-2e-3)) / 4e-3;
            let slope = gradient.dot(&direction).double_value(&[]);
            let allowed = 0.01 * slope.abs().max(1.0);
            assert!((difference - slope).abs() < allowed, "{} {positions} {tying}: {slope} {difference}", name.key);
        }
    }
}

#[test]
fn rows_stay_orthonormal_over_a_thousand_steps() {
    let mut adaptation = build(&reft("loreft", "f2+l2", "untied"));
    for step in 0..1000 {
        let noise = normal(&[adaptation.params().count()], step);
        let _ = no_grad(|| adaptation.params().flat().shallow_clone().g_add_(&(noise * 0.02)));
        adaptation.params_mut().retract();
    }
    for named in adaptation.named().iter().filter(|named| named.name.ends_with("basis")) {
        assert!(deviation(&named.tensor) < 1e-5, "{}: {}", named.name, deviation(&named.tensor));
    }
}

#[test]
fn parameter_counts_are_the_paper_s() {
    let seven_b = Dims { layers: 32, width: 4096, ..DIMS };
    let roberta = Dims { layers: 12, width: 768, ..DIMS };
    let cases = [
        (json!({"intervention": "loreft", "rank": 8, "positions": "f7+l7"}), seven_b, 2_097_408),
        (
            json!({"intervention": "loreft", "rank": 4, "positions": "f5+l5", "tying": "untied", "layers": "3;9;18;24"}),
            seven_b,
            262_176,
        ),
        (json!({"intervention": "loreft", "rank": 1, "positions": "f3", "tying": "untied"}), roberta, 18_444),
        (json!({"intervention": "consreft", "rank": 1, "positions": "l1", "layers": [15]}), seven_b, 4_097),
    ];
    for (reft, dims, expected) in cases {
        assert_eq!(spec(json!({ "reft": reft })).trainable(&dims).expect("it fits"), expected);
    }
}

#[test]
fn impossible_specifications_are_refused_with_the_reason() {
    let check = |change: Value, expected: &str| {
        let mut reft = json!({"intervention": "loreft", "rank": 3, "positions": "f1"});
        reft.as_object_mut().expect("a map").extend(change.as_object().expect("a map").clone());
        let error = spec(json!({ "reft": reft })).build(&DIMS, Seed(0), device()).expect_err("impossible");
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(json!({"layers": [4]}), "layer 4 does not exist: the model has layers 0 to 3");
    check(json!({"rank": 13}), "rank 13 is impossible at block_output: choose 1 to 12");
    check(json!({"positions": "all", "tying": "untied"}), "positions `all` have no prefix and suffix to untie");
    check(json!({"dropout": {"p": 1.0}}), "dropout p 1 is not a probability");
}

#[test]
fn interventions_that_share_a_token_at_a_site_are_refused() {
    let one = |positions: &str, layers: Value| json!({"intervention": "loreft", "rank": 1, "positions": positions, "layers": layers});
    let both = |second: Value| build(&spec(json!({"refts": [one("f2", json!([1])), second]})));
    let disjoint = both(one("l2", json!([1])));
    assert!(disjoint.begin(Mode::Eval).hooks(&layout()).is_ok());
    assert!(both(one("f2", json!([2]))).begin(Mode::Eval).hooks(&layout()).is_ok(), "another layer");
    let overlapping = both(one("f1", json!([1])));
    let error = overlapping.begin(Mode::Eval).hooks(&layout()).err().expect("they overlap").to_string();
    assert!(error.contains("both edit token 0 of a 5-token prompt at block_output.1"), "{error}");
}

/// The first of the second set's rows that the first set edits too, in the order in which the second edits them.
#[test]
fn an_overlap_is_reported_with_its_sets_place_and_prompt() {
    let one = |positions: &str, component: &str| json!({"intervention": "loreft", "rank": 1, "positions": positions, "layers": [0, 3], "component": component});
    let sets =
        [one("l1", "mlp_output"), one("f2+l1", "block_output"), one("l1", "mlp_hidden"), one("l3", "block_output")];
    let adaptation = build(&spec(json!({ "refts": sets })));
    let step = adaptation.begin(Mode::Eval);
    let overlap = |layout: &Layout| step.hooks(layout).err().expect("they overlap");
    let expected =
        |position, prompt| OverlapError { first: 1, second: 3, site: "block_output.0".to_owned(), position, prompt };
    assert_eq!(overlap(&layout()), expected(4, 5), "the last token of the first prompt");
    let step_two = |span: &Span| Span { past: 5, len: span.len - 5, ..*span };
    let later = Layout::of(layout().spans().iter().map(step_two));
    assert_eq!(overlap(&later), expected(5, 6), "the first prompt is in the past, the second's last token is here");
}

#[test]
fn a_zero_edit_is_no_edit() {
    let adaptation = build(&reft("direft", "all", "tied"));
    let _ = no_grad(|| adaptation.params().flat().shallow_clone().zero_());
    let step = adaptation.begin(Mode::Eval);
    let hooks = step.hooks(&layout()).expect("disjoint");
    let h = normal(&[16, 12], 4);
    assert_close("h", &hooks.visit(site(1), &h, h.shallow_clone()), &h, Tol::Exact);
}

#[test]
fn dropout_falls_on_the_state_or_on_the_edit() {
    let with = |on: &str| {
        let reft = json!({"intervention": "loreft", "rank": 3, "positions": "all", "dropout": {"p": 0.5, "on": on}});
        build(&spec(json!({ "reft": reft })))
    };
    let h = Tensor::full([16, 12], 100.0, (Kind::Float, device()));
    let edited = |adaptation: &dyn Adaptation, mode| {
        let _draws = Seed(3).seed_libtorch("dropout", 0);
        let step = adaptation.begin(mode);
        let out = step.hooks(&layout()).expect("disjoint").visit(site(1), &h, h.shallow_clone());
        out.detach()
    };
    let zeros = |out: &Tensor| out.eq(0.0).sum(Kind::Int64).int64_value(&[]);
    let unchanged = |out: &Tensor| (out - &h).abs().lt(1e-4).sum(Kind::Int64).int64_value(&[]);
    let (state, edit) = (with("state"), with("edit"));
    assert!(zeros(&edited(state.as_ref(), Mode::Train)) > 50, "about half of 192 entries are 0");
    assert_eq!(zeros(&edited(edit.as_ref(), Mode::Train)), 0);
    assert!(unchanged(&edited(edit.as_ref(), Mode::Train)) > 50, "about half of 192 entries keep their value");
    assert_eq!(zeros(&edited(state.as_ref(), Mode::Eval)), 0, "off outside training");
}

fn base() -> BaseModel {
    BaseModel { id: "tiny".to_owned(), fingerprint: "f00d".to_owned(), dims: DIMS, sketch: None }
}

#[test]
fn a_saved_adapter_loads_bit_for_bit_from_its_path_alone() {
    for name in named().filter(|name| !name.phi.as_intervention().takes_source()) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("adapter");
        let spec = reft(name.key, "f2+l2", "untied");
        let adaptation = build(&spec);
        save(&path, &base(), &spec, adaptation.as_ref()).expect("writable");
        save(&path, &base(), &spec, adaptation.as_ref()).expect("an older one is replaced");
        let loaded = SavedAdapter::read(&path).expect("just written").onto(&base(), device()).expect("the same base");
        assert_close(name.key, loaded.params().flat(), adaptation.params().flat(), Tol::Exact);
        assert!((objective(loaded.as_ref(), false) - objective(adaptation.as_ref(), false)).abs() == 0.0);
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1, "nothing else is left behind");
    }
}

#[test]
fn a_foreign_or_damaged_adapter_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("adapter");
    let spec = reft("loreft", "f2+l2", "tied");
    let write = || save(&path, &base(), &spec, build(&spec).as_ref()).expect("writable");
    let load = |base: &BaseModel| -> Result<_, AdapterError> { SavedAdapter::read(&path)?.onto(base, device()) };
    let error = |base: &BaseModel| load(base).expect_err("refused").to_string();
    write();
    let other = BaseModel { fingerprint: "beef".to_owned(), id: "other".to_owned(), ..base() };
    assert!(error(&other).contains("adapter was trained on `tiny` (weights f00d), the loaded model `other`"));
    let config = path.join("adapter_config.json");
    let text = std::fs::read_to_string(&config).expect("written");
    std::fs::write(&config, text.replace("\"schema\": 1", "\"schema\": 7")).expect("writable");
    assert!(error(&base()).contains("adapter schema 7, this build reads schema 1"));
    std::fs::write(&config, text.replace("\"rank\": 3", "\"rank\": 2")).expect("writable");
    assert!(error(&base()).contains("shape [3, 12], the configuration needs [2, 12]"));
    write();
    let tensors = path.join("adapter_model.safetensors");
    let bytes = std::fs::read(&tensors).expect("written");
    std::fs::write(&tensors, &bytes[..bytes.len() / 2]).expect("writable");
    assert!(error(&base()).contains("adapter_model.safetensors") && error(&base()).contains("truncated"));
    std::fs::remove_file(&tensors).expect("there");
    assert!(error(&base()).contains("adapter_model.safetensors"));
}

#[test]
fn sequences_of_one_pass_may_belong_to_different_adaptations() {
    let (first, second) = (build(&reft("loreft", "f2+l2", "untied")), build(&reft("direft", "all", "tied")));
    let steps = || [first.begin(Mode::Eval), second.begin(Mode::Eval)];
    let h = normal(&[16, 12], 3);
    let visit = |hooks: &dyn Hooks, h: &Tensor| hooks.visit(site(1), h, h.shallow_clone());
    let alone = |step: &dyn Step, sequence: usize| {
        let extent = [Extent { len: 7, prompt: 5 }, Extent { len: 9, prompt: 6 }][sequence];
        let rows = h.narrow(0, [0, 7][sequence], extent.len);
        visit(step.hooks(&Layout::packed(&[extent])).expect("disjoint").as_ref(), &rows)
    };
    for adaptations in [[0, 1], [1, 0], [1, 1], [0, 2]] {
        let routed = Routed(steps().into());
        let layout = layout().with_adaptations(&adaptations);
        let mixed = visit(routed.hooks(&layout).expect("disjoint").as_ref(), &h);
        let parts = [0, 1].map(|sequence| match steps().get(adaptations[sequence]) {
            Some(step) => alone(step.as_ref(), sequence),
            None => h.narrow(0, 7, 9),
        });
        assert_close(&format!("{adaptations:?}"), &mixed, &Tensor::cat(&parts, 0), Tol::F32);
        let edited: usize = routed.edits(&layout).iter().map(|edited| edited.rows.len()).sum();
        assert!(edited > 0);
    }
}

#[test]
fn a_component_that_a_model_does_not_have_is_refused() {
    let spec = |component: &str, layers: Value| {
        spec(
            json!({"reft": {"intervention": "loreft", "rank": 3, "positions": "l1", "layers": layers, "component": component}}),
        )
    };
    let on = |spec: &AdaptSpec, mlp| spec.build(&Dims { mlp, ..DIMS }, Seed(1), device()).map(|_| ());
    let error = on(&spec("gate", json!("all")), Mlp::Plain).expect_err("no gate").to_string();
    assert!(error.contains("gate") && error.contains("choose up"), "{error}");
    assert!(on(&spec("gate", json!("all")), Mlp::Gated).is_ok());
    let error = on(&spec("embedding", json!([1])), Mlp::Gated).expect_err("one embedding").to_string();
    assert!(error.contains("layers: [0]"), "{error}");
    assert!(on(&spec("embedding", json!("all")), Mlp::Gated).is_ok());
}

#[test]
fn an_adapter_with_values_that_no_training_leaves_is_refused() {
    type Damage = fn(&Tensor);
    let cases: [(&str, &str, Damage); 5] = [
        ("basis", "has rows that depend on one another", |basis| basis.get(1).copy_(&basis.get(0))),
        ("basis", "has rows that depend on one another", |basis| {
            basis.get(2).copy_(&(basis.get(0) * 0.5 - basis.get(1)));
        }),
        ("basis", "has rows that depend on one another", |basis| drop(basis.get(0).fill_(0.0))),
        ("basis", "holds values that are not finite", |basis| drop(basis.get(1).get(3).fill_(f64::NAN))),
        ("weight", "holds values that are not finite", |weight| drop(weight.get(0).get(0).fill_(f64::INFINITY))),
    ];
    let spec = reft("loreft", "f2+l2", "untied");
    for (tensor, reason, damage) in cases {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("adapter");
        let adaptation = build(&spec);
        let name = format!("block_output.3.suffix.{tensor}");
        let named = adaptation.named().into_iter().find(|named| named.name == name).expect("there is one");
        no_grad(|| damage(&named.tensor));
        save(&path, &base(), &spec, adaptation.as_ref()).expect("writable");
        let saved = SavedAdapter::read(&path).expect("well-formed");
        let error = saved.onto(&base(), device()).expect_err("refused").to_string();
        assert!(error.contains(&format!("adapter_model.safetensors: tensor `{name}` {reason}")), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}
