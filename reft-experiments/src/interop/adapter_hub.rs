//! Folders of the adapters library: its kinds of ReFT, and table 13's Adapter and Adapter-FFN.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use reft_core::AdaptSpec;
use reft_core::adaptations::bottleneck::Nonlinearity;
use reft_core::adaptations::glue_adapter::{HoulsbySpec, PfeifferSpec};
use reft_core::adaptations::reft::{DropoutOn, EditDropout, ReftSpec};
use reft_core::layers::{LayerIndex, Layers};
use reft_core::method::InterventionSpec;
use reft_core::positions::{Positions, Truncation, Tying};
use reft_core::site::Component;
use serde_json::Value;

use super::householder::basis;
use super::{AdapterOrigin, ImportSettings, ImportedAdapter, NamedTensors, refuse, tensors, text, whole};

/// Reads a folder. Where its positions overlap in a short input, the library writes the suffix last; here such an input is
/// cut by the library's rule of pyreft, so that each token is edited once.
///
/// # Errors
/// When it is damaged, or holds what is not computed here.
pub fn read(folder: &Path, outer: &Value, told: ImportSettings) -> Result<ImportedAdapter> {
    let own = tensors(folder, &["adapter.safetensors", "pytorch_adapter.bin"])?;
    let head_files = ["model_head.safetensors", "pytorch_model_head.bin"];
    let head = if head_files.iter().any(|name| folder.join(name).exists()) {
        tensors(folder, &head_files)?
    } else {
        NamedTensors::new()
    };
    convert(outer, own, head, told)
}

/// The same of a configuration and tensors at hand.
///
/// # Errors
/// As for [`read`].
pub fn convert(outer: &Value, own: NamedTensors, head: NamedTensors, told: ImportSettings) -> Result<ImportedAdapter> {
    let config = outer.get("config").context("`config` is missing")?;
    let origin = AdapterOrigin {
        library: text(outer, "version").unwrap_or("adapters").replace("adapters.", "adapters "),
        base_model: text(outer, "model_name").map(str::to_owned),
        ..AdapterOrigin::default()
    };
    // Beside every adapter of a language model the library saves the whole output layer, which was not trained.
    let of_classifier = |(name, tensor): (String, _)| Some((name.strip_prefix("classifier.")?.to_owned(), tensor));
    let head: NamedTensors = head.into_iter().filter_map(of_classifier).collect();
    let (spec, tensors) = if text(config, "architecture") == Some("reft") {
        let (spec, tensors) = reft(config, &own, told)?;
        (AdaptSpec::new(spec), tensors)
    } else {
        bottleneck(config, own)?
    };
    Ok(ImportedAdapter { spec, tensors, names: std::collections::BTreeMap::new(), expected: None, head, origin })
}

