//! Adapters of ours as folders that peft loads: LoRA, DoRA, VeRA, IA3 and prefix-tuning.

use std::path::Path;

use anyhow::{Context, Result, bail};
use reft_core::adapt_config::AdaptMethod;
use reft_core::adaptations::dora::DoraSpec;
use reft_core::adaptations::ia3::Ia3Spec;
use reft_core::adaptations::lora::{LoraBias, LoraSpec};
use reft_core::adaptations::prefix::PrefixSpec;
use reft_core::adaptations::vera::VeraSpec;
use reft_core::layers::Layers;
use reft_core::positions::Positions;
use reft_core::site::{Component, LayerId, Site};
use serde_json::{Value, json};
use tch::Tensor;

use super::NamedTensors;
use super::model_folder::write_safetensors;
use super::names::ModuleNaming;
use super::ours::AdapterOnBase;

/// What wraps the model in names of tensors.
const WRAPPER: &str = "base_model.model.";

/// A folder's two files.
struct Export {
    config: Value,
    tensors: Vec<(String, Tensor)>,
}

/// Writes the folder, with a classification head if there is one.
///
/// # Errors
/// When peft has no such method, or a file cannot be written.
pub fn write(ours: &AdapterOnBase, head: &NamedTensors, out: &Path) -> Result<()> {
    let naming = ours.base.naming()?;
    let Export { mut config, mut tensors } = export(ours, naming)?;
    config["base_model_name_or_path"] = json!(ours.base.id);
    config["task_type"] = json!(if ours.base.is_encoder() { "SEQ_CLS" } else { "CAUSAL_LM" });
    config["inference_mode"] = json!(true);
    if !head.is_empty() {
        config["modules_to_save"] = json!(["classifier", "score"]);
        tensors.extend(head.iter().map(|(name, t)| (format!("{WRAPPER}classifier.{name}"), t.shallow_clone())));
    }
    crate::atomic::write(&out.join("adapter_config.json"), &serde_json::to_vec_pretty(&config)?)
        .with_context(|| out.display().to_string())?;
    write_safetensors(&out.join("adapter_model.safetensors"), &tensors)
}

fn export(ours: &AdapterOnBase, naming: ModuleNaming) -> Result<Export> {
    let at = |components: &[Component], layers: &Layers, positions| -> Result<Sites> {
        if positions != Positions::All {
            bail!("positions {positions}: peft has no method that acts on some tokens only");
        }
        Sites::new(components, layers, ours, naming)
    };
    let spec = &ours.spec;
    if let Some(lora) = spec.get::<LoraSpec>() {
        if lora.bias == LoraBias::All {
            bail!("lora with bias: all is not exported: train it with bias: none");
        }
        let sites = at(&lora.components, &lora.layers, lora.positions)?;
        let config = json!({"peft_type": "LORA", "r": lora.rank, "lora_alpha": lora.alpha, "bias": "none",
            "lora_dropout": lora.dropout, "use_rslora": lora.rslora, "use_dora": false,
            "target_modules": sites.targets});
        let names = [("lora_A", "lora_A.weight"), ("lora_B", "lora_B.weight")];
        return sites.export(config, &ours.tensors, &names);
    }
    if let Some(dora) = spec.get::<DoraSpec>() {
        let sites = at(&dora.components, &dora.layers, dora.positions)?;
        let config = json!({"peft_type": "LORA", "r": dora.rank, "lora_alpha": dora.alpha, "bias": "none",
            "lora_dropout": dora.dropout, "use_rslora": dora.rslora, "use_dora": true,
            "target_modules": sites.targets});
        let names = [("lora_A", "lora_A.weight"), ("lora_B", "lora_B.weight"), ("magnitude", "lora_magnitude_vector")];
        return sites.export(config, &ours.tensors, &names);
    }
    if let Some(vera) = spec.get::<VeraSpec>() {
        let sites = at(&vera.components, &vera.layers, vera.positions)?;
        let config = json!({"peft_type": "VERA", "r": vera.rank, "projection_prng_key": vera.projection_key,
            "save_projection": true, "d_initial": vera.d_initial, "vera_dropout": vera.dropout, "bias": "none",
            "target_modules": sites.targets});
        let names = ["vera_lambda_b", "vera_lambda_d"].map(|name| (name, name));
        let mut export = sites.export(config, &ours.tensors, &names)?;
        for shared in ["vera_A", "vera_B"] {
            let tensor = ours.tensors.get(shared).with_context(|| format!("no tensor `{shared}`"))?;
            export.tensors.push((format!("base_model.{shared}"), tensor.shallow_clone()));
        }
        return Ok(export);
    }
    if let Some(ia3) = spec.get::<Ia3Spec>() {
        return export_ia3(ia3, ours, naming);
    }
    if let Some(prefix) = spec.get::<PrefixSpec>() {
        return export_prefix(prefix, ours);
    }
    bail!(
        "{} is not exported to peft, which loads {}, {}, {}, {} and {} of ours",
        spec.key(),
        LoraSpec::KEY,
        DoraSpec::KEY,
        VeraSpec::KEY,
        Ia3Spec::KEY,
        PrefixSpec::KEY
    );
}

