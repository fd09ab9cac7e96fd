//! Folders of peft (LoRA, DoRA, VeRA, IA3, prefix-tuning) and of LLM-Adapters, a fork of it (bottlenecks).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use reft_core::AdaptSpec;
use reft_core::adaptations::bottleneck::{Nonlinearity, ParallelSpec, SeriesSpec};
use reft_core::adaptations::dora::DoraSpec;
use reft_core::adaptations::ia3::Ia3Spec;
use reft_core::adaptations::lora::{LoraBias, LoraSpec};
use reft_core::adaptations::prefix::PrefixSpec;
use reft_core::adaptations::vera::VeraSpec;
use reft_core::layers::Layers;
use reft_core::positions::{Positions, Truncation};
use reft_core::site::{Component, Site};
use serde_json::Value;

use super::names::{grid, site};
use super::peft_modules::{self, ExpectedModules};
use super::{AdapterOrigin, ImportedAdapter, NamedTensors, peft_config, refuse, tensors, text, whole};
use crate::suggest::did_you_mean;

/// What wraps the model in names of tensors.
const WRAPPER: &str = "base_model.model.";

/// Settings that change results and have no counterpart here.
const UNKNOWN: &[&str] = &[
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
    "monteclora_config",
];

/// Kinds of adapters that are read.
const KINDS: [&str; 5] = ["LORA", "VERA", "IA3", "PREFIX_TUNING", "BOTTLENECK"];

