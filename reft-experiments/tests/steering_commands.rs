//! `reft collect`, `reft read` and `reft generate --strength` as a user runs them.

mod support;

use std::path::Path;

use support::Dir;
use tch::{Kind, Tensor};

const PAIRS: &str = "{\"positive\": \"we are glad\", \"negative\": \"we are sad\"}
{\"positive\": \"a bright day\", \"negative\": \"a dark day\"}
{\"positive\": \"good news\", \"negative\": \"bad news\"}
";

fn ok(dir: &Dir, arguments: &[&str]) -> String {
    let output = dir.run(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

/// The one line that a command says when it refuses.
fn refused(dir: &Dir, arguments: &[&str]) -> String {
    let output = dir.run(arguments);
    assert!(!output.status.success(), "{arguments:?} succeeds");
    String::from_utf8(output.stderr).expect("text")
}

fn tensor(path: &Path, name: &str) -> Tensor {
    let tensors = Tensor::read_safetensors(path).expect("a safetensors file");
    let known: Vec<&String> = tensors.iter().map(|(name, _)| name).collect();
    let found = tensors.iter().find(|(other, _)| other == name);
    found.unwrap_or_else(|| panic!("{name} is none of {known:?}")).1.shallow_clone()
}

#[test]
fn states_are_written_with_an_index_and_means_are_the_tokens_means() {
    let dir = Dir::new();
    dir.write("texts.txt", "first text\n\nno\nthe third one\n");
    let common = ["collect", "texts.txt", "--model", "model", "--dtype", "f32", "--layers", "0;-1"];
    let run = |rest: &[&str]| ok(&dir, &[&common, rest].concat());
    let said = run(&["--out", "tokens.safetensors", "--component", "block_output,mlp_output"]);
    assert!(said.contains("25 rows of 3 texts at 4 sites"), "{said}");
    run(&["--out", "means.safetensors", "--mean"]);
    run(&["--out", "last.safetensors", "--positions", "l1"]);
    let read = |file: &str, name: &str| tensor(&dir.path().join(file), name);
    let text = Vec::<i64>::try_from(read("tokens.safetensors", "index.text")).expect("numbers");
    assert_eq!(text.iter().filter(|&&text| text == 1).count(), 2, "a token a byte");
    let position = Vec::<i64>::try_from(read("tokens.safetensors", "index.position")).expect("numbers");
    assert_eq!(position[10..14], [0, 1, 0, 1]);
    let states = read("tokens.safetensors", "block_output.0");
    let (means, last) = (read("means.safetensors", "block_output.0"), read("last.safetensors", "block_output.0"));
    assert_eq!((means.size()[0], last.size()[0]), (3, 3));
    let mean = states.narrow(0, 10, 2).mean_dim([0i64].as_slice(), false, Kind::Float);
    assert!((mean - means.get(1)).abs().max().double_value(&[]) < 1e-5);
    assert!((states.get(11) - last.get(1)).abs().max().double_value(&[]) < 1e-5);
    let refusals: [(&[&str], &str); 3] = [
        (&["--out", "x", "--layers", "9"], "layer 9 does not exist"),
        (&["--out", "x", "--component", "heads"], "there is no component `heads`: choose one of"),
        (&["--out", "x", "--positions", "gen"], "`gen` means generated or named tokens"),
    ];
    for (rest, expected) in refusals {
        let error = refused(&dir, &[&["collect", "texts.txt", "--model", "model"], rest].concat());
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
        assert!(!dir.path().join("x").exists(), "nothing half-written");
    }
}

#[test]
fn no_file_of_the_user_is_replaced_unasked() {
    let dir = Dir::new();
    dir.write("texts.txt", "first text\n");
    dir.write("other.txt", "kept");
    let collect = ["collect", "texts.txt", "--model", "model", "--layers", "0", "--out"];
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("still there");
    for (out, rest, expected) in [
        ("texts.txt", &[][..], "texts.txt is read, and would be lost"),
        ("./texts.txt", &["--overwrite"], "texts.txt is read, and would be lost"),
        ("other.txt", &[], "other.txt: a file is there: name another one, or give --overwrite"),
    ] {
        let error = refused(&dir, &[&collect[..], &[out], rest].concat());
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
    assert_eq!((read("texts.txt"), read("other.txt")), ("first text\n".to_owned(), "kept".to_owned()));
    ok(&dir, &[&collect[..], &["other.txt", "--overwrite"]].concat());

    dir.write("pairs.jsonl", PAIRS);
    std::fs::create_dir(dir.path().join("mine")).expect("a folder");
    dir.write("mine/adapter_config.json", "{}");
    dir.write("mine/task.json", "{}");
    dir.write("mine/notes.txt", "kept");
    let steer = ["read", "pairs.jsonl", "--model", "model", "--dtype", "f32", "--layers", "1", "--out", "mine"];
    let error = refused(&dir, &steer);
    assert!(error.contains("mine: files of another adapter are there (adapter_config.json)"), "{error}");
    assert_eq!(read("mine/adapter_config.json"), "{}");
    ok(&dir, &[&steer[..], &["--overwrite"]].concat());
    assert!(!dir.path().join("mine/task.json").exists(), "the task of the adapter before");
    assert_eq!(read("mine/notes.txt"), "kept");
    std::fs::create_dir(dir.path().join("texts")).expect("a folder");
    dir.write("texts/pairs.jsonl", PAIRS);
    let beside = ["read", "texts/pairs.jsonl", "--model", "model", "--dtype", "f32", "--layers", "1", "--out", "texts"];
    ok(&dir, &beside);
    assert_eq!(read("texts/pairs.jsonl"), PAIRS, "beside the adapter, as it was");
    for (flags, expected) in [
        (&["--out", "x", "--strength", "nan"][..], "write a finite number"),
        (&["--out", "x", "--strength", "1e40"], "write a finite number"),
    ] {
        let error = refused(&dir, &[&["read", "pairs.jsonl", "--model", "model", "--layers", "1"], flags].concat());
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
    let error = refused(&dir, &["read", "pairs.jsonl", "--layers", "1", "--out", "x"]);
    assert!(error.contains("--model: name the base model"), "{error}");
}

#[test]
fn a_vector_is_an_adapter_and_strength_0_is_the_base_model() {
    let dir = Dir::new();
    dir.write("pairs.jsonl", PAIRS);
    let read = |out: &str, rest: &[&str]| {
        let common = ["read", "pairs.jsonl", "--model", "model", "--dtype", "f32", "--layers", "1", "--out", out];
        ok(&dir, &[&common, rest].concat())
    };
    let said = read("glad", &[]);
    assert!(said.contains("3 of 3"), "{said}");
    for (reading, operator) in [("pca", "piecewise"), ("pca_swapped", "linear"), ("pca_uncentred", "projection")] {
        read(reading, &["--reading", reading, "--operator", operator, "--positions", "l1+gen"]);
        let length = tensor(&dir.path().join(reading).join("adapter_model.safetensors"), "block_output.1.both.vector");
        assert!((length.norm().double_value(&[]) - 1.0).abs() < 1e-5, "{reading}");
    }
    let says =
        |rest: &[&str]| ok(&dir, &[&["generate", "how are you", "--max-new", "8", "--dtype", "f32"], rest].concat());
    let base = says(&["--model", "model"]);
    assert_eq!(says(&["--adapter", "glad", "--strength", "0"]), base);
    let strong = says(&["--adapter", "glad", "--strength", "40"]);
    assert_ne!(strong, base);
    assert_ne!(says(&["--adapter", "glad", "--strength=-40"]), strong);

    let error = refused(&dir, &["generate", "a", "--adapter", "glad", "--strength", "1,2"]);
    assert!(error.contains("--strength: glad: 2 strengths for 1 sets"), "{error}");
    let error = refused(&dir, &["generate", "a", "--adapter", "glad", "--strength", "nan"]);
    assert!(error.contains("--strength: NaN is no finite number"), "{error}");
    dir.write("same.jsonl", "{\"positive\": \"a\", \"negative\": \"a\"}\n");
    let same = ["read", "same.jsonl", "--model", "model", "--layers", "1", "--out", "none"];
    let error = refused(&dir, &same);
    assert!(error.contains("same.jsonl: layer 1: the states of the positive and the negative texts"), "{error}");
    assert!(!dir.path().join("none").exists());
}

#[test]
fn a_sequence_steers_the_first_tokens_with_a_vector_each() {
    let dir = Dir::new();
    dir.write("pair.jsonl", "{\"positive\": \"Love\", \"negative\": \"Hate\"}\n");
    let read = ["read", "pair.jsonl", "--model", "model", "--dtype", "f32", "--layers", "0;2", "--reading", "sequence"];
    ok(&dir, &[&read[..], &["--out", "love"]].concat());
    let file = dir.path().join("love/adapter_model.safetensors");
    for layer in [0, 2] {
        for position in 0..4 {
            assert_eq!(tensor(&file, &format!("block_output.{layer}.first{position}.vector")).dim(), 1);
        }
    }
    dir.write("pair.jsonl", "{\"positive\": \"Love\", \"negative\": \"Hatred\"}\n");
    let error = refused(&dir, &[&read[..], &["--out", "hate"]].concat());
    assert!(error.contains("the positive text has 4 tokens and the negative 6"), "{error}");
}
