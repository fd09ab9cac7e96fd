//! Encoders in training: the best epoch comes back exactly, an interrupted run ends as if it had not been, every method
//! changes what it should.

use std::path::Path;

use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::decay::Decay;
use reft_core::rng::Seed;
use reft_core::testing::{Tol, assert_close, golden_dir};
use reft_experiments::data::labelled::{Labelled, Target};
use reft_experiments::score::metric::Metric;
use reft_experiments::train::best::{Best, Epoch};
use reft_experiments::train::classification::{Classification, SelectionRows};
use reft_experiments::train::error::TrainError;
use reft_experiments::train::head::ClassificationHead;
use reft_experiments::train::learner::{HeadGradients, UpdateRules};
use reft_experiments::train::observe::{Observer, StepInfo, at};
use reft_experiments::train::schedule::SchedulerType;
use reft_experiments::train::trainer::{Trainer, TrainingArguments};
use reft_models::encoder::Encoder;
use reft_models::lending::LendingEncoder;
use reft_models::weights::Weights;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

fn plan(head_gradients: HeadGradients) -> TrainingArguments {
    let rules = UpdateRules { weight_decay: 0.01, decay: Decay::Matrices, clip: 1.0, head_gradients, peak: 1.0 };
    TrainingArguments {
        epochs: 4,
        lr: 5e-3,
        batch: 4,
        warmup_ratio: 0.1,
        shape: SchedulerType::Linear,
        rules,
        checkpoint_every: 4,
        stops_early: false,
    }
}

fn weights() -> Weights {
    Weights::open(&golden_dir().join("models/bert")).expect("a golden model")
}

/// Rows of 4 to 12 tokens whose label is whether their second token is even, or that token as a score.
fn rows(count: i64, scores: bool) -> Vec<Labelled> {
    let row = |index: i64| {
        let len = 4 + index % 9;
        let ids: Vec<i64> = (0..len).map(|position| 3 + (position * 31 + index * 7) % 200).collect();
        let types = (0..len).map(|position| i64::from(position > len / 2)).collect();
        let target =
            if scores { Target::Score(ids[1] as f64 / 50.0) } else { Target::Class(i64::from(ids[1] % 2 == 0)) };
        Labelled { ids, types, target, name: format!("row {index}") }
    };
    (0..count).map(row).collect()
}

fn adaptation(adapt: &Value, encoder: &Encoder) -> Box<dyn Adaptation> {
    let spec: AdaptSpec = serde_json::from_value(adapt.clone()).expect("a specification");
    let lender = LendingEncoder { model: encoder, weights: &weights() };
    spec.build_on(encoder.dims(), &lender, Seed(1), Device::Cpu).expect("it fits")
}

/// Stops a run at an update, as a kill would.
struct StopAt(u64);

impl Observer for StopAt {
    fn start(&mut self, _: u64, _: u64) -> Result<(), TrainError> {
        Ok(())
    }

    fn step(&mut self, info: &StepInfo) -> Result<(), TrainError> {
        if info.step == self.0 { Err(at(Path::new("killed"))(std::io::Error::other("killed"))) } else { Ok(()) }
    }
}

/// A run in a folder, stopped at updates on the way; everything trained, as the best epoch left it.
struct Run {
    adaptation: Box<dyn Adaptation>,
    head: ClassificationHead,
    best: Epoch,
    /// What the watched rows score with it.
    again: Option<f64>,
}