/// Kinds that train prompts, which no weights can take up.
const PROMPTS: [&str; 5] = ["PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "ADAPTION_PROMPT", "CPT"];

/// What peft takes where a configuration says no `lora_alpha`.
const PEFT_ALPHA: f64 = 8.0;

/// Reads a folder.
///
/// # Errors
/// When it is damaged, or holds what is not computed here.
pub fn read(folder: &Path, config: &Value) -> Result<ImportedAdapter> {
    let tensors = tensors(folder, &["adapter_model.safetensors", "adapter_model.bin"])?;
    check_projections(config, &tensors)?;
    convert(config, tensors)
}

/// The same of a configuration and tensors at hand.
///
/// # Errors
/// As for [`read`].
pub fn convert(config: &Value, tensors: NamedTensors) -> Result<ImportedAdapter> {
    refuse(config, UNKNOWN)?;
    let kind = text(config, "peft_type").context("`peft_type` is no text")?;
    if !KINDS.contains(&kind) {
        let near = did_you_mean(&kind.to_uppercase(), KINDS);
        let remedy = if PROMPTS.contains(&kind) || !near.is_empty() { "" } else { peft_config::MERGE_OTHERS };
        bail!("peft_type {kind} is not read here{near}: {} are{remedy}", KINDS.join(", "));
    }
    peft_config::check_types(config)?;
    peft_config::check_start(config)?;
    peft_modules::check_feedforward(config, &tensors)?;
    if tensors.is_empty() {
        bail!("the file of tensors holds no floating-point ones: copy the whole folder again");
    }
    let mut parts = PeftTensors::of(tensors, kind)?;
    parts.check(config)?;
    let bias = match text(config, "bias") {
        None | Some("none") => LoraBias::None,
        // A model that has none.
        Some("all") if parts.biases.is_empty() => LoraBias::None,
        Some("all") => LoraBias::All,
        Some("lora_only") if parts.biases.is_empty() => {
            // peft looks for them under names that its own modules no longer have, and loads the folder without them.
            eprintln!(
                "the biases that bias: lora_only trained are not in the folder: read without them, as peft reads it"
            );
            LoraBias::None
        }
        Some("lora_only") => parts.biases_of_sites()?,
        Some(other) => bail!("`bias` is {other}: none, all and lora_only are read here"),
    };
    let (layers, components) = match kind {
        "PREFIX_TUNING" => (Layers::All, Vec::new()),
        _ => grid(&parts.sites)?,
    };
    let everywhere = (layers, components);
    let spec = match kind {
        "LORA" => lora(config, everywhere, bias)?,
        "VERA" => AdaptSpec::new(vera(config, everywhere)?),
        "IA3" => return ia3(config, parts),
        "PREFIX_TUNING" => AdaptSpec::new(prefix(config, &parts)?),
        "BOTTLENECK" => bottleneck(config, everywhere)?,
        other => bail!("peft_type {other} is not read here"),
    };
    Ok(parts.into_foreign(config, spec))
}

fn origin(config: &Value) -> AdapterOrigin {
    let version = text(config, "peft_version").map_or(String::new(), |version| format!(" {version}"));
    let library = if text(config, "peft_type") == Some("BOTTLENECK") { "LLM-Adapters" } else { "peft" };
    let revision = text(config, "revision").filter(|revision| !["", "main"].contains(revision));
    let base_model = text(config, "base_model_name_or_path").map(|base| match revision {
        // A folder has no revisions.
        Some(revision) if !base.contains('@') && !Path::new(base).exists() => format!("{base}@{revision}"),
        _ => base.to_owned(),
    });
    AdapterOrigin { library: format!("{library}{version}"), base_model, ..AdapterOrigin::default() }
}

/// A file's tensors, sorted.
struct PeftTensors {
    /// Where there is one.
    sites: BTreeSet<Site>,
    /// The same by the paths of peft.
    modules: BTreeSet<String>,
    /// By our names, without those of biases.
    own: NamedTensors,
    /// What they are called in the file, by our names.
    names: BTreeMap<String, String>,
    /// Biases of the model itself, by our names of its tensors.
    biases: NamedTensors,
    head: NamedTensors,
}

impl PeftTensors {
    fn of(tensors: NamedTensors, kind: &str) -> Result<Self> {
        let mut parts = Self {
            sites: BTreeSet::new(),
            modules: BTreeSet::new(),
            own: NamedTensors::new(),
            names: BTreeMap::new(),
            biases: NamedTensors::new(),
            head: NamedTensors::new(),
        };
        for (name, tensor) in tensors {
            let bare = name.strip_prefix(WRAPPER).unwrap_or(&name);
            // An encoder's head, or a decoder's.
            if let Some(of_head) = bare.strip_prefix("classifier.").or(bare.starts_with("score.").then_some(bare)) {
                // peft's file holds the head trained and as it was, beside the names that it is loaded by.
                if of_head.contains("lora_") {
                    bail!("tensor `{name}` adapts the classification head itself: {}", peft_config::MERGE);
                }
                if !of_head.contains("modules_to_save.") && !of_head.contains("original_module.") {
                    parts.head.insert(of_head.to_owned(), tensor);
                }
                continue;
            }
            if let Some(shared) = name.strip_prefix("base_model.").filter(|name| ["vera_A", "vera_B"].contains(name)) {
                parts.own.insert(shared.to_owned(), tensor);
                continue;
            }
            if kind == "PREFIX_TUNING" && name == "prompt_embeddings" {
                parts.names.insert("embedding".to_owned(), name);
                parts.own.insert("embedding".to_owned(), tensor);
                continue;
            }
            let suffixes = [
                ("lora_A.weight", "lora_A"),
                ("lora_B.weight", "lora_B"),
                ("lora_magnitude_vector", "magnitude"),
                ("lora_magnitude_vector.weight", "magnitude"),
                ("vera_lambda_b", "vera_lambda_b"),
                ("vera_lambda_d", "vera_lambda_d"),
                ("ia3_l", "ia3_l"),
                ("adapter_down.weight", "adapter_down"),
                ("adapter_up.weight", "adapter_up"),
            ];
            let split = |(theirs, ours): &(&str, &'static str)| {
                Some((bare.strip_suffix(theirs)?.strip_suffix('.')?.to_owned(), *ours))
            };
            match suffixes.iter().find_map(split) {
                Some((module, ours)) => {
                    let site = site(&module)?;
                    parts.sites.insert(site);
                    parts.names.insert(format!("{site}.{ours}"), name.clone());
                    if parts.own.insert(format!("{site}.{ours}"), tensor).is_some() {
                        bail!("tensor `{name}` is one of two for {ours} of {site}: copy the whole folder again");
                    }
                    parts.modules.insert(module);
                }
                None if bare.ends_with(".bias") => {
                    let bare = bare.replace(".base_layer.", ".");
                    let bare = bare.strip_prefix("roberta.").or(bare.strip_prefix("bert.")).unwrap_or(&bare);
                    parts.names.insert(format!("bias.{bare}"), name.clone());
                    parts.biases.insert(bare.to_owned(), tensor);
                }
                None if kind == "PREFIX_TUNING" => {
                    bail!("tensor `{name}` is none of prefix-tuning: copy the whole folder again")
                }
                None => bail!("tensor `{name}` has no counterpart here: {}", peft_config::MERGE),
            }
        }
        Ok(parts)
    }

    /// Refuses a configuration that is of other tensors than these, and says what of it is not known here.
    fn check(&self, config: &Value) -> Result<()> {
        let unknown = peft_modules::unknown(config, UNKNOWN);
        if !unknown.is_empty() {
            eprintln!("not looked at, since they are not known here: {} of adapter_config.json", unknown.join(", "));
        }
        peft_modules::check_modules(config, &self.modules)?;
        let unused = peft_modules::without_tensors(config, &self.modules);
        if !unused.is_empty() {
            eprintln!("`target_modules` names {}, of which there are no tensors", unused.join(", "));
        }
        peft_modules::check_size(config, "r", &self.own, ".lora_A")?;
        peft_modules::check_size(config, "r", &self.own, ".vera_lambda_d")?;
        peft_modules::check_size(config, "num_virtual_tokens", &self.own, "embedding")?;
        if !switch(config, "use_dora") && self.own.keys().any(|name| name.ends_with(".magnitude")) {
            bail!("`use_dora` is false, and the tensors are DoRA's, with magnitudes: correct the setting");
        }
        Ok(())
    }

    /// Makes the biases those of the sites, by which they are trained.
    fn biases_of_sites(&mut self) -> Result<LoraBias> {
        for (name, tensor) in std::mem::take(&mut self.biases) {
            let at = site(name.strip_suffix(".bias").unwrap_or(&name))?;
            if !self.sites.contains(&at) {
                bail!("tensor `{name}` is no bias of an adapted map, though `bias` is lora_only");
            }
            self.own.insert(format!("{at}.bias"), tensor);
        }
        Ok(LoraBias::LoraOnly)
    }

    fn into_foreign(self, config: &Value, spec: AdaptSpec) -> ImportedAdapter {
        let tensors = if self.biases.is_empty() {
            self.own
        } else {
            let own = self.own.into_iter().map(|(name, tensor)| (format!("lora.{name}"), tensor));
            let biases = self.biases.into_iter().map(|(name, tensor)| (format!("bias.{name}"), tensor));
            own.chain(biases).collect()
        };
        let expected = Some(ExpectedModules { config: config.clone(), modules: self.modules });
        ImportedAdapter { spec, tensors, names: self.names, expected, head: self.head, origin: origin(config) }
    }
}

fn number(config: &Value, key: &str, otherwise: f64) -> Result<f64> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(otherwise),
        Some(value) => {
            value.as_f64().with_context(|| format!("`{key}` is no number: correct it in adapter_config.json"))
        }
    }
}

