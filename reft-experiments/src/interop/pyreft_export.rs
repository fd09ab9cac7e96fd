//! Interventions of ours as folders that pyreft's classes load.

use std::path::Path;

use anyhow::{Context, Result, bail};
use reft_core::adapt_config::AdaptMethod;
use reft_core::adaptations::reft::ReftSpec;
use reft_core::intervention::PhiSettings;
use reft_core::interventions::low_rank::{EditStart, LowRank};
use reft_core::method::InterventionSpec;
use reft_core::positions::{Positions, TyingGroup};
use reft_core::site::{Component, LayerId};
use reft_models::pickle::writer;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::NamedTensors;
use super::ours::AdapterOnBase;

/// Where what pyreft's own files have no place for is noted.
const NOTED: &str = "positions.json";

/// Writes the folder; a head goes into `pytorch_model.bin`. pyreft's folders have no place for positions: they are noted in
/// `positions.json` for people.
///
/// # Errors
/// When pyreft has no such intervention, or a file cannot be written.
pub fn write(ours: &AdapterOnBase, head: &NamedTensors, out: &Path) -> Result<()> {
    let Some(reft) = ours.spec.get::<ReftSpec>() else {
        bail!("{} is not exported to pyreft, which has interventions alone: {}", ours.spec.key(), ReftSpec::KEY);
    };
    let class = class(&reft.intervention)?;
    let component = component(reft.component)?;
    let layers: Vec<LayerId> = reft.layers.resolve(ours.base.dims())?;
    let groups = reft.positions.groups(reft.tying)?;
    if groups.iter().any(|group| matches!(group, TyingGroup::First(_) | TyingGroup::Last(_))) {
        bail!(
            "tying: per_position has no counterpart in pyreft: it has one intervention for the prefix and one for the suffix"
        );
    }
    let width = reft.component.width(ours.base.dims());
    let (mut keys, mut sites) = (Vec::new(), Vec::new());
    for (number, group) in groups.iter().enumerate() {
        for layer in &layers {
            let key = format!("layer_{layer}_comp_{component}_unit_pos_nunit_1#{number}");
            let tensor = |name: &str| {
                let name = format!("{}.{layer}.{group}.{name}", reft.component);
                ours.tensors.get(&name).map(Tensor::shallow_clone)
            };
            let bytes = writer::dictionary(&unit(class, tensor, width)?).map_err(anyhow::Error::msg)?;
            let path = out.join(format!("intkey_{key}.bin"));
            crate::atomic::write(&path, &bytes).with_context(|| path.display().to_string())?;
            keys.push(key);
            let rest = vec![Value::Null; 9];
            let site = json!([layer.0, component, "pos", 1, reft.rank]);
            sites.push(Value::Array(site.as_array().into_iter().flatten().cloned().chain(rest).collect()));
        }
    }
    let count = keys.len();
    let config = json!({
        "intervention_constant_sources": vec![true; count],
        "intervention_dimensions": vec![width; count],
        "intervention_types": vec![format!("<class 'pyreft.interventions.{class}'>"); count],
        "mode": "parallel",
        "representations": sites,
        "sorted_keys": keys,
    });
    let file = |name: &str, value: &Value| -> Result<()> {
        crate::atomic::write(&out.join(name), &serde_json::to_vec_pretty(value)?)
            .with_context(|| out.join(name).display().to_string())
    };
    if !head.is_empty() {
        let named: Vec<(String, Tensor)> =
            head.iter().map(|(name, tensor)| (format!("classifier.{name}"), tensor.shallow_clone())).collect();
        let bytes = writer::dictionary(&named).map_err(anyhow::Error::msg)?;
        crate::atomic::write(&out.join("pytorch_model.bin"), &bytes)?;
    }
    file("config.json", &config)?;
    let noted = json!({
        "positions": reft.positions, "tying": reft.tying, "truncation": reft.truncation, "base_model": ours.base.id,
    });
    file(NOTED, &noted)
}

/// The base model that an exported folder notes; none where it does not.
pub fn base_model_of(folder: &Path) -> Option<String> {
    super::json(&folder.join(NOTED)).ok()?["base_model"].as_str().map(str::to_owned)
}