/// Sites with their modules' names.
struct Sites {
    modules: Vec<(Site, String)>,
    /// For `target_modules`: last parts of names, or whole names where not all layers are adapted.
    targets: Vec<String>,
}

impl Sites {
    fn new(components: &[Component], layers: &Layers, ours: &AdapterOnBase, naming: ModuleNaming) -> Result<Self> {
        let dims = ours.base.dims();
        let layers: Vec<LayerId> = layers.resolve(dims)?;
        let named = |site: Site| {
            let module = naming.module(site).with_context(|| format!("{site} is no module of this model"))?;
            Ok((site, module))
        };
        let sites = layers.iter().flat_map(|&layer| components.iter().map(move |&component| Site { layer, component }));
        let modules: Vec<(Site, String)> = sites.map(named).collect::<Result<_>>()?;
        let targets = if layers.len() == dims.layers {
            components.iter().filter_map(|&component| naming.target(component)).map(str::to_owned).collect()
        } else {
            modules.iter().map(|(_, module)| module.clone()).collect()
        };
        Ok(Self { modules, targets })
    }

    fn export(&self, config: Value, tensors: &NamedTensors, names: &[(&str, &str)]) -> Result<Export> {
        let mut exported = Vec::new();
        for (site, module) in &self.modules {
            for (ours, theirs) in names {
                let name = format!("{site}.{ours}");
                let tensor = tensors.get(&name).with_context(|| format!("no tensor `{name}`"))?;
                exported.push((format!("{WRAPPER}{module}.{theirs}"), tensor.shallow_clone()));
            }
        }
        Ok(Export { config, tensors: exported })
    }
}

fn export_ia3(ia3: &Ia3Spec, ours: &AdapterOnBase, naming: ModuleNaming) -> Result<Export> {
    if ia3.positions != Positions::All {
        bail!("positions {}: peft has no method that acts on some tokens only", ia3.positions);
    }
    let (mut modules, mut targets, mut feedforward) = (Vec::new(), Vec::new(), Vec::new());
    for &component in &ia3.components {
        let (module, input) = match component {
            Component::MlpHidden => (Component::MlpOutput, true),
            Component::HeadOutput => (Component::AttentionOutput, true),
            component => (component, false),
        };
        let sites = Sites::new(&[module], &ia3.layers, ours, naming)?;
        targets.extend(sites.targets.iter().cloned());
        if input {
            feedforward.extend(sites.targets);
        }
        for (site, module) in sites.modules {
            let name = format!("{}.ia3_l", Site { component, ..site });
            let scale = ours.tensors.get(&name).with_context(|| format!("no tensor `{name}`"))?;
            let scale = scale.unsqueeze(i64::from(!input));
            modules.push((format!("{WRAPPER}{module}.ia3_l"), scale));
        }
    }
    let config = json!({"peft_type": "IA3", "target_modules": targets, "feedforward_modules": feedforward});
    Ok(Export { config, tensors: modules })
}

fn export_prefix(prefix: &PrefixSpec, ours: &AdapterOnBase) -> Result<Export> {
    let dims = ours.base.dims();
    let tensor = |name: &str| ours.tensors.get(name).with_context(|| format!("no tensor `{name}`"));
    let embeddings = if prefix.reparametrisation.is_some() {
        // peft saves what the reparametrisation leads to.
        let inner = tensor("embedding")?.linear(tensor("transform.0.weight")?, Some(tensor("transform.0.bias")?));
        inner.tanh().linear(tensor("transform.2.weight")?, Some(tensor("transform.2.bias")?))
    } else {
        tensor("embedding")?.shallow_clone()
    };
    let config = json!({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": prefix.tokens, "num_layers": dims.layers,
        "token_dim": dims.kv_heads * dims.head_width, "num_attention_heads": dims.kv_heads,
        "num_transformer_submodules": 1, "prefix_projection": false,
        "encoder_hidden_size": dims.kv_heads * dims.head_width});
    Ok(Export { config, tensors: vec![("prompt_embeddings".to_owned(), embeddings)] })
}
