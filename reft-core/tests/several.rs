//! Several adaptations on one leaf: what moves when, at which rate, and that members know nothing of it.

use reft_core::adaptation::{Adaptation, Mode};
use reft_core::hooks::visit_linear;
use reft_core::layout::{Extent, Layout};
use reft_core::lender::NoLender;
use reft_core::rng::Seed;
use reft_core::site::{Component, Dims, LayerId, Mlp, Site};
use reft_core::testing::{Tol, assert_close, normal};
use reft_core::{AdaptSpec, adapter_file};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

const DIMS: Dims =
    Dims { layers: 2, width: 8, heads: 2, kv_heads: 1, head_width: 4, mlp_width: 12, vocab: 20, mlp: Mlp::Gated };

fn build(spec: &Value) -> Box<dyn Adaptation> {
    let spec: AdaptSpec = serde_json::from_value(spec.clone()).expect("a specification");
    spec.build_on(&DIMS, &NoLender, Seed(4), Device::Cpu).expect("it fits")
}

fn lora() -> Value {
    json!({"lora": {"rank": 2, "alpha": 4, "components": ["query"]}})
}

fn direft() -> Value {
    json!({"reft": {"intervention": "direft", "rank": 2, "positions": "f1"}})
}

/// A query that an adaptation makes of rows `x` `[3, 8]`, `y` `[3, 8]`; the last visit of a block.
fn visit(adaptation: &dyn Adaptation, component: Component, mode: Mode) -> Tensor {
    let layout = Layout::packed(&[Extent { len: 3, prompt: 3 }]);
    let step = adaptation.begin(mode);
    let hooks = step.hooks(&layout).expect("disjoint");
    let out = visit_linear(&*hooks, Site { layer: LayerId(1), component }, &normal(&[3, 8], 1), normal(&[3, 8], 2));
    if mode == Mode::Train && out.requires_grad() {
        out.square().sum(Kind::Float).backward();
    }
    drop(hooks);
    step.backprop();
    out.detach()
}

/// Values that are not those that leave the model alone.
fn stir(adaptation: &mut dyn Adaptation) {
    let count = adaptation.params().count();
    adaptation.params_mut().load(&normal(&[count], 9));
}

#[test]
fn members_act_as_they_would_alone_and_their_gradients_meet_in_one_leaf() {
    let mut both = build(&json!({"joint": [{"adapt": lora()}, {"adapt": direft()}]}));
    let (mut first, mut second) = (build(&lora()), build(&direft()));
    let names: Vec<String> = both.named().into_iter().map(|named| named.name).collect();
    assert!(names.contains(&"0.query.1.lora_A".to_owned()) && names.iter().any(|name| name.starts_with("1.block")));
    stir(both.as_mut());
    let values = both.params().flat().detach().copy();
    let counts = [first.params().count(), second.params().count()];
    first.params_mut().load(&values.narrow(0, 0, counts[0]));
    second.params_mut().load(&values.narrow(0, counts[0], counts[1]));
    for (alone, component) in [(&first, Component::Query), (&second, Component::BlockOutput)] {
        assert_close(
            "alone",
            &visit(both.as_ref(), component, Mode::Eval),
            &visit(alone.as_ref(), component, Mode::Eval),
            Tol::Exact,
        );
        let _ = (visit(both.as_ref(), component, Mode::Train), visit(alone.as_ref(), component, Mode::Train));
    }
    let alone = Tensor::cat(&[first.params().flat().grad(), second.params().flat().grad()], 0);
    assert_close("gradients", &both.params().flat().grad(), &alone, Tol::F32);
    // An update of the leaf is seen by the members.
    let before = visit(both.as_ref(), Component::Query, Mode::Eval);
    let _ = no_grad(|| both.params().flat().shallow_clone().g_mul_scalar_(2.0));
    let moved = (visit(both.as_ref(), Component::Query, Mode::Eval) - before).abs().max().double_value(&[]);
    assert!(moved > 1e-3, "{moved}");
}

#[test]
fn a_stage_moves_its_member_alone_and_later_members_do_not_act_yet() {
    let mut staged = build(&json!({"staged": [{"adapt": lora(), "lr": 2e-3}, {"adapt": direft()}]}));
    stir(staged.as_mut());
    let counts = [build(&lora()).params().count(), build(&direft()).params().count()];
    let rates = |staged: &dyn Adaptation| staged.params().rates(1e-3).expect("rates");
    let expected = |first: f32, second: f32| {
        let part = |count: i64, rate: f32| vec![rate; count as usize];
        Tensor::from_slice(&[part(counts[0], first), part(counts[1], second)].concat())
    };
    assert_eq!(staged.stages(), 2);
    let edited = |staged: &dyn Adaptation, component| {
        let y = normal(&[3, 8], 2);
        (visit(staged, component, Mode::Train) - y).abs().max().double_value(&[]) > 0.0
    };
    staged.enter(0);
    assert!(!staged.is_last_stage());
    assert_close("first", &rates(staged.as_ref()), &expected(2.0, 0.0), Tol::F32);
    assert!(edited(staged.as_ref(), Component::Query) && !edited(staged.as_ref(), Component::BlockOutput));
    staged.params_mut().zero_grad();
    staged.enter(1);
    assert!(staged.is_last_stage());
    assert_close("second", &rates(staged.as_ref()), &expected(0.0, 1.0), Tol::F32);
    assert!(edited(staged.as_ref(), Component::Query) && edited(staged.as_ref(), Component::BlockOutput));
    let grad = staged.params().flat().grad();
    assert!(grad.narrow(0, 0, counts[0]).abs().max().double_value(&[]) == 0.0, "the first member is frozen");
    assert!(grad.narrow(0, counts[0], counts[1]).abs().max().double_value(&[]) > 0.0);
}

#[test]
fn several_are_saved_and_loaded_as_one_folder_with_frozen_tensors() {
    let spec = json!({"joint": [{"adapt": {"vera": {"rank": 3, "components": ["query"]}}}, {"adapt": direft()},
        {"adapt": {"prefix": {"tokens": 2}}, "lr": 1e-2}]});
    let spec: AdaptSpec = serde_json::from_value(spec).expect("a specification");
    let mut adaptation = spec.build_on(&DIMS, &NoLender, Seed(4), Device::Cpu).expect("it fits");
    stir(adaptation.as_mut());
    for fixed in adaptation.fixed() {
        no_grad(|| fixed.tensor.shallow_clone().copy_(&normal(&fixed.tensor.size(), 7)));
    }
    let base = reft_core::base_model::BaseModel {
        id: "none".to_owned(),
        fingerprint: "0".to_owned(),
        dims: DIMS,
        sketch: None,
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("adapter");
    adapter_file::save(&path, &base, &spec, adaptation.as_ref()).expect("saved");
    let saved = adapter_file::SavedAdapter::read(&path).expect("read");
    assert_eq!(saved.config.adapt, spec);
    let again = saved.onto(&base, Device::Cpu).expect("it fits");
    assert_close("trained", again.params().flat(), adaptation.params().flat(), Tol::Exact);
    for (got, expected) in again.fixed().iter().zip(adaptation.fixed()) {
        assert_eq!(got.name, expected.name);
        assert_close(&got.name, &got.tensor, &expected.tensor, Tol::Exact);
    }
}
