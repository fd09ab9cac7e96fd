//! Reading configurations: YAML files with `extends`, then `--set` overrides, then types.

use std::path::{Path, PathBuf};

use reft_core::value_reader;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tch::Device;

pub use super::ConfigError;
use super::dtype::{AUTO, DtypeChoice};
use super::merge::merge;
use super::places::SettingLocations;
use super::plan::{DeviceSpec, RunPlan};
use super::{parity, paths, yaml};

/// Settings with the place of each.
#[derive(Clone, PartialEq, Debug)]
pub struct LocatedSettings {
    /// The settings; a section always.
    pub tree: Value,
    /// Where they were written.
    pub places: SettingLocations,
}

impl LocatedSettings {
    /// No settings; `place` is named in errors.
    pub fn nothing(place: &str) -> Self {
        Self { tree: Value::Object(Map::new()), places: place.into() }
    }

    /// A setting of the whole, taken out.
    ///
    /// # Errors
    /// When the value does not fit.
    pub fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, ConfigError> {
        let value = self.tree.as_object_mut().and_then(|map| map.shift_remove(key)).unwrap_or_default();
        typed_at(&Value::Object(Map::from_iter([(key.to_owned(), value)])), &self.places)
            .map(|only: SingleEntry<T>| only.0)
    }

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

/// The only entry of a section.
struct SingleEntry<T>(Option<T>);

impl<'de, T: DeserializeOwned> serde::Deserialize<'de> for SingleEntry<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map: std::collections::HashMap<String, Option<T>> = serde::Deserialize::deserialize(deserializer)?;
        Ok(Self(map.into_values().next().flatten()))
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

/// A run from a tree of settings; what it leaves out has its default, and `dtype: auto` becomes the type that it is on this
/// machine. `place` is named in errors.
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
    merge(&mut whole, tree);
    fix_dtype(&mut whole, places)?;
    parity::fill(&mut whole);
    let mut plan: RunPlan = typed_at(&whole, places)?;
    plan.model = paths::setting(&plan.model).map_err(|reason| ConfigError::value(places, "model", reason))?;
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
/// When `dtype` is no type. A device that is none is left to whoever reads the settings, with the type of the CPU.
pub fn fix_dtype(run: &mut Value, places: &SettingLocations) -> Result<(), ConfigError> {
    let choice = dtype_of(run, places)?;
    let Some(run) = run.as_object_mut() else { return Ok(()) };
    let device = run.get("device").cloned().unwrap_or_else(|| defaults()["device"].clone());
    let device = serde_json::from_value::<DeviceSpec>(device).unwrap_or(DeviceSpec(Device::Cpu));
    run.insert("dtype".to_owned(), choice.on(device).name().into());
    Ok(())
}

/// A typed value from a tree, with the path of whatever does not fit.
///
/// # Errors
/// When a value does not fit.
#[allow(clippy::needless_pass_by_value)] // most trees are made where they are read
pub fn typed<T: DeserializeOwned>(tree: Value, place: &str) -> Result<T, ConfigError> {
    typed_at(&tree, &place.into())
}

/// The same, with the place of every key.
///
/// # Errors
/// When a value does not fit.
pub fn typed_at<T: DeserializeOwned>(tree: &Value, places: &SettingLocations) -> Result<T, ConfigError> {
    value_reader::read(tree).map_err(|error| ConfigError::of_read(&error, places))
}

/// A YAML file as a tree.
///
/// # Errors
/// When it cannot be read or parsed.
pub fn yaml(path: &Path) -> Result<Value, ConfigError> {
    written(path).map(|written| written.tree)
}

/// A YAML file as a section of settings, with the line of each. Keys of the whole that begin with `x-` hold parts that aliases
/// repeat elsewhere, and are no settings.
///
/// # Errors
/// When it cannot be read or parsed, or is a list or a single value.
pub fn written(path: &Path) -> Result<LocatedSettings, ConfigError> {
    let io = |source| ConfigError::Io { path: path.to_owned(), source };
    let bytes = std::fs::read(paths::home(path)).map_err(io)?;
    let text = String::from_utf8(bytes).map_err(|_| ConfigError::Encoding { path: path.to_owned() })?;
    let file = path.display().to_string();
    let document = yaml::parse(&text)
        .map_err(|error| ConfigError::Yaml { place: format!("{file}:{}", error.line), reason: error.reason })?;
    let places = SettingLocations::of_file(&file, &document.lines);
    match document.tree {
        Value::Null => Ok(LocatedSettings { tree: Value::Object(Map::new()), places }),
        Value::Object(mut map) => {
            map.retain(|key, _| !key.starts_with("x-"));
            Ok(LocatedSettings { tree: Value::Object(map), places })
        }
        Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let reason = "no settings in this file: write `key: value` lines, with a space after the colon".to_owned();
            Err(ConfigError::Whole { place: file, reason })
        }
    }
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

/// A file that another names by a path relative to itself.
///
/// # Errors
/// When a variable of the environment stands in the path.
pub fn beside(file: &Path, key: &str, named: &str, places: &SettingLocations) -> Result<PathBuf, ConfigError> {
    let named = paths::setting(named).map_err(|reason| ConfigError::value(places, key, reason))?;
    Ok(file.parent().unwrap_or(Path::new(".")).join(named))
}

/// Key and value of `train.lr=1e-3`. Values are read as YAML; what is none is text.
fn parse_override(text: &str) -> Result<(String, Value), ConfigError> {
    let (key, value) = text.split_once('=').ok_or_else(|| ConfigError::Override(text.to_owned()))?;
    let key = key.trim();
    if key.split('.').any(str::is_empty) {
        return Err(ConfigError::Override(text.to_owned()));
    }
    match yaml::parse(value) {
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
