//! Reading configurations: YAML files with `extends`, then `--set` overrides, then types.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tch::Device;

use super::chat_template;
use super::dtype::{AUTO, DtypeChoice};
use super::merge::merge;
use super::parity;
use super::plan::{DeviceSpec, RunPlan};
pub use crate::settings::file::{LocatedSettings, beside, typed, typed_at, written, yaml};
use crate::settings::places::SettingLocations;
use crate::settings::{self, ConfigError, paths};

impl LocatedSettings {
    /// Puts a `--set` override over the settings.
    ///
    /// # Errors
    /// When it has no `=`, or its value cannot be read.
    pub fn set(&mut self, text: &str) -> Result<(), ConfigError> {
        let (key, value) = parse_override(text)?;
        self.places.note(&key, &format!("--set {text}"));
        merge(&mut self.tree, nest(&key, value));
        Ok(())
    }
}

/// The run that a file and overrides describe. Without a file, the defaults.
///
/// # Errors
/// When the file, a key or a value is wrong.
pub fn run_plan(file: Option<&Path>, overrides: &[String]) -> Result<RunPlan, ConfigError> {
    let written = run_tree(file, overrides)?;
    resolve_at(written.tree, &written.places)
}

/// The same as those settings that are written there.
///
/// # Errors
/// When the file or an override cannot be read.
pub fn run_tree(file: Option<&Path>, overrides: &[String]) -> Result<LocatedSettings, ConfigError> {
    let mut written = match file {
        Some(file) => with_parents(file, &mut Vec::new())?,
        None => LocatedSettings::nothing("--set"),
    };
    overrides.iter().try_for_each(|text| written.set(text))?;
    Ok(written)
}

/// Every setting with its default, as a configuration has them.
pub fn defaults() -> Value {
    let mut tree = serde_json::to_value(RunPlan::default()).expect("plain data");
    tree["dtype"] = AUTO.into();
    tree
}

/// A run from a tree of settings; what it leaves out has its default (`data.eval` the tasks of `data.train`), and `dtype: auto` becomes
/// the type that it is on this machine. `place` is named in errors.
///
/// # Errors
/// When a value is wrong.
pub fn resolve(tree: Value, place: &str) -> Result<RunPlan, ConfigError> {
    resolve_at(tree, &place.into())
}

/// The same, with the place of every key.
///
/// # Errors
/// When a value is wrong.
pub fn resolve_at(tree: Value, places: &SettingLocations) -> Result<RunPlan, ConfigError> {
    let mut whole = defaults();
    let (trained, scored) = (tree.pointer("/data/train").cloned(), tree.pointer("/data/eval"));
    if let (Some(trained), None) = (trained, scored) {
        whole["data"]["eval"] = trained;
    }
    merge(&mut whole, tree);
    fix_dtype(&mut whole, places)?;
    parity::fill(&mut whole);
    let mut plan: RunPlan = typed_at(&whole, places)?;
    plan.model = paths::setting(&plan.model).map_err(|reason| ConfigError::value(places, "model", reason))?;
    if let Some(given) = &plan.data.chat_template {
        let read = chat_template::read(given);
        plan.data.chat_template =
            Some(read.map_err(|reason| ConfigError::value(places, "data.chat_template", reason))?);
    }
    plan.check().map_err(|(key, reason)| ConfigError::value(places, &key, reason))?;
    Ok(plan)
}

/// What a run's settings say of `dtype`.
///
/// # Errors
/// When it is no type.
pub fn dtype_of(run: &Value, places: &SettingLocations) -> Result<DtypeChoice, ConfigError> {
    DtypeChoice::of(run.get("dtype")).map_err(|reason| ConfigError::value(places, "dtype", reason))
}

/// Replaces `dtype: auto`, or a `dtype` that is left out, by the type that it is on this machine.
///
/// # Errors
/// When `dtype` is no type. A device that is none is left to the parser of the settings, with the type of the CPU.
pub fn fix_dtype(run: &mut Value, places: &SettingLocations) -> Result<(), ConfigError> {
    let choice = dtype_of(run, places)?;
    let Some(run) = run.as_object_mut() else { return Ok(()) };
    let device = run.get("device").cloned().unwrap_or_else(|| defaults()["device"].clone());
    let device = serde_json::from_value::<DeviceSpec>(device).unwrap_or(DeviceSpec(Device::Cpu));
    run.insert("dtype".to_owned(), choice.on(device).name().into());
    Ok(())
}

/// A file merged over the one it extends.
fn with_parents(path: &Path, seen: &mut Vec<PathBuf>) -> Result<LocatedSettings, ConfigError> {
    let canonical =
        paths::home(path).canonicalize().map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
    if seen.contains(&canonical) {
        return Err(ConfigError::Cycle { path: path.to_owned() });
    }
    seen.push(canonical);
    let mut own = written(path)?;
    let Some(parent) = own.take::<String>("extends")? else { return Ok(own) };
    let mut base = with_parents(&beside(path, "extends", &parent, &own.places)?, seen)?;
    merge(&mut base.tree, own.tree);
    base.places.overlay(own.places);
    Ok(base)
}

/// Key and value of `train.lr=1e-3`. Values are read as YAML; what is none is text.
fn parse_override(text: &str) -> Result<(String, Value), ConfigError> {
    let (key, value) = text.split_once('=').ok_or_else(|| ConfigError::Override(text.to_owned()))?;
    let key = key.trim();
    if key.split('.').any(str::is_empty) {
        return Err(ConfigError::Override(text.to_owned()));
    }
    match settings::yaml::parse(value) {
        Ok(document) => Ok((key.to_owned(), document.tree)),
        Err(error) if value.trim_start().starts_with(['[', '{']) => {
            Err(ConfigError::Yaml { place: format!("--set {text}"), reason: error.reason })
        }
        Err(_) => Ok((key.to_owned(), Value::String(value.to_owned()))),
    }
}

/// A value under a key such as `train.lr`, as a tree.
pub fn nest(path: &str, value: Value) -> Value {
    let inside = |value, key: &str| Value::Object(Map::from_iter([(key.to_owned(), value)]));
    path.trim().rsplit('.').fold(value, inside)
}

#[cfg(test)]
mod tests;
