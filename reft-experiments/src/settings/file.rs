//! A YAML file as a tree of settings with the place of each, and typed values out of it.

use std::path::{Path, PathBuf};

use reft_core::value_reader;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::places::SettingLocations;
use super::{ConfigError, paths, yaml};

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
}

/// The only entry of a section.
struct SingleEntry<T>(Option<T>);

impl<'de, T: DeserializeOwned> serde::Deserialize<'de> for SingleEntry<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map: std::collections::HashMap<String, Option<T>> = serde::Deserialize::deserialize(deserializer)?;
        Ok(Self(map.into_values().next().flatten()))
    }
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

/// A file that another names by a path relative to itself.
///
/// # Errors
/// When a variable of the environment stands in the path.
pub fn beside(file: &Path, key: &str, named: &str, places: &SettingLocations) -> Result<PathBuf, ConfigError> {
    let named = paths::setting(named).map_err(|reason| ConfigError::value(places, key, reason))?;
    Ok(file.parent().unwrap_or(Path::new(".")).join(named))
}
