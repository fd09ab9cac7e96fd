//! Configurations that cannot be used.

use std::path::PathBuf;

use reft_core::value_reader::ValueError;

use super::places::SettingLocations;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}: check the path")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Another encoding.
    #[error("{path}: not UTF-8: save it as UTF-8")]
    Encoding {
        /// The file.
        path: PathBuf,
    },
    /// Not YAML.
    #[error("{place}: {reason}")]
    Yaml {
        /// File and line, or the override.
        place: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A file extends itself, directly or not.
    #[error("{path}: `extends` comes back to this file: remove one of the links")]
    Cycle {
        /// The file.
        path: PathBuf,
    },
    /// A key that does not exist.
    #[error("{place}: unknown key `{key}`{suggestion}")]
    Unknown {
        /// File and line, or the override.
        place: String,
        /// The key's full path.
        key: String,
        /// The nearest key, and all of them.
        suggestion: String,
    },
    /// An override without `=`.
    #[error("--set {0}: write key=value, such as train.lr=1e-3")]
    Override(String),
    /// A value that does not fit its key.
    #[error("{place}: {key}: {reason}")]
    Value {
        /// File and line, or the override.
        place: String,
        /// The key's full path.
        key: String,
        /// What is wrong and what to write.
        reason: String,
    },
    /// A file that is no section of settings.
    #[error("{place}: {reason}")]
    Whole {
        /// The file.
        place: String,
        /// What is wrong and what to write.
        reason: String,
    },
}

/// A text in one line: line breaks and other control characters as YAML writes them in quotes.
fn escaped(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

impl ConfigError {
    /// A value of this key that does not fit.
    pub fn value(places: &SettingLocations, key: &str, reason: impl Into<String>) -> Self {
        Self::Value { place: places.of(key), key: escaped(key), reason: escaped(&reason.into()) }
    }

    /// What a typed read found, with the place of the key.
    pub fn of_read(error: &ValueError, places: &SettingLocations) -> Self {
        let key = error.key();
        let place = places.of(&key);
        let (key, reason) = (escaped(&key), escaped(&error.reason));
        match (error.unknown_key, key.is_empty()) {
            (true, _) => Self::Unknown { place, key, suggestion: reason },
            (false, true) => Self::Whole { place, reason },
            (false, false) => Self::Value { place, key, reason },
        }
    }

    /// The same error of a key that is part of a larger file, where it has this name.
    #[must_use]
    pub fn renamed(self, places: &SettingLocations, name: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Value { key, reason, .. } => Self::value(places, &name(&key), reason),
            Self::Unknown { key, suggestion, .. } => {
                let key = name(&key);
                Self::Unknown { place: places.of(&key), key, suggestion }
            }
            other => other,
        }
    }
}
