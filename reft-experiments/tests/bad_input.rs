//! Bad input of every kind is answered with one line that names the place and the remedy, and a non-zero exit code.

#![cfg(feature = "program")]

mod support;

use support::{Dir, RUN};

/// Runs the program and checks its complaint.
fn check(dir: &Dir, arguments: &[&str], expected: &[&str]) {
    let output = dir.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    let complaint: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert_eq!(complaint.len(), 1, "{arguments:?}: one line, not: {said}");
    for part in expected {
        assert!(complaint[0].contains(part), "{arguments:?}: `{part}` is not in: {}", complaint[0]);
    }
    assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
}

#[test]
fn mistakes_in_a_configuration() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    dir.write("typo.yaml", &RUN.replace("dtype", "dtyp"));
    check(&dir, &["train", "none.yaml"], &["none.yaml", "No such file", "check the path"]);
    check(&dir, &["train", "typo.yaml"], &["typo.yaml:3: unknown key `dtyp` (did you mean `dtype`?)"]);
    check(
        &dir,
        &["train", "run.yaml", "--set", "train.lr=-1"],
        &["--set train.lr=-1: train.lr: -1 is not a learning rate"],
    );
    let layer = "adapt.reft.layers=[7]";
    check(&dir, &["train", "run.yaml", "--set", layer], &["run.yaml: adapt: layer 7 does not exist", "layers 0 to 3"]);
    let from_end = "adapt.reft.layers=[-5]";
    check(&dir, &["train", "run.yaml", "--set", from_end], &["layer -5 does not exist", "-1 to -4 from the end"]);
    let same = "adapt.reft.layers=[3, -1]";
    check(&dir, &["train", "run.yaml", "--set", same], &["layers 3 and -1 are the same in a model of 4 layers"]);
    let task = "data.train=[obqq]";
    check(&dir, &["train", "run.yaml", "--set", task], &["data.train", "`obqq` is unknown (did you mean `obqa`?)"]);
}

#[test]
fn missing_models_and_data() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    check(&dir, &["train", "run.yaml", "--set", "model=smollm3"], &["model `smollm3` is not known", "give `smollm2`"]);
    check(&dir, &["train", "run.yaml", "--set", "model=smollm2"], &["SmolLM2", "make model"]);
    check(&dir, &["train", "run.yaml", "--set", "model=org/name"], &["org/name", "HF_HUB_OFFLINE is set"]);
    let real = "data.source=real";
    check(
        &dir,
        &["train", "run.yaml", "--set", real],
        &["dataset/ARC-Easy/train.json", "place the file at", "REFT_DATA"],
    );
    check(&dir, &["train", "run.yaml", "--set", "device=cuda"], &["device cuda", "use device cpu"]);
}

#[test]
fn damaged_files() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let trained = dir.run(&["train", "run.yaml", "--set", "train.epochs=1"]);
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let said = String::from_utf8_lossy(&trained.stdout).into_owned();
    let run = said.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder").to_owned();
    let adapter = format!("{run}/adapter");
    let generate = ["generate", "hello", "--dtype", "f32", "--max-new", "3", "--adapter", adapter.as_str()];
    assert!(dir.run(&generate).status.success());

    let config = dir.path().join("model/config.json");
    let text = std::fs::read_to_string(&config).expect("there");
    std::fs::write(&config, text.replace("\"hidden_size\": 64", "\"hidden_size\": 32")).expect("writable");
    check(&dir, &generate, &["embed_tokens.weight", "[512, 64]", "[512, 32]"]);
    std::fs::write(&config, text).expect("writable");

    let tensors = dir.path().join(&adapter).join("adapter_model.safetensors");
    let bytes = std::fs::read(&tensors).expect("written");
    std::fs::write(&tensors, &bytes[..bytes.len() - 7]).expect("writable");
    check(&dir, &generate, &["adapter_model.safetensors", "truncated"]);

    let weights = dir.path().join("model/model.safetensors");
    let bytes = std::fs::read(&weights).expect("there");
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).expect("writable");
    check(&dir, &["train", "run.yaml"], &["model.safetensors", "truncated or damaged", "download it again"]);
}

#[test]
fn texts_beyond_the_models_context() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let config = dir.path().join("model/config.json");
    let text = std::fs::read_to_string(&config).expect("there");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    json["max_position_embeddings"] = 16.into();
    std::fs::write(&config, json.to_string()).expect("writable");
    let long = "hello ".repeat(20);
    let generate = |prompt: &str, max_new: &str| {
        ["generate", prompt, "--model", "model", "--dtype", "f32", "--max-new", max_new].map(str::to_owned)
    };
    let arguments = generate(&long, "2");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    check(&dir, &arguments, &["the prompt: ", "tokens are more than the 16 that the model reads", "shorten it"]);
    check(&dir, &["train", "run.yaml"], &["row 0: ", "more than the 16", "set data.max_length to 16 or less"]);
    // What only an answer could reach is said and goes on.
    let arguments = generate("hi", "16");
    let output = dir.run(&arguments.each_ref().map(String::as_str));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 of 1 prompts could be answered beyond the model's context of 16 tokens"), "{said}");
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_keeps_the_adapter() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    check(&dir, &["train", "run.yaml", "--set", "train.lr=1e38"], &["loss", "arc_e row", "lower the learning rate"]);
    let runs: Vec<_> = std::fs::read_dir(dir.path().join("runs")).expect("a run").collect();
    let run = runs[0].as_ref().expect("readable").path();
    assert!(run.join("failure.txt").exists() && !run.join("record.json").exists());
    let bytes = std::fs::read(run.join("adapter/adapter_model.safetensors")).expect("the last good adapter");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("whole");
    for (name, view) in tensors.iter() {
        let finite = view.data().chunks(4).all(|four| f32::from_le_bytes(four.try_into().expect("four")).is_finite());
        assert!(finite, "{name}");
    }
}

#[test]
fn sweeps_that_would_choose_by_test_rows_or_cannot_be_found() {
    let dir = Dir::new();
    dir.write("run.yaml", RUN);
    let sweep = "title: T\nbase: run.yaml\nspace: {train.lr: {choices: [1e-3]}}\nmethod: grid\n";
    let test = "run: {data: {eval_split: {test: {chosen_by: me}}}}\n";
    dir.write("test.yaml", &format!("{sweep}{test}"));
    let refused =
        ["test.yaml", "data.eval_split", "a sweep chooses by dev rows only", "`final` runs the chosen setting"];
    check(&dir, &["sweep", "run", "test.yaml"], &refused);
    dir.write("typo.yaml", &sweep.replace("space", "spcae"));
    check(&dir, &["sweep", "run", "typo.yaml"], &["typo.yaml:3: unknown key `spcae` (did you mean `space`?)"]);
    check(&dir, &["sweep", "status", "none.yaml"], &["none.yaml", "check the path"]);
    check(&dir, &["sweep", "work", "."], &["not a sweep's folder", "reft sweep run FILE"]);
}