fn switch(config: &Value, key: &str) -> bool {
    config.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn lora(config: &Value, (layers, components): (Layers, Vec<Component>), bias: LoraBias) -> Result<AdaptSpec> {
    let (rank, alpha) = (whole(config, "r")?, number(config, "lora_alpha", PEFT_ALPHA)?);
    if config["lora_alpha"].is_null() {
        eprintln!("`lora_alpha` is missing: {PEFT_ALPHA}, as peft takes it");
    }
    let (dropout, rslora) = (number(config, "lora_dropout", 0.0)?, switch(config, "use_rslora"));
    let (positions, truncation) = (Positions::All, Truncation::default());
    if !switch(config, "use_dora") {
        let spec = LoraSpec { rank, alpha, components, layers, positions, truncation, dropout, rslora, bias };
        return Ok(AdaptSpec::new(spec));
    }
    if bias != LoraBias::None {
        bail!("`bias` is {}, which is read for LoRA and not for DoRA", config["bias"]);
    }
    Ok(AdaptSpec::new(DoraSpec { rank, alpha, components, layers, positions, truncation, dropout, rslora }))
}

/// Refuses VeRA without the projections that its configuration says to be saved.
fn check_projections(config: &Value, tensors: &NamedTensors) -> Result<()> {
    if text(config, "peft_type") == Some("VERA")
        && switch(config, "save_projection")
        && let Some(missing) =
            ["base_model.vera_A", "base_model.vera_B"].into_iter().find(|name| !tensors.contains_key(*name))
    {
        bail!("`save_projection` is true, and tensor `{missing}` is missing: copy the whole folder again");
    }
    Ok(())
}

fn vera(config: &Value, (layers, components): (Layers, Vec<Component>)) -> Result<VeraSpec> {
    let key = whole(config, "projection_prng_key")?;
    if text(config, "bias").is_some_and(|bias| bias != "none") {
        bail!("`bias` is {}: none is read for VeRA", config["bias"]);
    }
    Ok(VeraSpec {
        rank: whole(config, "r")?,
        d_initial: number(config, "d_initial", 0.1)?,
        projection_key: u32::try_from(key).with_context(|| format!("`projection_prng_key` is {key}"))?,
        components,
        layers,
        positions: Positions::All,
        truncation: Truncation::default(),
        dropout: number(config, "vera_dropout", 0.0)?,
    })
}

/// Of a feedforward module the input is scaled, which is the output of what comes before it.
fn ia3(config: &Value, parts: PeftTensors) -> Result<ImportedAdapter> {
    let feedforward = config.get("feedforward_modules").cloned().unwrap_or_default();
    let feedforward: Vec<&str> = feedforward.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut moved = PeftTensors { sites: BTreeSet::new(), own: NamedTensors::new(), names: BTreeMap::new(), ..parts };
    for (name, tensor) in parts.own {
        let at = parts.sites.iter().find(|site| name.starts_with(&format!("{site}."))).context("a scale's site")?;
        let is_input = tensor.size().len() == 2 && tensor.size()[0] == 1;
        let component = match (is_input, at.component) {
            (false, component) => component,
            (true, Component::MlpOutput) => Component::MlpHidden,
            (true, Component::AttentionOutput) => Component::HeadOutput,
            (true, component) => {
                bail!("feedforward_modules has {feedforward:?}: the input of {component} is not scaled here")
            }
        };
        let site = Site { component, ..*at };
        moved.sites.insert(site);
        if let Some(theirs) = parts.names.get(&name) {
            moved.names.insert(format!("{site}.ia3_l"), theirs.clone());
        }
        moved.own.insert(format!("{site}.ia3_l"), tensor.flatten(0, -1));
    }
    let (layers, components) = grid(&moved.sites)?;
    let spec = Ia3Spec { components, layers, positions: Positions::All, truncation: Truncation::default() };
    Ok(moved.into_foreign(config, AdaptSpec::new(spec)))
}

fn prefix(config: &Value, parts: &PeftTensors) -> Result<PrefixSpec> {
    let tokens = whole(config, "num_virtual_tokens")?;
    if whole(config, "num_transformer_submodules")? != 1 {
        bail!("`num_transformer_submodules` is {}, which is not computed here", config["num_transformer_submodules"]);
    }
    // A reparametrisation is no part of the file, only what it led to.
    let Some(embedding) = parts.own.get("embedding") else {
        bail!("tensor `prompt_embeddings` is missing: copy the whole folder");
    };
    if let (Some(layers), Some(token)) = (config["num_layers"].as_i64(), config["token_dim"].as_i64())
        && embedding.size()[1..] != [2 * layers * token]
    {
        bail!(
            "`num_layers` {layers} and `token_dim` {token} say keys and values of {} numbers a token, and tensor `prompt_embeddings` is \
             {:?}: configuration and tensors are of different adapters; copy the whole folder again",
            2 * layers * token,
            embedding.size()
        );
    }
    Ok(PrefixSpec { tokens, reparametrisation: None })
}

fn bottleneck(config: &Value, (layers, components): (Layers, Vec<Component>)) -> Result<AdaptSpec> {
    refuse(config, &["use_adapterp", "modules_to_save"])?;
    let activation = match text(config, "non_linearity").unwrap_or("tanh") {
        "tanh" => Nonlinearity::Tanh,
        "relu" => Nonlinearity::Relu,
        "swish" | "silu" => Nonlinearity::Silu,
        "gelu" => Nonlinearity::Gelu,
        other => bail!("`non_linearity` {other} is not computed here: tanh, relu, silu and gelu are"),
    };
    let (bottleneck, scaling) = (whole(config, "bottleneck_size")?, number(config, "scaling", 1.0)?);
    let (positions, truncation) = (Positions::All, Truncation::default());
    let dropout = number(config, "adapter_dropout", 0.0)?;
    Ok(if switch(config, "use_parallel_adapter") {
        let spec = ParallelSpec { bottleneck, activation, scaling, components, layers, positions, truncation, dropout };
        AdaptSpec::new(spec)
    } else {
        AdaptSpec::new(SeriesSpec {
            bottleneck,
            activation,
            scaling,
            components,
            layers,
            positions,
            truncation,
            dropout,
        })
    })
}
