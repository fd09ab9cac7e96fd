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

/// The folder with other settings, imported.
fn with(dir: &Dir, settings: &[(&str, Value)], flags: &[&str], parts: &[&str]) {
    let path = dir.path().join("theirs/adapter_config.json");
    let before = std::fs::read_to_string(&path).expect("a configuration");
    let mut config: Value = serde_json::from_str(&before).expect("JSON");
    settings.iter().for_each(|(key, value)| config[*key] = value.clone());
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
        &["peft_type ADALORA is not read here (LORA, ", "merge_and_unload"],
    );
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