fn class(method: &InterventionSpec) -> Result<&'static str> {
    match method {
        InterventionSpec::Named(name) if name.library.ends_with("Intervention") => return Ok(name.library),
        InterventionSpec::Named(_) => {}
        // Where it began makes no difference to what it is.
        InterventionSpec::Spelled(phi) => {
            let trained = phi.get::<LowRank>().map(|phi| LowRank { start: EditStart::Random, ..*phi });
            let same = LowRank::names().into_iter().find(|name| Some(name.settings) == trained);
            if let Some(name) = same {
                return Ok(name.library);
            }
        }
    }
    bail!(
        "intervention {} is no class of pyreft: loreft, direft, ortho_direft, noreft, consreft and lobireft are",
        method.title()
    )
}

fn component(component: Component) -> Result<&'static str> {
    match component {
        Component::BlockOutput => Ok("block_output"),
        Component::BlockInput => Ok("block_input"),
        Component::MlpHidden => Ok("mlp_activation"),
        Component::MlpOutput => Ok("mlp_output"),
        Component::HeadOutput => Ok("attention_value_output"),
        Component::AttentionOutput => Ok("attention_output"),
        Component::Query => Ok("query_output"),
        Component::Key => Ok("key_output"),
        Component::Value => Ok("value_output"),
        Component::Embedding | Component::Gate | Component::Up => {
            bail!("component {component} has no name in pyvene")
        }
    }
}

/// One intervention's tensors by pyreft's names.
fn unit(class: &str, tensor: impl Fn(&str) -> Option<Tensor>, width: i64) -> Result<Vec<(String, Tensor)>> {
    let get = |name: &str| tensor(name).with_context(|| format!("no tensor `{name}`"));
    let (basis, bias) = (get("basis")?, get("bias")?);
    let whole = |value: i64| Tensor::from_slice(&[value]).reshape([0i64; 0]);
    let mut unit = vec![("embed_dim".to_owned(), whole(width)), ("interchange_dim".to_owned(), whole(width))];
    let mut put = |name: &str, tensor: Tensor| unit.push((name.to_owned(), tensor));
    match class {
        "LoreftIntervention" => {
            // This class reads the rotation itself.
            return Ok(vec![
                ("weight".to_owned(), get("weight")?),
                ("bias".to_owned(), bias),
                ("rotate_layer".to_owned(), basis.tr().contiguous()),
            ]);
        }
        "NodireftIntervention" | "NoreftIntervention" => {
            put("proj_layer.weight", basis);
            put("learned_source.weight", get("weight")?);
            put("learned_source.bias", bias);
        }
        _ => {
            let (original, base) = parametrised(&basis);
            put("rotate_layer.parametrizations.weight.original", original);
            put("rotate_layer.parametrizations.weight.0.base", base);
            match tensor("weight") {
                Some(weight) => {
                    put("learned_source.weight", weight);
                    put("learned_source.bias", bias);
                }
                None => put("learned_source", bias),
            }
        }
    }
    Ok(unit)
}

/// `original` `[D, r]` and `base` `[D, D]` of torch's orthogonal parametrisation of `Rᵀ`: reflectors along the first axes, which
/// turn their signs, and a base whose first columns are `Rᵀ`.
fn parametrised(basis: &Tensor) -> (Tensor, Tensor) {
    let (rank, width) = (basis.size()[0], basis.size()[1]);
    let like = (Kind::Float, Device::Cpu);
    let original = Tensor::eye(width, like).narrow(1, 0, rank) * -1.0;
    let (whole, _) = Tensor::linalg_qr(&basis.tr(), "complete");
    let rest = whole.narrow(1, rank, width - rank);
    (original.contiguous(), Tensor::cat(&[&basis.tr(), &rest], 1).contiguous())
}

/// As `--positions` has them.
pub fn positions_of(folder: &Path) -> Option<Positions> {
    let text = std::fs::read_to_string(folder.join(NOTED)).ok()?;
    let noted: Value = serde_json::from_str(&text).ok()?;
    noted.get("positions")?.as_str()?.parse().ok()
}
