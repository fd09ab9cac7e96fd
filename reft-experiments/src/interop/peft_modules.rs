//! Whether `adapter_config.json` of a folder of peft says of its tensors what they are: which modules and layers it adapts, its rank,
//! and what else is in the file. A folder whose parts are of different adapters computes something else in peft than here.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use reft_core::site::Dims;
use regex::Regex;
use serde_json::Value;
use tch::Tensor;

use super::{NamedTensors, peft_config, text};

/// Settings that are read here, or that decide nothing once an adapter is trained.
const KNOWN: &[&str] = &[
    "adapter_dropout",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "bottleneck_size",
    "corda_config",
    "d_initial",
    "encoder_hidden_size",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "feedforward_modules",
    "inference_mode",
    "init_ia3_weights",
    "init_lora_weights",
    "init_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "modules_to_save",
    "non_linearity",
    "num_attention_heads",
    "num_layers",
    "num_transformer_submodules",
    "num_virtual_tokens",
    "peft_type",
    "peft_version",
    "prefix_projection",
    "projection_prng_key",
    "qalora_group_size",
    "r",
    "revision",
    "runtime_config",
    "save_projection",
    "scaling",
    "target_modules",
    "task_type",
    "token_dim",
    "use_dora",
    "use_parallel_adapter",
    "use_rslora",
    "vera_dropout",
];

/// Heads that peft trains with an encoder and names in `modules_to_save` without being asked.
const HEADS: [&str; 2] = ["classifier", "score"];

/// Settings that are neither read nor known to change nothing, without those that are empty.
pub fn unknown<'c>(config: &'c Value, refused: &[&str]) -> Vec<&'c str> {
    let nothing = |value: &Value| {
        value.is_null()
            || *value == Value::Bool(false)
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty)
    };
    let settings = config.as_object().into_iter().flatten().filter(|(_, value)| !nothing(value));
    settings.map(|(key, _)| key.as_str()).filter(|key| !KNOWN.contains(key) && !refused.contains(key)).collect()
}

/// Refuses tensors at modules (`model.layers.0.self_attn.q_proj`) that the configuration leaves out, and modules that it has trained
/// and the file lacks.
///
/// # Errors
/// When there are some.
pub fn check_modules(config: &Value, modules: &BTreeSet<String>) -> Result<()> {
    let targets = Pattern::of(config, "target_modules")?;
    let excluded = Pattern::of(config, "exclude_modules")?;
    for module in modules {
        if targets.as_ref().is_some_and(|targets| !targets.matches(module)) {
            bail!("`target_modules` is {}, and there are tensors at {module}: {OTHER}", config["target_modules"]);
        }
        if excluded.as_ref().is_some_and(|excluded| excluded.matches(module)) {
            bail!("`exclude_modules` is {}, and there are tensors at {module}: {OTHER}", config["exclude_modules"]);
        }
    }
    if let Some(layers) = layers(config)?
        && let Some(module) = modules.iter().find(|module| layer_of(module).is_some_and(|at| !layers.contains(&at)))
    {
        bail!("`layers_to_transform` is {}, and there are tensors at {module}: {OTHER}", config["layers_to_transform"]);
    }
    let saved = config["modules_to_save"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match saved.into_iter().find(|name| !HEADS.contains(name)) {
        Some(name) => bail!(
            "`modules_to_save` names {name}, which is trained beside the adapter and is not read here: {}",
            peft_config::MERGE
        ),
        None => Ok(()),
    }
}

/// Refuses scales of IA3 at a module that `feedforward_modules` says to be of the other kind: a feedforward module's input is scaled, any
/// other's output.
///
/// # Errors
/// When a tensor is of the other kind.
pub fn check_feedforward(config: &Value, tensors: &NamedTensors) -> Result<()> {
    if config["feedforward_modules"].is_null() {
        return Ok(());
    }
    let feedforward = Pattern::of(config, "feedforward_modules")?;
    for (name, tensor) in tensors {
        let Some(module) = name.strip_suffix(".ia3_l") else { continue };
        let scales_input = tensor.size().first() == Some(&1);
        if feedforward.as_ref().is_some_and(|feedforward| feedforward.matches(module)) != scales_input {
            let scaled = if scales_input { "input" } else { "output" };
            bail!(
                "`feedforward_modules` is {}, and tensor `{name}` scales the {scaled}: {OTHER}",
                config["feedforward_modules"]
            );
        }
    }
    Ok(())
}

/// Names of `target_modules` at which there are no tensors.
pub fn without_tensors<'c>(config: &'c Value, modules: &BTreeSet<String>) -> Vec<&'c str> {
    let names = config["target_modules"].as_array().into_iter().flatten().filter_map(Value::as_str);
    names.filter(|name| !modules.iter().any(|module| ends_with(module, name))).collect()
}

