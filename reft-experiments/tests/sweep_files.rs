//! The sweeps of the repository: valid, and with the paper's spaces.

#![cfg(feature = "program")]

use std::path::Path;

use reft_experiments::config::merge::merge;
use reft_experiments::config::plan::{EvalSplit, RunPlan};
use reft_experiments::config::read::yaml;
use reft_experiments::sweep::space::Values;
use reft_experiments::sweep::spec::SweepSpec;
use serde_json::{Value, json};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The key of a setting as `paper/hyperparameters.yaml` spells it.
const KEYS: [(&str, &str); 10] = [
    ("positions", "adapt.reft.positions"),
    ("tied", "adapt.reft.tying"),
    ("rank", "adapt.reft.rank"),
    ("layers", "adapt.reft.layers"),
    ("dropout", "adapt.reft.dropout.p"),
    ("lr", "train.lr"),
    ("weight_decay", "train.weight_decay"),
    ("batch_size", "train.batch_size"),
    ("warmup_ratio", "train.warmup_ratio"),
    ("epochs", "train.epochs"),
];

#[test]
fn the_spaces_of_tables_5_to_8_are_the_paper_s() {
    let printed = yaml(&Path::new(REPOSITORY).join("paper/hyperparameters.yaml")).expect("readable");
    let printed = &printed["search_spaces"];
    let mut table6 = printed["table5_loreft_gsm8k"].clone();
    merge(&mut table6, printed["table6_direft_gsm8k"].clone());
    let tables = [
        ("table5", &printed["table5_loreft_gsm8k"]),
        ("table6", &table6),
        ("table7", &printed["table7_instruct_alpaca52k"]),
        ("table8", &printed["table8_glue"]),
    ];
    for (name, printed) in tables {
        let file = format!("{REPOSITORY}/configs/sweeps/{name}.yaml");
        let spec = SweepSpec::read(Path::new(&file), &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(spec.space.0.len(), KEYS.len(), "{name}");
        for (theirs, ours) in KEYS {
            let tying = |tied: &Value| if tied == &json!(true) { json!("tied") } else { json!("untied") };
            let choices = printed[theirs].as_array().unwrap_or_else(|| panic!("{name}: {theirs}"));
            let expected = choices.iter().map(|value| match (theirs, value) {
                ("tied", tied) => tying(tied),
                (_, Value::Number(number)) => json!(number.as_f64()),
                (_, other) => other.clone(),
            });
            let parameter = spec.space.0.iter().find(|parameter| parameter.key == ours).expect(ours);
            let Values::Choices(choices) = &parameter.values else { panic!("{name}: {ours}: choices") };
            let number = |value: &Value| if value.is_number() { json!(value.as_f64()) } else { value.clone() };
            let choices: Vec<Value> = choices.iter().map(number).collect();
            assert_eq!(choices, expected.collect::<Vec<_>>(), "{name}: {ours}");
        }
    }
}

#[test]
fn every_task_of_glue_is_chosen_by_seed_42_in_its_own_metric_and_run_with_five_seeds() {
    let printed = yaml(&Path::new(REPOSITORY).join("paper/hyperparameters.yaml")).expect("readable");
    let tasks = printed["glue"]["order"].as_array().expect("a list").iter().filter_map(Value::as_str);
    let file = format!("{REPOSITORY}/configs/sweeps/table8.yaml");
    let mut metrics = Vec::new();
    for task in tasks {
        let given = [
            format!("run.data={{train: [{task}], eval: [{task}]}}"),
            "run.model=FacebookAI/roberta-large".to_owned(),
            "run.adapt.reft.intervention=direft".to_owned(),
        ];
        let spec = SweepSpec::read(Path::new(&file), &given).unwrap_or_else(|error| panic!("{error}"));
        let point = spec.space.at(0).expect("a point");
        let trial = spec.plan(&point, "a test").expect("valid");
        assert_eq!((trial.seed, &trial.data.eval_split, trial.data.max_length), (42, &EvalSplit::Dev, 256));
        assert_eq!((trial.data.eval[0].key(), trial.model.as_str()), (task, "FacebookAI/roberta-large"));
        metrics.push(spec.metric.name(&trial));
        let last = spec.last_plans(&point, "a test", "a test").expect("valid");
        let same = |plan: &RunPlan| RunPlan { seed: 42, data: trial.data.clone(), ..plan.clone() } == trial;
        assert!(last.iter().all(same), "{task}: final runs differ in seed and split only");
        let of =
            |plan: &RunPlan| (plan.seed, matches!(plan.data.eval_split, EvalSplit::Test(_)), plan.data.eval.clone());
        let expected = (42..=46).map(|seed| (seed, true, trial.data.eval.clone()));
        assert_eq!(last.iter().map(of).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
    let (accuracy, matthews, pearson) = ("accuracy", "Matthews correlation", "Pearson correlation");
    assert_eq!(metrics, [accuracy, accuracy, accuracy, matthews, accuracy, accuracy, accuracy, pearson]);
}

#[test]
fn every_sweep_of_the_repository_is_valid() {
    let files = std::fs::read_dir(format!("{REPOSITORY}/configs/sweeps")).expect("in the repository");
    let paths: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    assert!(paths.len() >= 6, "{paths:?}");
    for path in paths {
        let spec = SweepSpec::read(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert!(spec.last.is_some(), "{}: no final stage", path.display());
    }
}

/// Baselines' sweeps by the one of LoReFT that each is to be as large as.
const FAIR: [(&str, &str, &[&str]); 4] = [
    ("table5", "gsm8k", &["lora", "dora", "series", "parallel", "prefix"]),
    ("table7", "alpaca", &["full", "lora", "red"]),
    ("table8", "glue", &["full", "bitfit", "lora", "adapter", "adapter-ffn", "red"]),
    ("embedded", "embedded", &["lora", "dora", "series", "parallel", "prefix"]),
];

#[test]
fn every_baseline_has_as_many_trials_on_the_same_dev_rows_as_loreft() {
    let read = |name: &str| {
        let file = format!("{REPOSITORY}/configs/sweeps/{name}.yaml");
        SweepSpec::read(Path::new(&file), &[]).unwrap_or_else(|error| panic!("{error}"))
    };
    let trials = |spec: &SweepSpec| spec.space.size().map_or(spec.trials, |size| spec.trials.min(size));
    for (loreft, prefix, baselines) in FAIR {
        let ours = read(loreft);
        let plan = |spec: &SweepSpec| spec.plan(&spec.space.at(0).expect("a point"), "a test").expect("valid");
        let first = plan(&ours);
        for name in baselines.iter().map(|name| format!("{prefix}-{name}")) {
            let spec = read(&name);
            assert_eq!(trials(&spec), trials(&ours), "{name}: trials");
            let settings = |spec: &SweepSpec| (spec.halving, spec.seed, spec.goal, spec.last.clone());
            assert_eq!(settings(&spec), settings(&ours), "{name}: rungs, seed and final runs");
            let theirs = plan(&spec);
            assert_eq!((&theirs.data, &theirs.model, &theirs.eval), (&first.data, &first.model, &first.eval), "{name}");
            assert_eq!(theirs.data.eval_split, EvalSplit::Dev, "{name}");
            assert_eq!(spec.metric.name(&theirs), ours.metric.name(&first), "{name}: metric");
        }
    }
}
