//! The examples on tiny models with random weights: each does what it says.

mod support;

#[path = "../examples/classify.rs"]
#[allow(dead_code, missing_docs)]
mod classify;
#[path = "../examples/collect.rs"]
#[allow(dead_code, missing_docs)]
mod collect;
#[path = "../examples/finetune.rs"]
#[allow(dead_code, missing_docs)]
mod finetune;
#[path = "../examples/interchange.rs"]
#[allow(dead_code, missing_docs)]
mod interchange;
#[path = "../examples/own_adaptation.rs"]
#[allow(dead_code, missing_docs)]
mod own_adaptation;
#[path = "../examples/own_objective.rs"]
#[allow(dead_code, missing_docs)]
mod own_objective;
#[path = "../examples/own_phi.rs"]
#[allow(dead_code, missing_docs)]
mod own_phi;
#[path = "../examples/own_study.rs"]
#[allow(dead_code, missing_docs)]
mod own_study;
#[path = "../examples/own_task.rs"]
#[allow(dead_code, missing_docs)]
mod own_task;

use reft_core::testing::{Tol, assert_close, golden_dir};
use reft_experiments::config::schema::run_schema;
use reft_experiments::studies;
use reft_experiments::studies::training::EditTraining;
use reft_experiments::tasks::{self, TaskId};
use serde_json::json;
use support::Dir;

/// The folder of a tiny language model.
fn decoder(dir: &Dir) -> String {
    dir.path().join("model").display().to_string()
}

#[test]
fn finetuning_lowers_the_loss() {
    let dir = Dir::new();
    let (first, last) = finetune::run(&decoder(&dir), 30).expect("it trains");
    assert!(last < 0.9 * first, "loss {first} to {last}");
}

#[test]
fn classification_learns_its_rows() {
    let dir = Dir::new();
    let encoder = dir.path().join("encoder");
    std::fs::create_dir(&encoder).expect("writable");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden_dir().join("models/bert").join(file), encoder.join(file)).expect("copied");
    }
    std::fs::copy(dir.path().join("model/tokenizer.json"), encoder.join("tokenizer.json")).expect("copied");
    let accuracy = classify::run(&encoder.display().to_string(), 120).expect("it trains");
    assert!(accuracy > 0.8, "{accuracy}");
}

#[test]
fn an_own_adaptation_is_trained_saved_and_loaded() {
    let dir = Dir::new();
    let (first, last, same) = own_adaptation::run(&decoder(&dir), dir.path()).expect("it trains");
    assert!(last < first, "loss {first} to {last}");
    assert!(same, "the loaded adapter has other tensors");
}

#[test]
fn an_own_intervention_is_trained_saved_and_loaded() {
    let dir = Dir::new();
    let (trained, loaded) = own_phi::run(&decoder(&dir), dir.path()).expect("it trains");
    assert_eq!(trained, loaded);
    let config = std::fs::read_to_string(dir.path().join("squash/adapter_config.json")).expect("written");
    assert!(config.contains("\"squash\""), "{config}");
}

#[test]
fn an_own_task_is_named_listed_trained_and_scored() {
    let dir = Dir::new();
    let (score, guessing) = own_task::run(&decoder(&dir), &dir.path().join("runs")).expect("it trains");
    assert_eq!((score.n(), guessing), (2, Some(1.0 / 7.0)));
    let error = "next_dya".parse::<TaskId>().expect_err("unknown").to_string();
    assert!(error.contains("did you mean `next_day`?"), "{error}");
    let schema = serde_json::to_string(&run_schema()).expect("plain data");
    assert!(schema.contains("the day that follows a day of the week"), "it is not in the schema");
    assert!(tasks::register(own_task::NextDay).is_err(), "the key is taken");
}

#[test]
fn an_own_study_is_named_trained_measured_and_drawn() {
    let dir = Dir::new();
    // A token a byte: one short word, and updates enough for an edit of random weights.
    let training = EditTraining::new(200, 1, 3e-2);
    let study = own_study::EchoStudy { words: vec!["a".to_owned()], ranks: vec![1, 4], training };
    let lines = own_study::run(&decoder(&dir), &dir.path().join("runs"), &study).expect("it trains");
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(
        line.points.iter().map(|point| (point.x, point.n)).collect::<Vec<_>>(),
        [(1.0, Some(1)), (4.0, Some(1))]
    );
    assert!((line.points[1].y - 1.0).abs() < 1e-9, "rank 4 repeats the word: {line:?}");
    let task = |written| serde_json::from_value::<TaskId>(written).map_err(|error| error.to_string());
    let error = task(json!({"study": {"ecko": {"words": []}}})).expect_err("unknown");
    assert!(error.contains("did you mean `echo`?") && error.contains("questions"), "{error}");
    let error = task(json!({"study": {"echo": {"wrods": []}}})).expect_err("unknown");
    assert!(error.contains("study: echo: ") && error.contains("wrods"), "{error}");
    let schema = serde_json::to_string(&run_schema()).expect("plain data");
    assert!(schema.contains("Words, each asked for once."), "it is not in the schema");
    assert!(studies::register::<own_study::EchoStudy>().is_err(), "the key is taken");
    #[cfg(feature = "program")]
    drawn_from_the_file_of_a_figure(&dir);
}

/// The file of a figure names the example's study like the others.
#[cfg(feature = "program")]
fn drawn_from_the_file_of_a_figure(dir: &Dir) {
    use reft_experiments::figures::spec::FigureSpec;

    let text = "title: an echo\nprofiles:\n  quick:\n    purpose: a test\n    model: model\n    seed: 1\n    study:\n      \
                echo: {words: [a], ranks: [1, 2, 4], training: {epochs: 1, lr: 1e-2}}\n";
    let spec = FigureSpec::read(&dir.write("echo.yaml", text)).expect("valid");
    let profile = spec.profile("quick").expect("there");
    let cells = profile.cells(None).expect("valid");
    assert_eq!(cells.iter().map(|cell| cell.title.as_str()).collect::<Vec<_>>()[2], "echo, rank 4");
    let done: Vec<_> = cells.into_iter().map(|cell| (cell, None)).collect();
    let (lines, axes) = profile.series(&done, dir.path(), None).expect("no tables").expect("lines");
    assert_eq!((lines.len(), lines[0].points.len(), axes.y), (1, 0, "repeated"));
    let error = FigureSpec::read(&dir.write("echo.yaml", &text.replace("echo: {", "ecko: {"))).expect_err("unknown");
    assert!(error.to_string().contains("did you mean `echo`?"), "{error}");
}

#[test]
fn an_own_objective_is_registered_and_minimised() {
    let dir = Dir::new();
    let losses = own_objective::run(&decoder(&dir)).expect("it trains");
    assert!(losses[9] < 0.9 * losses[0], "{losses:?}");
}

#[test]
fn a_hook_sees_every_block() {
    let dir = Dir::new();
    let norms = collect::run(&decoder(&dir), "a few words").expect("it reads");
    assert!(norms.len() == 4 && norms.iter().all(|norm| *norm > 0.0), "{norms:?}");
}

#[test]
fn a_whole_interchange_goes_on_like_the_source() {
    let dir = Dir::new();
    let [expected, got] = interchange::run(&decoder(&dir), 64).expect("it reads");
    assert_close("the whole space", &got, &expected, Tol::F32.times(10.0));
    let [expected, got] = interchange::run(&decoder(&dir), 1).expect("it reads");
    let apart = (got - expected).abs().max().double_value(&[]);
    assert!(apart > 1e-2, "one direction is not the whole space: {apart}");
}
