//! What must hold for every adaptation on every model.

use reft_core::AdaptSpec;
use reft_core::adapt_config::SpecError;
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::adapter_file::{SavedAdapter, save};
use reft_core::base_model::BaseModel;
use reft_core::hooks::{Hooks, NoHooks};
use reft_core::layout::Padding;
use reft_core::rng::Seed;
use reft_core::site::Site;
use reft_core::testing::{Tol, assert_close, device, normal};
use reft_models::decode::{Decoding, Generator, Stopping, undecided};
use tch::{Kind, Tensor, no_grad};

use crate::fixture::{Fixture, Model, Sequence, layout};

/// The checks of a combination, in order.
pub const NAMES: [&str; 9] = [
    "parameter count = formula",
    "fresh = base model where the table says so",
    "it changes the model once its parameters move",
    "n sequences = n times one",
    "packed = right = left padding",
    "cached = uncached decoding",
    "a gradient reaches every tensor",
    "saved and loaded bit for bit",
    "bf16 near f32",
];

/// Of the Frobenius norm of the outputs: some roundings to 8 bits in a row.
const BF16: f64 = 0.05;
/// Logits this near one another may be chosen either way.
const TIE: f64 = 1e-4;

/// An adaptation on a model.
pub struct Case<'f> {
    fixture: &'f Fixture,
    spec: &'f AdaptSpec,
    starts_as_base: bool,
}

impl<'f> Case<'f> {
    /// # Errors
    /// When the adaptation is not for this model.
    pub fn new(fixture: &'f Fixture, spec: &'f AdaptSpec, starts_as_base: bool) -> Result<Self, SpecError> {
        let case = Self { fixture, spec, starts_as_base };
        case.build().map(|_| case)
    }

    fn build(&self) -> Result<Box<dyn Adaptation>, SpecError> {
        let dims = self.fixture.model.dims();
        self.fixture.lending(|lender| self.spec.build_on(dims, lender, Seed(1), device()))
    }

    fn fresh(&self) -> Box<dyn Adaptation> {
        self.build().expect("it was built before")
    }

    /// With parameters that have moved, so that every part of the method acts.
    fn moved(&self) -> Box<dyn Adaptation> {
        let mut adaptation = self.fresh();
        let noise = normal(&[adaptation.params().count()], 7) * 0.05;
        let _ = no_grad(|| adaptation.params().flat().shallow_clone().g_add_(&noise));
        adaptation.params_mut().retract();
        adaptation
    }
}

fn batch() -> Vec<Sequence> {
    let ids = |numbers: &[i64]| numbers.to_vec();
    vec![(ids(&[5, 9, 14, 33, 31, 40, 8]), 6), (ids(&[17, 44, 3, 8, 60, 21, 7, 12, 30, 51]), 9), (ids(&[9, 2]), 1)]
}

/// A model sees visits that read and change nothing, and computes the same bits.
pub fn unused_hooks_change_no_bit(fixture: &Fixture) {
    struct Everywhere;
    impl Hooks for Everywhere {
        fn visit(&self, _: Site, _: &Tensor, y: Tensor) -> Tensor {
            y
        }
        fn wants(&self, _: Site) -> bool {
            true
        }
    }
    let (batch, packed) = (batch(), layout(&batch(), Padding::Packed));
    let plain = fixture.model.hooked(&batch, &packed, &NoHooks);
    assert_close("visited", &fixture.model.hooked(&batch, &packed, &Everywhere), &plain, Tol::Exact);
}

/// All of [`NAMES`].
pub fn all(case: &Case<'_>) {
    parameters_are_counted_by_formula(case);
    let moved = case.moved();
    no_grad(|| {
        fresh_is_the_base_model(case);
        moved_is_not(case, moved.as_ref());
        batches_are_singles_in_every_layout(case, moved.as_ref());
        decoding_with_a_cache_is_decoding_without(case, moved.as_ref());
        rounding_the_model_changes_little(case, moved.as_ref());
    });
    gradients_reach_every_tensor(case);
    files_keep_every_bit(case, moved.as_ref());
}

fn output(case: &Case<'_>, adaptation: &dyn Adaptation, padding: Padding) -> Tensor {
    case.fixture.model.output(&batch(), padding, Some(adaptation.begin(Mode::Eval).as_ref()))
}

fn base(case: &Case<'_>) -> Tensor {
    case.fixture.model.output(&batch(), Padding::Packed, None)
}

fn parameters_are_counted_by_formula(case: &Case<'_>) {
    let dims = case.fixture.model.dims();
    let formula = case.fixture.lending(|lender| case.spec.config().trainable(dims, lender)).expect("it fits");
    let adaptation = case.fresh();
    assert_eq!(adaptation.params().count(), formula, "parameters built, and by formula");
    let named: usize = adaptation.named().iter().map(|named| named.tensor.numel()).sum();
    assert_eq!(named as i64, formula, "parameters with a name, and by formula");
}

fn fresh_is_the_base_model(case: &Case<'_>) {
    let fresh = output(case, case.fresh().as_ref(), Padding::Packed);
    if case.starts_as_base {
        assert_close("fresh", &fresh, &base(case), Tol::F32);
    }
}

