//! Folders of peft that `reft import` refuses: each answer names the setting or the tensor as the folder has it, and the remedy.

#![cfg(feature = "program")]

#[path = "support/own.rs"]
mod own;
mod support;

use own::{TRAIN, done, refused};
use serde_json::{Value, json};
use support::Dir;

/// A folder of peft with an adapter of this kind, trained on a few rows.
fn exported(adapt: &str) -> Dir {
    let dir = Dir::faq();
    done(&dir, &[&TRAIN[..], &["--set", &format!("adapt={adapt}"), "--out", "mine"]].concat());
    done(&dir, &["export", "mine", "--to", "peft", "--out", "theirs"]);
    dir
}

/// Takes away the tensors of the folder whose names have this in them.
fn without(dir: &Dir, part: &str) {
    let path = dir.path().join("theirs/adapter_model.safetensors");
    let tensors = reft_models::weights::read_tensors(&path).expect("tensors");
    let left: Vec<_> = tensors.into_iter().filter(|(name, _)| !name.contains(part)).collect();
    reft_experiments::interop::model_folder::write_safetensors(&path, &left).expect("written");
}

/// The folder with other settings, imported.
fn with(dir: &Dir, settings: &[(&str, Value)], flags: &[&str], parts: &[&str]) {
    let path = dir.path().join("theirs/adapter_config.json");
    let before = std::fs::read_to_string(&path).expect("a configuration");
    let mut config: Value = serde_json::from_str(&before).expect("JSON");
    for (key, value) in settings {
        config[*key] = value.clone();
    }
    dir.write("theirs/adapter_config.json", &config.to_string());
    let import = ["import", "theirs", "--model", "model", "--out", "ours"];
    refused(dir, &[&import[..], flags].concat(), parts);
    assert!(!dir.path().join("ours").exists());
    dir.write("theirs/adapter_config.json", &before);
}

#[test]
fn starts_that_change_the_base_model_and_flags_that_do_not_apply() {
    let dir = exported("{lora: {rank: 2, alpha: 4, components: [query]}}");
    for start in ["pissa", "pissa_niter_4", "olora", "corda", "loftq"] {
        let parts =
            [&format!("`init_lora_weights` is {start}")[..], "changes the base model's weights", "merge_and_unload"];
        with(&dir, &[("init_lora_weights", json!(start))], &[], &parts);
    }
    with(&dir, &[("rank_pattern", json!({"q_proj": 4}))], &[], &["`rank_pattern` is ", "merge the adapter"]);
    with(
        &dir,
        &[("peft_type", json!("ADALORA"))],
        &[],
        &["peft_type ADALORA is not read here: LORA, ", "merge_and_unload"],
    );
    let vera = exported("{vera: {rank: 4}}");
    without(&vera, "vera_A");
    with(&vera, &[("save_projection", json!(true))], &[], &["`save_projection` is true", "base_model.vera_A"]);
    with(&dir, &[("use_rslora", json!("true"))], &[], &["`use_rslora` is \"true\", and must be true or false"]);
    with(
        &dir,
        &[("target_modules", json!("("))],
        &[],
        &["`target_modules`: ( is no regular expression that is read here"],
    );
    with(&dir, &[("peft_type", json!("lora"))], &[], &["peft_type lora is not read here (did you mean `LORA`?)"]);
    with(&dir, &[], &["--positions", "f1+l1"], &["positions are told of pyreft's folders alone"]);
    with(&dir, &[], &["--direft"], &["this is a folder of peft"]);
    refused(&dir, &["import", "model", "--out", "ours"], &["config.json is a model's and no adapter's"]);
}

#[test]
fn scales_and_prefixes_of_another_form_than_the_configuration_says() {
    let ia3 = exported("{ia3: {components: [key, value, mlp_hidden]}}");
    let parts = ["`feedforward_modules` is []", "down_proj.ia3_l` scales the input"];
    with(&ia3, &[("feedforward_modules", json!([]))], &[], &parts);
    let prefix = exported("{prefix: {tokens: 3}}");
    with(&prefix, &[("num_layers", json!(9))], &[], &["`num_layers` 9 and `token_dim` ", "`prompt_embeddings` is ["]);
}

#[test]
fn a_layer_without_tensors() {
    let dir = exported("{lora: {rank: 2, alpha: 4, components: [query]}}");
    without(&dir, "layers.1.");
    let parts = ["the configuration adapts ", "layers.1.self_attn.q_proj too", "copy the whole folder again"];
    // An export names its layers: of a configuration that names none every layer is adapted.
    with(&dir, &[("layers_to_transform", Value::Null)], &[], &parts);
    without(&dir, "layers.0.self_attn.q_proj.lora_B");
    let parts = ["tensor `base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight` is missing"];
    with(&dir, &[("layers_to_transform", json!([0, 2, 3]))], &[], &parts);
}

#[test]
fn adapters_of_other_libraries_in_place_of_ours_are_to_be_imported() {
    let dir = exported("{lora: {rank: 2, alpha: 4, components: [query]}}");
    refused(&dir, &["generate", "hi", "--adapter", "theirs"], &["an adapter of peft, which is to be imported first"]);
    let lorra = [&TRAIN[..], &["--set", "adapt={lorra: {rank: 4}}"]].concat();
    refused(&dir, &lorra, &["`lorra` is unknown (did you mean `lora`?)"]);
}
