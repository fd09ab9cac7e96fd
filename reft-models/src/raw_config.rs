//! A configuration as it is written, read key by key. What no reader asks for and no list knows to be harmless is an
//! error, so a key that changes results cannot be passed over.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config_keys::{Condition, KnownKey};

/// Upper bound of every size: far beyond any model, and small enough that products of two cannot overflow.
const LARGEST: i64 = 1 << 24;

/// Upper bound of a number of layers.
const MOST_LAYERS: i64 = 1 << 12;

/// A configuration that cannot be read, or says what the port does not do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ModelConfigError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: ConfigProblem,
}

/// What is wrong with a configuration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigProblem {
    /// Not an object.
    #[error("holds no keys and values: copy the model's configuration there again")]
    NotAnObject,
    /// A key that every configuration of the family has.
    #[error("`{0}` is missing: copy the model's configuration there again, or add the key")]
    Missing(String),
    /// A value of another type or beyond its range.
    #[error("`{key}` is {found}: {wanted} is needed")]
    Value {
        /// The key.
        key: String,
        /// What is there.
        found: String,
        /// What should be.
        wanted: String,
    },
    /// A value that this port does not compute.
    #[error("{key} `{value}` is not supported: there is {supported}")]
    Unsupported {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What there is.
        supported: String,
    },
    /// A key that is not read.
    #[error(
        "`{key}` ({value}) is not understood and may change results: remove the key if the model computes the same \
         without it, else take another model"
    )]
    Unknown {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// Two keys that say the same thing differently.
    #[error("`{first}` and `{second}` disagree: keep the one that the model was trained with")]
    Disagree {
        /// One key.
        first: String,
        /// The other.
        second: String,
    },
    /// The weights are quantised.
    #[error(
        "the checkpoint is quantised ({method}), which is not read here: take the checkpoint that it was made from, or \
         de-quantise it and save it anew in bf16, f16 or f32"
    )]
    Quantised {
        /// The method.
        method: String,
    },
    /// Sizes that do not fit together.
    #[error("{0}")]
    Sizes(String),
}