fn moved_is_not(case: &Case<'_>, moved: &dyn Adaptation) {
    let change = (output(case, moved, Padding::Packed) - base(case)).abs().max().double_value(&[]);
    assert!(change > 1e-3, "the parameters have moved, and the outputs by {change} only");
}

fn batches_are_singles_in_every_layout(case: &Case<'_>, moved: &dyn Adaptation) {
    let packed = output(case, moved, Padding::Packed);
    let step = moved.begin(Mode::Eval);
    let alone =
        |one: &Sequence| case.fixture.model.output(std::slice::from_ref(one), Padding::Packed, Some(step.as_ref()));
    let singles: Vec<Tensor> = batch().iter().map(alone).collect();
    let tolerance = Tol::F32.times(10.0);
    assert_close("one by one", &Tensor::cat(&singles, 0), &packed, tolerance);
    assert_close("right padding", &output(case, moved, Padding::Right), &packed, tolerance);
    assert_close("left padding", &output(case, moved, Padding::Left), &packed, tolerance);
}

/// Every token that is chosen with a cache has the highest logit of a pass without one.
fn decoding_with_a_cache_is_decoding_without(case: &Case<'_>, moved: &dyn Adaptation) {
    let Model::Decoder(model) = &case.fixture.model else { return };
    let step = moved.begin(Mode::Eval);
    let own = step.weights().map(|weights| model.on(weights).expect("its own weights"));
    let model = own.as_deref().unwrap_or(model.as_ref());
    let prompts: Vec<Vec<i64>> = batch().into_iter().map(|(ids, _)| ids).collect();
    let stop = Stopping { max_new: 8, ends: Vec::new() };
    let decoding = Decoding::default();
    let generator = Generator { model, adaptation: Some(step.as_ref()), batch: 2, stop, decoding: &decoding, seed: 3 };
    let prompts: Vec<&[i64]> = prompts.iter().map(Vec::as_slice).collect();
    let answers = generator.run(&prompts, &undecided).expect("disjoint");
    for (prompt, answer) in prompts.iter().zip(answers) {
        assert_eq!(answer.ids.len(), 8, "tokens of an answer without end");
        for said in 0..answer.ids.len() {
            let ids = [prompt, &answer.ids[..said]].concat();
            let sequence = (ids, prompt.len() as i64);
            let logits = case.fixture.model.output(&[sequence], Padding::Packed, Some(step.as_ref())).get(-1);
            let short = (logits.max() - logits.get(answer.ids[said])).double_value(&[]);
            assert!(short < TIE, "token {said}: its logit is {short} below the highest of a pass without cache");
        }
    }
}

fn rounding_the_model_changes_little(case: &Case<'_>, moved: &dyn Adaptation) {
    let exact = output(case, moved, Padding::Packed);
    let step = moved.begin(Mode::Eval);
    let rounded = case.fixture.rounded.output(&batch(), Padding::Packed, Some(step.as_ref())).to_kind(Kind::Float);
    let error = ((&rounded - &exact).norm() / exact.norm()).double_value(&[]);
    assert!(error < BF16, "in bf16 the outputs are off by {error} of their norm");
}

/// In the stage that trains it, where there are several.
fn gradients_reach_every_tensor(case: &Case<'_>) {
    let mut adaptation = case.moved();
    for stage in 0..adaptation.stages() {
        adaptation.enter(stage);
        let step = adaptation.begin(Mode::Train);
        let out = case.fixture.model.output(&batch(), Padding::Packed, Some(step.as_ref()));
        (&out * normal(&out.size(), 5)).sum(Kind::Float).backward();
        step.backprop();
    }
    let gradient = adaptation.params().flat().grad();
    assert_eq!(gradient.isfinite().all().int64_value(&[]), 1, "a gradient that is not finite");
    // The gradient in the place of the parameters has their names.
    adaptation.params_mut().load(&gradient);
    for named in adaptation.named() {
        assert!(named.tensor.abs().max().double_value(&[]) > 0.0, "no gradient reaches {}", named.name);
    }
}

fn files_keep_every_bit(case: &Case<'_>, moved: &dyn Adaptation) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("adapter");
    let dims = *case.fixture.model.dims();
    let base = BaseModel { id: "tiny".to_owned(), fingerprint: "f00d".to_owned(), dims, sketch: None };
    save(&path, &base, case.spec, moved).expect("writable");
    let saved = SavedAdapter::read(&path).expect("just written");
    assert_eq!(&saved.config.adapt, case.spec, "the specification as it was written");
    let loaded = case.fixture.lending(|lender| saved.onto_lent(&base, lender, device())).expect("the same model");
    assert_close("parameters", loaded.params().flat(), moved.params().flat(), Tol::Exact);
    let of = |adaptation: &dyn Adaptation| no_grad(|| output(case, adaptation, Padding::Packed));
    assert_close("outputs", &of(loaded.as_ref()), &of(moved), Tol::Exact);
}
