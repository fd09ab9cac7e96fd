//! A model on weights that it lent: the same model up to rounding, with gradients to what is trained and nothing else.

use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::hooks::NoHooks;
use reft_core::layout::{Extent, Layout};
use reft_core::rng::Seed;
use reft_core::testing::{Tol, assert_close, device, golden_dir, indices, normal};
use reft_models::attention::PastKeyValues;
use reft_models::encoder::{Encoder, EncoderPass};
use reft_models::lending::{LendingDecoder, LendingEncoder};
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::json;
use tch::{Kind, Tensor, no_grad};

const IDS: [i64; 9] = [0, 17, 33, 4, 2, 0, 90, 45, 2];

struct Case {
    name: &'static str,
    encoder: Encoder,
    weights: Weights,
}

fn cases() -> [Case; 2] {
    ["bert", "roberta"].map(|name| {
        let weights = Weights::open(&golden_dir().join("models").join(name)).expect("a golden model");
        let encoder = Encoder::load(&weights, Kind::Float, device()).expect("an encoder");
        Case { name, encoder, weights }
    })
}

impl Case {
    fn adaptation(&self, key: &str) -> Box<dyn Adaptation> {
        let spec: AdaptSpec = serde_json::from_value(json!({ key: {} })).expect("a specification");
        let lender = LendingEncoder { model: &self.encoder, weights: &self.weights };
        spec.build_on(self.encoder.dims(), &lender, Seed(0), device()).expect("weights to train")
    }

    /// A made-up scalar of the states, in two passes that stand for two micro-batches.
    fn objective(&self, adaptation: &dyn Adaptation, mode: Mode) -> f64 {
        let step = adaptation.begin(mode);
        let mut total = 0.0;
        for seed in 0..2 {
            let encoder = self.encoder.on(step.weights().expect("weights")).expect("the encoder's");
            let h = hidden(&encoder);
            let loss = (&h * normal(&h.size(), seed)).sum(Kind::Float);
            total += loss.double_value(&[]);
            if mode == Mode::Train {
                loss.backward();
            }
        }
        step.backprop();
        total
    }
}

/// Two sequences' states `[9, D]`.
fn hidden(encoder: &Encoder) -> Tensor {
    let layout = Layout::packed(&[5, 4].map(|len| Extent { len, prompt: len }));
    let reading = EncoderPass { layout: &layout, hooks: &NoHooks, mode: Mode::Eval };
    encoder.hidden(&indices(&IDS), None, &reading)
}

#[test]
fn untrained_it_is_the_model_and_trains_what_it_should() {
    for case in cases() {
        let biases: i64 = case
            .encoder
            .config()
            .tensors()
            .iter()
            .filter(|(name, _)| name.ends_with("bias"))
            .map(|(_, shape)| shape.iter().product::<i64>())
            .sum();
        for (key, count) in [("full", case.encoder.config().parameters()), ("bitfit", biases)] {
            let adaptation = case.adaptation(key);
            assert_eq!(adaptation.params().count(), count, "{} {key}", case.name);
            let step = adaptation.begin(Mode::Eval);
            let encoder = case.encoder.on(step.weights().expect("weights")).expect("the encoder's");
            let what = format!("{} {key}", case.name);
            // Weights that are trained are multiplied by libtorch, whose sums have another order than the kernels' on some processors.
            assert_close(&what, &hidden(&encoder), &hidden(&case.encoder), Tol::F32);
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for case in cases() {
        for key in ["full", "bitfit"] {
            let mut adaptation = case.adaptation(key);
            case.objective(adaptation.as_ref(), Mode::Train);
            let start = adaptation.params().flat().detach().copy();
            let gradient = adaptation.params().flat().grad().copy();
            let direction = normal(&start.size(), 9) * 0.1;
            let mut at = |along: f64| {
                adaptation.params_mut().load(&no_grad(|| &start + &direction * along));
                case.objective(adaptation.as_ref(), Mode::Eval)
            };
            let step = 2e-3;
            let numeric = (at(step) - at(-step)) / (2.0 * step);
            let slope = gradient.dot(&direction).double_value(&[]);
            let allowed = 0.02 * slope.abs().max(1.0);
            assert!((numeric - slope).abs() < allowed, "{} {key}: {slope} {numeric}", case.name);
        }
    }
}

#[test]
fn without_weights_to_lend_there_is_nothing_to_train() {
    for case in cases() {
        let spec: AdaptSpec = serde_json::from_value(json!({"bitfit": {}})).expect("a specification");
        let error = spec.build(case.encoder.dims(), Seed(0), device()).expect_err("refused").to_string();
        assert!(error.starts_with("bitfit trains the model's own weights"), "{error}");
    }
}

#[test]
fn a_decoder_on_its_own_weights_is_the_decoder_and_every_weight_gets_a_gradient() {
    for name in ["llama1", "llama-tied"] {
        let weights = Weights::open(&golden_dir().join("models").join(name)).expect("a golden model");
        let model = registry::load(&weights, Kind::Float, device()).expect("a decoder");
        let layout = Layout::packed(&[Extent { len: 9, prompt: 9 }]);
        let logits = |model: &dyn Decoder| {
            let mut pass = Pass { layout: &layout, hooks: &NoHooks, cache: PastKeyValues::None, wanted: None };
            model.logits(&model.hidden(&indices(&IDS), &mut pass))
        };
        let lent = registry::lend(&weights, device()).expect("a decoder's weights");
        let count: i64 = lent.iter().map(|lent| lent.tensor.numel() as i64).sum();
        assert_eq!(count, model.parameters(), "{name}: every parameter once");
        let spec: AdaptSpec = serde_json::from_value(json!({ "full": {} })).expect("a specification");
        let lender = LendingDecoder { model: model.as_ref(), weights: &weights };
        let full = spec.build_on(model.dims(), &lender, Seed(0), device()).expect("weights to train");
        let step = full.begin(Mode::Train);
        let own = model.on(step.weights().expect("weights")).expect("the model's");
        let scores = logits(own.as_ref());
        // Norms with a trained weight are computed by libtorch, whose sums have another order than the kernels'.
        assert_close(name, &scores, &logits(model.as_ref()), Tol::F32.times(10.0));
        scores.square().mean(Kind::Float).backward();
        step.backprop();
        let grad = full.params().flat().grad();
        for (named, part) in lent
            .iter()
            .zip(grad.split_with_sizes(lent.iter().map(|lent| lent.tensor.numel() as i64).collect::<Vec<_>>(), 0))
        {
            assert!(part.abs().max().double_value(&[]) > 0.0, "{name}: no gradient for {}", named.name);
        }
    }
}