/// An object of a configuration. Reading a key marks it as understood; `null` is an absent key.
pub struct RawConfig<'a> {
    path: &'a Path,
    /// Keys of the objects around this one, with dots.
    prefix: String,
    keys: &'a Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> RawConfig<'a> {
    /// The whole of a configuration from the file `path`.
    ///
    /// # Errors
    /// When it is no object.
    pub fn new(path: &'a Path, config: &'a Value) -> Result<Self, ModelConfigError> {
        match config.as_object() {
            Some(keys) => Ok(Self { path, prefix: String::new(), keys, read: RefCell::default() }),
            None => Err(ModelConfigError { path: path.to_owned(), problem: ConfigProblem::NotAnObject }),
        }
    }

    /// A section of another kind of file, whose keys have this prefix there.
    pub fn within(path: &'a Path, prefix: &str, keys: &'a Map<String, Value>) -> Self {
        Self { path, prefix: prefix.to_owned(), keys, read: RefCell::default() }
    }

    /// An error about this file.
    pub fn error(&self, problem: ConfigProblem) -> ModelConfigError {
        ModelConfigError { path: self.path.to_owned(), problem }
    }

    /// A value that this port does not compute.
    pub fn unsupported(&self, key: &str, value: &Value, supported: &str) -> ModelConfigError {
        let (key, value, supported) = (self.named(key), brief(value), supported.to_owned());
        self.error(ConfigProblem::Unsupported { key, value, supported })
    }

    /// A key with those of the objects around it.
    pub fn named(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// A value, marked as understood.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is there, be it with `null`, which can say something else than an absent key.
    pub fn mentions(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// A value of another type or range than needed.
    pub fn wrong(&self, key: &str, found: &Value, wanted: &str) -> ModelConfigError {
        let (key, found, wanted) = (self.named(key), brief(found), wanted.to_owned());
        self.error(ConfigProblem::Value { key, found, wanted })
    }

    fn read<T>(
        &self,
        key: &str,
        wanted: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ModelConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| self.wrong(key, value, wanted))
    }

    /// A value that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn needed<T>(&self, key: &str, value: Option<T>) -> Result<T, ModelConfigError> {
        value.ok_or_else(|| self.error(ConfigProblem::Missing(self.named(key))))
    }

    /// A size: a whole number from 1.
    ///
    /// # Errors
    /// When it is something else, or absurdly large.
    pub fn size(&self, key: &str) -> Result<Option<i64>, ModelConfigError> {
        let wanted = format!("a whole number from 1 to {LARGEST}");
        self.read(key, &wanted, |value| value.as_i64().filter(|size| (1..=LARGEST).contains(size)))
    }

    /// A size that must be there.
    ///
    /// # Errors
    /// When it is missing, something else, or absurdly large.
    pub fn needed_size(&self, key: &str) -> Result<i64, ModelConfigError> {
        let size = self.size(key)?;
        self.needed(key, size)
    }

    /// A number of layers, which must be there.
    ///
    /// # Errors
    /// When it is missing, not a whole number, zero or absurdly large.
    pub fn layers(&self, key: &str) -> Result<usize, ModelConfigError> {
        let wanted = format!("a whole number from 1 to {MOST_LAYERS}");
        let layers = self.read(key, &wanted, |value| value.as_i64().filter(|n| (1..=MOST_LAYERS).contains(n)))?;
        self.needed(key, layers).map(|layers| layers as usize)
    }

    /// A token id or another whole number from 0.
    ///
    /// # Errors
    /// When it is something else.
    pub fn id(&self, key: &str) -> Result<Option<i64>, ModelConfigError> {
        let wanted = format!("a whole number from 0 to {LARGEST}");
        self.read(key, &wanted, |value| value.as_i64().filter(|id| (0..=LARGEST).contains(id)))
    }

    /// A number above zero.
    ///
    /// # Errors
    /// When it is something else.
    pub fn positive(&self, key: &str) -> Result<Option<f64>, ModelConfigError> {
        let positive = |value: &Value| value.as_f64().filter(|number| number.is_finite() && *number > 0.0);
        self.read(key, "a number above 0", positive)
    }

    /// A probability below 1.
    ///
    /// # Errors
    /// When it is something else.
    pub fn probability(&self, key: &str) -> Result<Option<f64>, ModelConfigError> {
        self.read(key, "a number from 0, below 1", |value| value.as_f64().filter(|p| (0.0..1.0).contains(p)))
    }

    /// A switch.
    ///
    /// # Errors
    /// When it is something else.
    pub fn switch(&self, key: &str) -> Result<Option<bool>, ModelConfigError> {
        self.read(key, "true or false", Value::as_bool)
    }

    /// A text.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, ModelConfigError> {
        self.read(key, "a text", Value::as_str)
    }

    /// An object inside this one.
    ///
    /// # Errors
    /// When it is something else.
    pub fn section(&self, key: &str) -> Result<Option<Self>, ModelConfigError> {
        let keys = self.read(key, "an object of keys and values", Value::as_object)?;
        let prefix = self.named(&format!("{key}."));
        Ok(keys.map(|keys| Self { path: self.path, prefix, keys, read: RefCell::default() }))
    }

    /// Whether the object says nothing.
    pub fn is_empty(&self) -> bool {
        self.keys.values().all(Value::is_null)
    }

    /// Refuses weights that are stored quantised.
    ///
    /// # Errors
    /// When the configuration says so.
    pub fn check_not_quantised(&self) -> Result<(), ModelConfigError> {
        let Some(value) = self.value("quantization_config") else { return Ok(()) };
        let text = |key: &str| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let switched = |key: &str| value.get(key) == Some(&Value::Bool(true));
        let bits = value.get("bits").and_then(Value::as_i64).map(|bits| format!(", {bits} bits"));
        let method = match text("quant_method").or_else(|| text("quant_algo")).or_else(|| text("quant_type")) {
            Some(method) => method.to_owned(),
            None if switched("load_in_4bit") || switched("load_in_8bit") => "bitsandbytes".to_owned(),
            None => "`quantization_config` names no method".to_owned(),
        };
        let method = method + &bits.unwrap_or_default();
        Err(self.error(ConfigProblem::Quantised { method }))
    }

    /// The names in `architectures`; none when it is missing.
    ///
    /// # Errors
    /// When it is no list of names.
    pub fn architectures(&self) -> Result<Vec<&'a str>, ModelConfigError> {
        let Some(value) = self.value("architectures") else { return Ok(Vec::new()) };
        let names: Option<Vec<&str>> = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
        names.ok_or_else(|| self.wrong("architectures", value, "a list of names"))
    }

    /// Refuses what was not read: every key must be understood, or in one of these lists with a value that changes
    /// nothing.
    ///
    /// # Errors
    /// The first that is neither.
    pub fn finish(&self, harmless: &[&[KnownKey]]) -> Result<(), ModelConfigError> {
        let read = self.read.borrow();
        let known = |key: &str| harmless.iter().flat_map(|list| list.iter()).find(|known| known.key == key);
        for (key, value) in self.keys.iter().filter(|(key, value)| !value.is_null() && !read.contains(*key)) {
            match known(key).map(|known| known.condition) {
                Some(Condition::Always) => {}
                Some(Condition::Only(only)) if only.holds(value) => {}
                Some(Condition::Only(only)) => return Err(self.unsupported(key, value, &only.to_string())),
                None => {
                    let (key, value) = (self.named(key), brief(value));
                    return Err(self.error(ConfigProblem::Unknown { key, value }));
                }
            }
        }
        Ok(())
    }
}

/// A value for a message: texts bare, anything long cut.
fn brief(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned).replace(['\n', '\r'], " ");
    if text.chars().count() <= 60 { text } else { text.chars().take(60).chain("…".chars()).collect() }
}
