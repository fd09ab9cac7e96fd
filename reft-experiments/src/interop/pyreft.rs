//! Folders of pyreft: `config.json` and a pickled `intkey_KEY.bin` for each intervention.
//!
//! | class | tensors |
//! |---|---|
//! | `LoreftIntervention` | `rotate_layer` `[D, r]` = `Rᵀ`, `weight`, `bias` |
//! | `DireftIntervention` (OrthoDiReFT) | the rotation, `learned_source.{weight, bias}` |
//! | `NodireftIntervention` (DiReFT), `NoreftIntervention` | `proj_layer.weight`, `learned_source.{weight, bias}` |
//! | `ConsreftIntervention`, `LobireftIntervention` | the rotation, `learned_source` `[r]` |
//!
//! The rotation is stored as it is, or as torch's parametrisation of it. Two interventions at a site are prefix and suffix.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use reft_core::AdaptSpec;
use reft_core::adaptations::reft::{DropoutOn, EditDropout, ReftSpec};
use reft_core::layers::{LayerIndex, Layers};
use reft_core::method::{self, InterventionSpec};
use reft_core::positions::{Positions, Truncation, Tying};
use reft_core::site::Component;
use serde_json::Value;
use tch::Tensor;

use super::householder::basis;
use super::{AdapterOrigin, ImportedAdapter, NamedTensors, json};

/// One intervention of the configuration.
struct PyreftEntry {
    layer: usize,
    component: Component,
    class: String,
    file: PathBuf,
    /// 0, or 1 for the second one at the same site.
    number: usize,
}

/// Reads a folder. Its configuration does not say which tokens are edited.
///
/// # Errors
/// When positions are not told, the folder is damaged, or it holds what is not computed here.
pub fn read(folder: &Path, positions: Option<Positions>) -> Result<ImportedAdapter> {
    let config = json(&folder.join("config.json"))?;
    if config["intervention_types"].is_null() {
        bail!("its config.json is a model's and no adapter's: give the folder of an adapter");
    }
    let Some(positions) = positions else {
        bail!("a pyreft folder does not say which tokens are edited: give --positions, such as --positions f7+l7");
    };
    let entries = entries(folder, &config)?;
    let first = entries.first().context("config.json: no interventions")?;
    if let Some(other) = entries.iter().find(|entry| entry.class != first.class || entry.component != first.component) {
        bail!(
            "interventions differ ({} at {}, {} at {}): one class and one component are read here",
            first.class,
            first.component,
            other.class,
            other.component
        );
    }
    let method = method::named().find(|name| name.library == first.class);
    let method = method.with_context(|| format!("intervention class {} is not computed here", first.class))?;
    let untied = entries.iter().any(|entry| entry.number > 0);
    let (mut layers, mut tensors, mut rank) = (BTreeSet::new(), NamedTensors::new(), 0);
    for entry in &entries {
        let group = match (untied, entry.number) {
            (false, _) => "both",
            (true, 0) => "prefix",
            (true, _) => "suffix",
        };
        layers.insert(entry.layer);
        let found = unit(&entry.class, reft_models::weights::read_tensors(&entry.file)?)
            .with_context(|| entry.file.display().to_string())?;
        rank = found["basis"].size()[0];
        for (name, tensor) in found {
            tensors.insert(format!("{}.{}.{group}.{name}", entry.component, entry.layer), tensor);
        }
    }
    let spec = ReftSpec {
        intervention: InterventionSpec::Named(method),
        rank,
        positions,
        layers: Layers::listed(layers.into_iter().map(LayerIndex::FromStart).collect())?,
        tying: if untied { Tying::Untied } else { Tying::Tied },
        component: first.component,
        truncation: Truncation::Library,
        dropout: EditDropout { p: 0.0, on: DropoutOn::State },
        strength: 1.0,
        subspace: None,
        head: None,
    };
    let head = head(folder)?;
    let origin = AdapterOrigin { library: "pyreft".to_owned(), ..AdapterOrigin::default() };
    Ok(ImportedAdapter { spec: AdaptSpec::new(spec), tensors, names: BTreeMap::new(), expected: None, head, origin })
}

/// The head that was trained with an encoder's interventions; none for a language model.
fn head(folder: &Path) -> Result<NamedTensors> {
    let path = folder.join("pytorch_model.bin");
    if !path.exists() {
        return Ok(NamedTensors::new());
    }
    let of_head = |(name, tensor): (String, _)| {
        let name = name.strip_prefix("model.").unwrap_or(&name);
        Some((name.strip_prefix("classifier.")?.to_owned(), tensor))
    };
    Ok(reft_models::weights::read_tensors(&path)?.into_iter().filter_map(of_head).collect())
}