/// The number after a part of a name, and what follows it.
fn numbered<'n>(name: &'n str, part: &str) -> Option<(usize, &'n str)> {
    let (_, rest) = name.split_once(part)?;
    let (number, rest) = rest.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

/// The block of a name, and what follows it.
fn block(name: &str) -> Result<(usize, &str)> {
    let found = numbered(name, "encoder.layer.").or_else(|| numbered(name, "layers."));
    found.with_context(|| format!("tensor `{name}` belongs to no layer"))
}

fn listed(layers: BTreeSet<usize>) -> Result<Layers> {
    Ok(Layers::listed(layers.into_iter().map(LayerIndex::FromStart).collect())?)
}

fn reft(config: &Value, own: &NamedTensors, told: ImportSettings) -> Result<(ReftSpec, NamedTensors)> {
    refuse(config, &["non_linearity"])?;
    let count = |key| u32::try_from(whole(config, key)?).with_context(|| format!("`{key}` is negative"));
    let (prefix, suffix) = (count("prefix_positions")?, count("suffix_positions")?);
    let orthogonal = config.get("orthogonality").and_then(Value::as_bool).unwrap_or(true);
    let tied = config.get("tied_weights").and_then(Value::as_bool).unwrap_or(false);
    let dropout = config.get("dropout").and_then(Value::as_f64).unwrap_or(0.0);
    let method = match (orthogonal, told.direft) {
        (true, false) => "loreft",
        (true, true) => "ortho_direft",
        (false, false) => "noreft",
        (false, true) => "direft",
    };
    let mut layers = BTreeSet::new();
    let mut tensors = NamedTensors::new();
    let unit_of = |name: &str| -> Result<(usize, usize, String)> {
        let (layer, rest) = block(name)?;
        let (unit, tensor) = numbered(rest, ".units.").with_context(|| format!("tensor `{name}` has no unit"))?;
        Ok((layer, unit, tensor.to_owned()))
    };
    for (name, tensor) in own {
        let (layer, unit, kind) = unit_of(name)?;
        let group = match (tied, unit) {
            (true, 0) => "both",
            (false, 0) if prefix > 0 => "prefix",
            (false, 1) if suffix > 0 => "suffix",
            // The library makes a unit for an end without positions too.
            (false, 0 | 1) => continue,
            (true | false, _) => bail!("tensor `{name}`: a unit that the library does not make"),
        };
        layers.insert(layer);
        let put = |ours: &str| format!("block_output.{layer}.{group}.{ours}");
        match kind.as_str() {
            "learned_source.weight" => tensors.insert(put("weight"), tensor.shallow_clone()),
            "learned_source.bias" => tensors.insert(put("bias"), tensor.shallow_clone()),
            "projection.weight" => tensors.insert(put("basis"), tensor.shallow_clone()),
            "projection.parametrizations.weight.original" => {
                let base = name.replace("weight.original", "weight.0.base");
                let base = own.get(&base).with_context(|| format!("tensor `{base}` is missing"))?;
                tensors.insert(put("basis"), basis(&tensor.tr().contiguous(), base))
            }
            "projection.parametrizations.weight.0.base" => None,
            _ => bail!("tensor `{name}` has no counterpart here"),
        };
    }
    let spec = ReftSpec {
        intervention: InterventionSpec::named(method)?,
        rank: whole(config, "r")?,
        positions: Positions::Ends { prefix, suffix },
        layers: listed(layers)?,
        tying: if tied { Tying::Tied } else { Tying::Untied },
        component: Component::BlockOutput,
        truncation: Truncation::Library,
        dropout: EditDropout { p: dropout, on: DropoutOn::State },
        strength: 1.0,
        subspace: None,
        head: None,
    };
    Ok((spec, tensors))
}

/// Adapter (Houlsby) after both sub-layers, or Adapter-FFN (Pfeiffer) after the MLP.
fn bottleneck(config: &Value, own: NamedTensors) -> Result<(AdaptSpec, NamedTensors)> {
    let unknown = ["is_parallel", "use_gating", "ln_before", "ln_after", "phm_layer", "inv_adapter", "cross_adapter"];
    refuse(config, &unknown)?;
    refuse(config, &["adapter_residual_before_ln", "leave_out", "dropout", "stochastic_depth"])?;
    let on = |key| config.get(key).and_then(Value::as_bool).unwrap_or(false);
    if config.get("scaling").and_then(Value::as_f64) != Some(1.0) || !on("residual_before_ln") || !on("output_adapter")
    {
        bail!("`scaling`, `residual_before_ln` or `output_adapter` is not as in the library's own two forms");
    }
    let activation = match text(config, "non_linearity").unwrap_or("") {
        "relu" => Nonlinearity::Relu,
        "swish" | "silu" => Nonlinearity::Silu,
        "tanh" => Nonlinearity::Tanh,
        "gelu" => Nonlinearity::Gelu,
        other => bail!("`non_linearity` {other} is not computed here: relu, silu, tanh and gelu are"),
    };
    let (mut layers, mut tensors, mut inner) = (BTreeSet::new(), NamedTensors::new(), None);
    for (name, tensor) in own {
        let (layer, rest) = block(&name)?;
        let component = if rest.starts_with("attention.") { Component::AttentionOutput } else { Component::MlpOutput };
        let known = [("adapter_down.0.weight", "down.weight"), ("adapter_down.0.bias", "down.bias")];
        let known = known.into_iter().chain([("adapter_up.weight", "up.weight"), ("adapter_up.bias", "up.bias")]);
        let found = known.into_iter().find(|(theirs, _)| rest.ends_with(theirs));
        let (_, ours) = found.with_context(|| format!("tensor `{name}` has no counterpart here"))?;
        if ours == "down.bias" {
            inner = Some(tensor.size()[0]);
        }
        layers.insert(layer);
        tensors.insert(format!("{component}.{layer}.{ours}"), tensor);
    }
    let (bottleneck, layers) = (inner.context("no adapter in the file")?, listed(layers)?);
    let spec = match (on("mh_adapter"), on("original_ln_before"), on("original_ln_after")) {
        (true, false, true) => AdaptSpec::new(HoulsbySpec { bottleneck, layers, activation }),
        (false, true, true) => AdaptSpec::new(PfeifferSpec { bottleneck, layers, activation }),
        _ => bail!(
            "`mh_adapter`, `original_ln_before` and `original_ln_after` are those of neither DoubleSeqBn (Houlsby) nor SeqBn \
             (Pfeiffer), which are what is computed here"
        ),
    };
    Ok((spec, tensors))
}
