//! What a run's name means: a record is found again as long as its result is the same, and not otherwise.

#![cfg(feature = "program")]

mod support;

use std::path::{Path, PathBuf};

use reft_models::weights::Weights;
use serde_json::{Value, json};
use support::{Dir, RUN};

/// Folders of runs.
fn runs(dir: &Dir) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.path().join("runs")).expect("runs");
    let mut runs: Vec<_> = entries.map(|entry| entry.expect("readable").path()).filter(|path| path.is_dir()).collect();
    runs.sort();
    runs
}

/// Trains the smallest run; how many there are then.
fn train(dir: &Dir, threads: &str) -> usize {
    let small = ["--set", "train.epochs=1", "--set", "data.train_rows=4", "--set", "data.eval_rows=1"];
    let arguments = [&["train", "run.yaml"][..], &small].concat();
    let output = dir.reft(&arguments).env("OMP_NUM_THREADS", threads).output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    runs(dir).len()
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("there")).expect("JSON");
    change(&mut json);
    std::fs::write(path, json.to_string()).expect("writable");
}

#[test]
fn a_record_is_reused_only_for_the_same_weights_configuration_tokenizer_and_template() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let model = dir.path().join("model");
    assert_eq!((train(&dir, "1"), train(&dir, "1")), (1, 1));
    let config = model.join("config.json");
    edit(&config, |json| {
        json["transformers_version"] = "another".into();
        let Value::Object(object) = json else { panic!("an object") };
        *object = std::mem::take(object).into_iter().rev().collect();
    });
    assert_eq!(train(&dir, "1"), 1, "keys in another order, and who wrote the file");
    let mut expected = 1;
    let mut check = |what: &str| {
        expected += 1;
        assert_eq!(train(&dir, "1"), expected, "{what}");
    };
    edit(&config, |json| json["rope_theta"] = json!(100_001.0));
    check("another rope_theta");
    edit(&model.join("tokenizer_config.json"), |json| json["chat_template"] = "{{ messages }}".into());
    check("a chat template");
    std::fs::write(model.join("chat_template.jinja"), "{{ messages }}!").expect("writable");
    check("a chat template in a file of its own");
    edit(&model.join("tokenizer.json"), |json| json["normalizer"] = json!({"type": "Lowercase"}));
    check("another normaliser");
    let weights = model.join("model.safetensors");
    let whole = std::fs::read(&weights).expect("there");
    let begin = 8 + u64::from_le_bytes(whole[..8].try_into().expect("eight bytes")) as usize;
    for part in [0, 1, 2] {
        let mut changed = whole.clone();
        let at = begin + (whole.len() - 4 - begin) / 4 * part / 2 * 4;
        changed[at] ^= 1;
        std::fs::write(&weights, changed).expect("writable");
        check(&format!("one bit of the byte at {at}"));
    }
    std::fs::write(&weights, whole).expect("writable");
    let now = runs(&dir).len();
    assert_eq!(train(&dir, "1"), now, "as it was before");
    assert_eq!((train(&dir, "2"), train(&dir, "2")), (now + 1, now + 1), "digits depend on the number of threads");
    let record = std::fs::read_to_string(runs(&dir)[0].join("record.json")).expect("a record");
    let record: Value = serde_json::from_str(&record).expect("JSON");
    for key in ["results_version", "weights_fingerprint", "config_fingerprint", "tokenizer_fingerprint", "code_hash"] {
        assert!(!record["environment"][key].is_null(), "{key}");
    }
}

/// What `generate` says on standard error with an adapter, and whether it worked.
fn generate(dir: &Dir, adapter: &Path) -> (bool, String) {
    let adapter = adapter.display().to_string();
    let output = dir.run(&["generate", "hello", "--dtype", "f32", "--max-new", "3", "--adapter", &adapter]);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn an_adapter_of_an_earlier_version_is_checked_by_the_fingerprint_that_it_knows() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    train(&dir, "1");
    let adapter = runs(&dir)[0].join("adapter");
    let legacy = Weights::open(&dir.path().join("model")).and_then(|weights| weights.legacy_fingerprint());
    let legacy = legacy.expect("readable");
    edit(&adapter.join("adapter_config.json"), |json| {
        let Value::Object(base) = &mut json["base_model"] else { panic!("an object") };
        base["fingerprint"] = legacy.into();
        base.remove("sketch").expect("it was there");
    });
    let (worked, said) = generate(&dir, &adapter);
    assert!(worked && !said.contains("warning"), "{said}");
    edit(&adapter.join("adapter_config.json"), |json| json["base_model"]["fingerprint"] = "0".repeat(32).into());
    let (worked, said) = generate(&dir, &adapter);
    assert!(!worked && said.contains("load the base model it was trained on"), "{said}");
}

#[test]
fn a_base_in_another_precision_is_warned_of_in_one_line() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    train(&dir, "1");
    let adapter = runs(&dir)[0].join("adapter");
    let path = dir.path().join("model/model.safetensors");
    let bytes = std::fs::read(&path).expect("there");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("whole");
    let narrow: Vec<(String, Vec<usize>, Vec<u8>)> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            (name, view.shape().to_vec(), view.data().chunks_exact(4).flat_map(|four| [four[2], four[3]]).collect())
        })
        .collect();
    let views = narrow.iter().map(|(name, shape, bytes)| {
        let dtype = safetensors::tensor::Dtype::BF16;
        (name.as_str(), safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).expect("bytes of that shape"))
    });
    let file = safetensors::serialize(views, None).expect("consistent views");
    std::fs::write(&path, file).expect("writable");
    let (worked, said) = generate(&dir, &adapter);
    let warnings =
        said.lines().filter(|line| line.starts_with("warning: ") && line.contains("another precision")).count();
    assert!(worked && warnings == 1, "{said}");
}