fn entries(folder: &Path, config: &Value) -> Result<Vec<PyreftEntry>> {
    let list = |key: &str| {
        config.get(key).and_then(Value::as_array).with_context(|| format!("config.json: `{key}` is no list"))
    };
    let (keys, types, sites) = (list("sorted_keys")?, list("intervention_types")?, list("representations")?);
    if keys.len() != types.len() || keys.len() != sites.len() {
        bail!("config.json: sorted_keys, intervention_types and representations have other numbers of entries");
    }
    let mut seen: BTreeMap<(usize, Component), usize> = BTreeMap::new();
    let mut entry = |((key, class), site): ((&Value, &Value), &Value)| {
        let (key, class) = (key.as_str().context("a key")?, class.as_str().context("a class")?);
        // <class 'pyreft.interventions.LoreftIntervention'>
        let class = class.trim_end_matches("'>").rsplit('.').next().unwrap_or(class).to_owned();
        let unit = site.get(2).and_then(Value::as_str);
        let name = site.get(1).and_then(Value::as_str);
        let (Some(name), Some("pos")) = (name, unit) else {
            bail!("config.json: representation {site} is not read here")
        };
        let layer = site.get(0).and_then(Value::as_u64).context("config.json: a representation without a layer")?;
        let (layer, component) = place(name, layer as usize)?;
        let number = seen.entry((layer, component)).or_default();
        *number += 1;
        if *number > 2 {
            bail!("three interventions at {component}.{layer}: prefix and suffix are read here");
        }
        let file = folder.join(format!("intkey_{key}.bin"));
        Ok(PyreftEntry { layer, component, class, file, number: *number - 1 })
    };
    keys.iter().zip(types).zip(sites).map(&mut entry).collect()
}

/// A component by pyvene's name, or by the path of a module's output such as `model.layers[3].output`.
fn place(name: &str, layer: usize) -> Result<(usize, Component)> {
    let component = match name {
        "block_output" => Component::BlockOutput,
        "block_input" => Component::BlockInput,
        "mlp_activation" => Component::MlpHidden,
        "mlp_output" => Component::MlpOutput,
        "attention_value_output" => Component::HeadOutput,
        "attention_output" => Component::AttentionOutput,
        "query_output" => Component::Query,
        "key_output" => Component::Key,
        "value_output" => Component::Value,
        path => {
            let parsed = path.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
            let (number, rest) = parsed.with_context(|| format!("component `{path}` is not read here"))?;
            let layer = number.parse().with_context(|| format!("component `{path}`: no layer"))?;
            let component = match rest {
                ".output" => Component::BlockOutput,
                ".self_attn.output" => Component::AttentionOutput,
                ".mlp.output" => Component::MlpOutput,
                _ => bail!("component `{path}` is not read here: a block's, attention's or MLP's output is"),
            };
            return Ok((layer, component));
        }
    };
    Ok((layer, component))
}

/// One intervention's tensors by our names.
fn unit(class: &str, mut file: NamedTensors) -> Result<BTreeMap<&'static str, Tensor>> {
    let mut take = |names: &[&str]| names.iter().find_map(|name| file.remove(*name));
    let missing = |what: &str| format!("no tensor for {what} of {class}: the file is of another class, or damaged");
    let original = take(&["rotate_layer.parametrizations.weight.original"]);
    let rotation = match (original, take(&["rotate_layer.parametrizations.weight.0.base"])) {
        (Some(original), Some(base)) => Some(basis(&original, &base)),
        (Some(_), None) => bail!(missing("the rotation's base")),
        (None, _) => take(&["rotate_layer", "rotate_layer.weight"]).map(|rotation| rotation.tr().contiguous()),
    };
    let projection = take(&["proj_layer.weight"]);
    let taken_off = take(&["proj_layer.bias"]);
    let basis = rotation.or(projection).with_context(|| missing("the subspace"))?;
    let weight = take(&["learned_source.weight", "weight"]);
    let bias = take(&["learned_source.bias", "learned_source", "bias"]).with_context(|| missing("the source"))?;
    // NoReFT's projection may have a bias, which is taken off the source; without an activation the two are one.
    let bias = match (class, taken_off) {
        ("NoreftIntervention", Some(taken_off)) => bias - taken_off,
        (_, Some(_) | None) => bias,
    };
    Ok([("basis", Some(basis)), ("weight", weight), ("bias", Some(bias))]
        .into_iter()
        .filter_map(|(name, tensor)| Some((name, tensor?)))
        .collect())
}
