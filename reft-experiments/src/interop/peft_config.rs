//! Settings of `adapter_config.json` of peft that are checked before any tensor is looked at.

use anyhow::{Result, bail};
use serde_json::Value;

use super::text;

/// What kinds of values a setting has.
#[derive(Clone, Copy)]
struct SettingType {
    /// In words.
    words: &'static str,
    /// Whether a value is of it.
    is: fn(&Value) -> bool,
}

const SWITCH: SettingType = SettingType { words: "true or false", is: Value::is_boolean };
const TEXT: SettingType = SettingType { words: "a text", is: Value::is_string };
const WHOLE: SettingType = SettingType { words: "a whole number", is: Value::is_i64 };
const NUMBER: SettingType = SettingType { words: "a number", is: Value::is_number };
const NAMES: SettingType = SettingType { words: "a list of names", is: is_names };
const MODULES: SettingType =
    SettingType { words: "a list of names, or an expression", is: |value| value.is_string() || is_names(value) };

fn is_names(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
}

/// The settings that are read here, with their types.
const TYPES: [(&str, SettingType); 23] = [
    ("bias", TEXT),
    ("bottleneck_size", WHOLE),
    ("d_initial", NUMBER),
    ("exclude_modules", MODULES),
    ("feedforward_modules", MODULES),
    ("lora_alpha", NUMBER),
    ("lora_dropout", NUMBER),
    ("modules_to_save", NAMES),
    ("num_attention_heads", WHOLE),
    ("num_layers", WHOLE),
    ("num_transformer_submodules", WHOLE),
    ("num_virtual_tokens", WHOLE),
    ("peft_type", TEXT),
    ("prefix_projection", SWITCH),
    ("projection_prng_key", WHOLE),
    ("r", WHOLE),
    ("revision", TEXT),
    ("save_projection", SWITCH),
    ("target_modules", MODULES),
    ("token_dim", WHOLE),
    ("use_dora", SWITCH),
    ("use_parallel_adapter", SWITCH),
    ("use_rslora", SWITCH),
];

/// Refuses settings of another type than theirs, which would be read as if they were not there.
///
/// # Errors
/// With the first of them.
pub fn check_types(config: &Value) -> Result<()> {
    let wrong = |(key, kind): &&(&str, SettingType)| !config[*key].is_null() && !(kind.is)(&config[*key]);
    match TYPES.iter().find(wrong) {
        Some((key, kind)) => {
            bail!("`{key}` is {}, and must be {}: correct it in adapter_config.json", config[*key], kind.words)
        }
        None => Ok(()),
    }
}

/// Starts of LoRA that leave the base model as it is.
const STARTS: [&str; 3] = ["gaussian", "orthogonal", "eva"];

/// Refuses a start of LoRA that changes the base model's weights (`pissa`, `olora`, `corda`, `loftq`): the tensors are of the changed model,
/// which the folder does not hold.
///
/// # Errors
/// When the configuration names one.
pub fn check_start(config: &Value) -> Result<()> {
    match text(config, "init_lora_weights").filter(|start| !STARTS.contains(start)) {
        Some(start) => bail!(
            "`init_lora_weights` is {start}, which changes the base model's weights before training: save it as plain LoRA by peft \
             (path_initial_model_for_weight_conversion), or {MERGE}"
        ),
        None => Ok(()),
    }
}

/// What to do about an adapter that is not computed here.
pub const MERGE: &str = "merge it into its model by peft (merge_and_unload) and give that model's folder";

/// The same of a kind of adapters that is not read.
pub const MERGE_OTHERS: &str = "; where peft can merge it into its model (merge_and_unload), give that model's folder";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_of_another_type_are_refused_by_name() {
        let good = json!({"r": 4, "use_rslora": true, "target_modules": "all-linear", "bias": null, "modules_to_save": ["score"]});
        assert!(check_types(&good).is_ok());
        for (key, value, words) in [
            ("use_rslora", json!("true"), "`use_rslora` is \"true\", and must be true or false"),
            ("use_dora", json!(1), "`use_dora` is 1"),
            ("modules_to_save", json!("lm_head"), "and must be a list of names"),
            ("target_modules", json!(5), "`target_modules` is 5"),
            ("num_layers", json!("3"), "and must be a whole number"),
        ] {
            let mut config = good.clone();
            config[key] = value;
            let said = check_types(&config).expect_err(key).to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