fn run(encoder: &Encoder, adapt: &Value, scores: bool, folder: &Path, stops: &[u64]) -> Run {
    // Where a head's gradients are kept they are part of what an interrupted run goes on from.
    let head_gradients = if scores { HeadGradients::Kept } else { HeadGradients::Zeroed };
    let (examples, watched) = (rows(26, scores), rows(40, scores).split_off(26));
    let metric = if scores { Metric::Pearson } else { Metric::Accuracy };
    let attempt = |stop: u64| {
        let mut adaptation = adaptation(adapt, encoder);
        let best = Best::new(folder.join("epochs.jsonl"), folder.join("best.safetensors"));
        let head = ClassificationHead::new(encoder.dims().width, if scores { 1 } else { 2 }, Seed(1), Device::Cpu);
        let watch = Some(SelectionRows { rows: watched.clone(), metric, best });
        let mut objective =
            Classification { encoder, head, model_dropout: true, label_kind: Kind::Float, micro_tokens: 20, watch };
        let mut trainer = Trainer {
            model: &mut objective,
            adaptation: adaptation.as_mut(),
            plan: plan(head_gradients),
            seed: Seed(3),
            examples: &examples,
            checkpoint: folder.join("checkpoint.safetensors"),
            group: None,
        };
        let outcome = trainer.fit(trainer.total(), true, &mut [&mut StopAt(stop)]);
        assert_eq!(outcome.is_err(), stop < trainer.total(), "{:?}", outcome.err());
        let Classification { head, watch, .. } = objective;
        let Some(watch) = watch else { panic!("rows are watched") };
        (adaptation, head, watch.best)
    };
    for &stop in stops {
        attempt(stop);
    }
    let (mut adaptation, mut head, best) = attempt(u64::MAX);
    let best = best.restore(vec![adaptation.params_mut(), head.params_mut()]).expect("kept").expect("an epoch");
    let objective =
        Classification { encoder, head, model_dropout: true, label_kind: Kind::Float, micro_tokens: 20, watch: None };
    let answers = objective.answers(adaptation.begin(Mode::Eval).as_ref(), &watched).expect("disjoint");
    Run { adaptation, head: objective.head, best, again: metric.of(&answers) }
}

fn methods() -> [Value; 5] {
    let reft = |intervention: &str, positions: &str, component: &str| {
        json!({"reft": {"intervention": intervention, "rank": 1, "positions": positions, "component": component,
            "dropout": {"p": 0.1}}})
    };
    [
        reft("loreft", "f3", "block_output"),
        reft("direft", "f1", "block_output"),
        reft("red", "all", "mlp_output"),
        json!({"bitfit": {}}),
        json!({"full": {}}),
    ]
}

#[test]
fn the_best_epoch_scores_again_what_it_scored_and_interruptions_change_nothing() {
    let encoder = Encoder::load(&weights(), Kind::Float, Device::Cpu).expect("a golden model");
    for (adapt, scores) in methods().into_iter().zip([true, false, true, true, false]) {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
        let whole = run(&encoder, &adapt, scores, folders[0].path(), &[]);
        assert_eq!(whole.again, whole.best.value, "{adapt}");
        // Within the first epoch, right after a checkpoint, at an epoch's end, and twice at once.
        let killed = run(&encoder, &adapt, scores, folders[1].path(), &[2, 12, 13, 13, 27]);
        assert_eq!((killed.best, killed.again), (whole.best, whole.again), "{adapt}");
        let flats = |run: &Run| [run.adaptation.params().flat().copy(), run.head.params().flat().copy()];
        for (killed, whole) in flats(&killed).iter().zip(flats(&whole)) {
            assert_close(&adapt.to_string(), killed, &whole, Tol::Exact);
        }
        let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join("epochs.jsonl")).expect("a trace");
        assert_eq!(read(&folders[0]), read(&folders[1]), "{adapt}");
        assert_eq!(std::fs::read_to_string(folders[0].path().join("epochs.jsonl")).expect("there").lines().count(), 4);
    }
}

#[test]
fn training_moves_the_adaptation_and_the_head() {
    let encoder = Encoder::load(&weights(), Kind::Float, Device::Cpu).expect("a golden model");
    for adapt in methods() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let trained = run(&encoder, &adapt, false, folder.path(), &[]);
        let fresh = adaptation(&adapt, &encoder);
        let head = ClassificationHead::new(encoder.dims().width, 2, Seed(1), Device::Cpu);
        let moved = |new: &Tensor, old: &Tensor| (new - old).abs().max().double_value(&[]) > 1e-4;
        assert!(moved(trained.adaptation.params().flat(), fresh.params().flat()), "{adapt}");
        assert!(moved(trained.head.params().flat(), head.params().flat()), "{adapt}");
    }
}
