//! Float16 base weights, for which there are no fused kernels: the composed operations train and decode, on the CPU too.

use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::layout::{Extent, Layout};
use reft_core::rng::Seed;
use reft_core::testing::{Tol, assert_close, device, golden_dir, indices};
use reft_models::attention::PastKeyValues;
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::json;
use tch::{Kind, Tensor, no_grad};

/// Float16 has 11 significant bits; errors of some layers add up.
const TOL: Tol = Tol::Relative(1e-2);

fn model(name: &str, kind: Kind) -> Box<dyn Decoder> {
    let weights = Weights::open(&golden_dir().join("models").join(name)).expect("a golden model");
    registry::load(&weights, kind, device()).expect("a golden model")
}

fn adaptation(model: &dyn Decoder) -> Box<dyn Adaptation> {
    let reft = json!({"intervention": "loreft", "rank": 4, "positions": "f2+l2", "layers": [0, 1]});
    let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft })).expect("valid");
    spec.build(model.dims(), Seed(5), device()).expect("it fits")
}

/// Mean loss of the next tokens of two sequences, with its gradient in the flat leaf.
fn loss(model: &dyn Decoder, adaptation: &mut dyn Adaptation) -> f64 {
    let ids = [5i64, 9, 40, 7, 7, 31, 12, 6, 80];
    let layout = Layout::packed(&[5, 4].map(|len| Extent { len, prompt: len }));
    adaptation.params_mut().zero_grad();
    let step = adaptation.begin(Mode::Train);
    let hooks = step.hooks(&layout).expect("disjoint");
    let mut pass = Pass { layout: &layout, hooks: hooks.as_ref(), cache: PastKeyValues::None, wanted: None };
    let logits = model.logits(&model.hidden(&indices(&ids), &mut pass)).to_kind(Kind::Float);
    let (rows, next) = (indices(&[0, 1, 2, 3, 5, 6, 7]), indices(&[9, 40, 7, 7, 12, 6, 80]));
    let loss = logits.index_select(0, &rows).cross_entropy_for_logits(&next);
    loss.backward();
    drop(hooks);
    step.backprop();
    loss.double_value(&[])
}

#[test]
fn a_float16_model_trains_as_in_float32() {
    for name in ["llama1", "llama3", "llama-tied"] {
        let (exact, half) = (model(name, Kind::Float), model(name, Kind::Half));
        let mut adaptations = [adaptation(exact.as_ref()), adaptation(half.as_ref())];
        let mut first = f64::NAN;
        for step in 0..6 {
            let losses = [loss(exact.as_ref(), adaptations[0].as_mut()), loss(half.as_ref(), adaptations[1].as_mut())];
            assert_close(&format!("{name}, step {step}"), &Tensor::from(losses[1]), &Tensor::from(losses[0]), TOL);
            if step == 0 {
                first = losses[1];
                let gradients = adaptations.each_ref().map(|adaptation| adaptation.params().flat().grad());
                assert_close(&format!("{name}: gradient"), &gradients[1], &gradients[0], TOL);
            }
            for adaptation in &mut adaptations {
                let mut flat = adaptation.params().flat().shallow_clone();
                let _ = no_grad(|| flat.g_sub_(&(flat.grad() * 0.05)));
                adaptation.params_mut().retract();
            }
        }
        let last = loss(half.as_ref(), adaptations[1].as_mut());
        assert!(last < first, "{name}: {first} to {last}");
    }
}
