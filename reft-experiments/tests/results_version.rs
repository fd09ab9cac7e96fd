//! Figures of tiny runs, kept with the results version that they were made with. When the program computes other numbers, runs
//! that are stored must not stand for new ones: the version has to be raised.

#![cfg(feature = "program")]

mod encoders;
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reft_experiments::store::environment::RESULTS_VERSION;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use support::{Dir, RUN};

/// Another processor rounds differently, and training carries that on; an algorithm that changed moves figures further.
const TOLERANCE: f64 = 1e-3;

/// Of answers, one may turn on a rounding; most do not.
const ANSWERS: f64 = 0.75;

#[derive(Serialize, Deserialize, Debug)]
struct Figures {
    results_version: u32,
    /// Losses of every update, and the sums of squares and of values of every trained tensor.
    numbers: BTreeMap<String, Vec<f64>>,
    /// What was decoded or classified, row by row.
    answers: BTreeMap<String, Vec<String>>,
}

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/figures/results_version.json")
}

fn run(dir: &Dir, arguments: &[&str]) -> String {
    let output = dir.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn trained(dir: &Dir, config: &str) -> PathBuf {
    let said = run(dir, &["train", config]);
    dir.path().join(said.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder"))
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("there");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Of each tensor the sum of squares and the sum.
fn sums(path: &Path, prefix: &str, into: &mut BTreeMap<String, Vec<f64>>) {
    let bytes = std::fs::read(path).expect("there");
    for (name, view) in SafeTensors::deserialize(&bytes).expect("whole").tensors() {
        let values = view.data().chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four bytes")));
        let (squares, sum) = values.map(f64::from).fold((0.0, 0.0), |(squares, sum), x| (squares + x * x, sum + x));
        into.insert(format!("{prefix} {name}"), vec![squares, sum]);
    }
}

/// Trains, scores and decodes in one thread and f32.
fn measure() -> Figures {
    let dir = Dir::new();
    encoders::add(&dir, "roberta", "encoder");
    dir.write(
        "decoder.yaml",
        &RUN.replace("epochs: 4", "epochs: 2").replace("max_new_tokens: 4", "max_new_tokens: 8, early_verdict: false"),
    );
    dir.write(
        "encoder.yaml",
        "model: encoder\ndtype: f32\nadapt: {reft: {intervention: direft, rank: 2, positions: f3+l1}}\ndata: {train: [mrpc], \
         eval: [mrpc], train_rows: 24, eval_rows: 16, max_length: 40, eval_split: {test: {chosen_by: a test}}}\ntrain: {epochs: 2, \
         batch_size: 8, lr: 5e-3, weight_decay: 0.1}\n",
    );
    let (decoder, encoder) = (trained(&dir, "decoder.yaml"), trained(&dir, "encoder.yaml"));
    let (mut numbers, mut answers) = (BTreeMap::new(), BTreeMap::new());
    for (name, run) in [("decoder", &decoder), ("encoder", &encoder)] {
        let number = |key: &str| -> Vec<f64> {
            lines(&run.join("metrics.jsonl")).iter().map(|line| line[key].as_f64().expect("a number")).collect()
        };
        numbers.insert(format!("{name} loss"), number("loss"));
        sums(&run.join("adapter/adapter_model.safetensors"), name, &mut numbers);
    }
    sums(&encoder.join("head.safetensors"), "head", &mut numbers);
    let texts = |path: PathBuf, key: &str| -> Vec<String> {
        lines(&path).iter().map(|line| line[key].as_str().expect("text").to_owned()).collect()
    };
    answers.insert("greedy".to_owned(), texts(decoder.join("predictions-arc_e.jsonl"), "said"));
    answers.insert("classes".to_owned(), texts(encoder.join("predictions-mrpc.jsonl"), "said"));
    let adapter = decoder.join("adapter").display().to_string();
    let begin = ["generate", "hello", "--raw", "--dtype", "f32", "--max-new", "8", "--adapter", &adapter];
    for (name, how) in [("beams", &["--beams", "3"][..]), ("sampled", &["--temperature", "0.7", "--seed", "5"])] {
        answers.insert(name.to_owned(), vec![run(&dir, &[&begin[..], how].concat())]);
    }
    Figures { results_version: RESULTS_VERSION, numbers, answers }
}

/// Where two sets of figures differ by more than rounding.
fn differences(old: &Figures, new: &Figures) -> Vec<String> {
    let mut found = Vec::new();
    if !old.numbers.keys().eq(new.numbers.keys()) || !old.answers.keys().eq(new.answers.keys()) {
        found.push("other tensors are trained".to_owned());
    }
    for ((name, old), new) in old.numbers.iter().zip(new.numbers.values()) {
        let scale = old.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        let far = |(a, b): (&f64, &f64)| (a - b).abs() > TOLERANCE * scale.max(1e-3);
        if old.len() != new.len() || old.iter().zip(new).any(far) {
            found.push(format!("{name}: {old:?} before, {new:?} now"));
        }
    }
    for ((name, old), new) in old.answers.iter().zip(new.answers.values()) {
        let same = old.iter().zip(new).filter(|(a, b)| a == b).count();
        if old.len() != new.len() || (same as f64) < ANSWERS * old.len() as f64 {
            found.push(format!("{name}: {old:?} before, {new:?} now"));
        }
    }
    found
}

#[test]
fn figures_move_only_when_the_results_version_does() {
    let now = measure();
    if std::env::var_os("REFT_STORE").is_some() {
        let text = serde_json::to_string_pretty(&now).expect("plain data") + "\n";
        std::fs::create_dir_all(kept().parent().expect("a folder")).expect("writable");
        std::fs::write(kept(), text).expect("writable");
        return;
    }
    let text = std::fs::read_to_string(kept()).expect("figures are kept");
    let before: Figures = serde_json::from_str(&text).expect("figures");
    let again = "store them anew: REFT_STORE=1 cargo test --test results_version";
    assert_eq!(before.results_version, RESULTS_VERSION, "the figures are of another results version: {again}");
    let differences = differences(&before, &now);
    assert!(
        differences.is_empty(),
        "the program computes other numbers: raise RESULTS_VERSION in src/store/environment.rs and {again}\n{}",
        differences.join("\n")
    );
}

#[test]
fn a_changed_algorithm_is_seen_and_a_rounding_is_not() {
    let figures = |loss: f64, answer: &str| Figures {
        results_version: 1,
        numbers: BTreeMap::from([("loss".to_owned(), vec![5.0, loss])]),
        answers: BTreeMap::from([("greedy".to_owned(), ["a", "b", "c", answer].map(str::to_owned).to_vec())]),
    };
    let kept = figures(2.5, "d");
    assert!(differences(&kept, &figures(2.5001, "d")).is_empty());
    assert!(differences(&kept, &figures(2.5, "another")).is_empty());
    assert_eq!(differences(&kept, &figures(2.52, "d")).len(), 1);
    let mut others = figures(2.5, "another");
    others.answers.get_mut("greedy").expect("there")[0] = "x".to_owned();
    assert_eq!(differences(&kept, &others).len(), 1);
}