/// Whether a path is this name, or ends with it.
fn ends_with(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// What to do about a folder whose parts do not agree.
const OTHER: &str = "configuration and tensors are of different adapters; copy the whole folder again";

/// Refuses a rank, or a number of tokens, that the tensors do not have.
///
/// # Errors
/// When they have another.
pub fn check_size(config: &Value, key: &str, tensors: &NamedTensors, of: &str) -> Result<()> {
    let Some(said) = config[key].as_i64() else { return Ok(()) };
    let has = |(name, tensor): (&String, &Tensor)| {
        let first = tensor.size().first().copied().unwrap_or_default();
        (name.ends_with(of) && first != said).then(|| (name.clone(), first))
    };
    match tensors.iter().find_map(has) {
        Some((name, found)) => bail!("`{key}` is {said}, and tensor `{name}` has {found}: {OTHER}"),
        None => Ok(()),
    }
}

/// What a folder must hold by its configuration, which only the model's number of layers tells.
#[derive(Clone, Debug)]
pub struct ExpectedModules {
    /// `adapter_config.json`.
    pub config: Value,
    /// The modules that have tensors.
    pub modules: BTreeSet<String>,
}

impl ExpectedModules {
    /// Refuses a folder that lacks a module which its configuration adapts in this model, and a prefix of other heads.
    ///
    /// # Errors
    /// When there is one.
    pub fn check(&self, dims: &Dims) -> Result<()> {
        let (config, modules) = (&self.config, &self.modules);
        let heads = (config["num_attention_heads"].as_i64(), config["token_dim"].as_i64());
        if let (Some(heads), Some(token)) = heads
            && heads * dims.head_width != token
        {
            bail!(
                "`num_attention_heads` is {heads} and `token_dim` {token}, and the model's heads are {} wide: {OTHER}",
                dims.head_width
            );
        }
        let targets = Pattern::of(config, "target_modules")?;
        let excluded = Pattern::of(config, "exclude_modules")?;
        let transformed = layers(config)?;
        let wanted = |module: &String, layer: usize| {
            targets.as_ref().is_none_or(|targets| targets.matches(module))
                && !excluded.as_ref().is_some_and(|excluded| excluded.matches(module))
                && transformed.as_ref().is_none_or(|layers| layers.contains(&(layer as i64)))
        };
        let twins =
            modules.iter().flat_map(|module| (0..dims.layers).filter_map(move |at| Some((in_layer(module, at)?, at))));
        match twins.into_iter().find(|(module, at)| !modules.contains(module) && wanted(module, *at)) {
            Some((missing, _)) => {
                bail!("the configuration adapts {missing} too, and there are no tensors for it: {OTHER}")
            }
            None => Ok(()),
        }
    }
}

/// The same module of another layer; none where its path has no layer.
fn in_layer(module: &str, layer: usize) -> Option<String> {
    let number = layer_of(module)?.to_string();
    let numbered = |part: &str| if part == number { layer.to_string() } else { part.to_owned() };
    Some(module.split('.').map(numbered).collect::<Vec<_>>().join("."))
}

/// Modules by the ends of their paths, or by an expression for the whole path.
enum Pattern {
    Ends(Vec<String>),
    Whole(Regex),
}

impl Pattern {
    fn of(config: &Value, key: &str) -> Result<Option<Self>> {
        if let Some(expression) = text(config, key) {
            if expression == "all-linear" {
                return Ok(None);
            }
            let Ok(whole) = Regex::new(&format!("^(?:{expression})$")) else {
                bail!(
                    "`{key}`: {expression} is no regular expression that is read here (look-around is not): list the modules' names"
                );
            };
            return Ok(Some(Self::Whole(whole)));
        }
        let names =
            config[key].as_array().map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        Ok(names.filter(|names: &Vec<String>| !names.is_empty()).map(Self::Ends))
    }

    fn matches(&self, module: &str) -> bool {
        match self {
            Self::Whole(expression) => expression.is_match(module),
            Self::Ends(names) => names.iter().any(|name| ends_with(module, name)),
        }
    }
}

/// The layers of `layers_to_transform`; none where all are.
fn layers(config: &Value) -> Result<Option<Vec<i64>>> {
    let one = |value: &Value| {
        value.as_i64().with_context(|| format!("`layers_to_transform` is {value}, no list of layers: correct it"))
    };
    match &config["layers_to_transform"] {
        Value::Null => Ok(None),
        Value::Array(list) if list.is_empty() => Ok(None),
        Value::Array(list) => list.iter().map(one).collect::<Result<_>>().map(Some),
        value => Ok(Some(vec![one(value)?])),
    }
}

/// The number in a module's path.
fn layer_of(module: &str) -> Option<i64> {
    module.split('.').find_map(|part| part.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(config: &Value) -> String {
        let modules = ["0.self_attn.q_proj", "2.self_attn.v_proj"].map(|name| format!("model.layers.{name}")).into();
        check_modules(config, &modules).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_configuration_of_another_adapter_is_refused() {
        for config in [
            json!({}),
            json!({"target_modules": ["q_proj", "self_attn.v_proj", "k_proj"], "layers_to_transform": [0, 1, 2]}),
            json!({"target_modules": r".*\.(q|v)_proj", "exclude_modules": ["proj"], "modules_to_save": ["classifier"]}),
            json!({"target_modules": "all-linear", "layers_to_transform": null}),
        ] {
            assert_eq!(said(&config), "", "{config}");
        }
        for (config, key) in [
            (json!({"target_modules": ["k_proj", "v_proj"]}), "`target_modules`"),
            (json!({"target_modules": ".*q_proj"}), "`target_modules`"),
            (json!({"exclude_modules": ["v_proj"]}), "`exclude_modules`"),
            (json!({"layers_to_transform": [1, 2]}), "`layers_to_transform`"),
            (json!({"layers_to_transform": 2}), "`layers_to_transform`"),
            (json!({"modules_to_save": ["lm_head"]}), "`modules_to_save` names lm_head"),
        ] {
            let said = said(&config);
            assert!(said.contains(key) && !said.contains("q_proj\"]: "), "{config}: {said}");
        }
    }

    #[test]
    fn targets_without_tensors_are_named() {
        let modules = ["model.layers.0.self_attn.q_proj".to_owned()].into();
        let config = json!({"target_modules": ["q_proj", "proj", "v_proj"]});
        assert_eq!(without_tensors(&config, &modules), ["proj", "v_proj"]);
    }

    #[test]
    fn settings_of_other_versions_are_named() {
        let config =
            json!({"r": 4, "use_foo": true, "bar": null, "bars": [], "use_bars": false, "rank_pattern": {"a": 1}});
        assert_eq!(unknown(&config, &["rank_pattern"]), ["use_foo"]);
    }
}
