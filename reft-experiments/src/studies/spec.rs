//! A study and a measure as files name them: a key with settings.

use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{EnumAccess, Error, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::study::{MeasureSettings, Study, StudyMeasure, StudySettings};
use super::{REGISTRY, built_in, measures};

/// A study with its settings: `{memorise: {...}}`.
#[derive(Clone, Debug)]
pub struct StudySpec {
    key: &'static str,
    study: Arc<dyn Study>,
}

impl StudySpec {
    /// These settings.
    pub fn new<S: StudySettings>(settings: S) -> Self {
        Self { key: S::KEY, study: Arc::new(settings) }
    }

    /// The key of its kind.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// The study behind this choice.
    pub fn study(&self) -> &dyn Study {
        self.study.as_ref()
    }
}

impl<'de> Deserialize<'de> for StudySpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_enum("StudySpec", REGISTRY.keys(), StudyVisitor)
    }
}

struct StudyVisitor;

impl<'de> Visitor<'de> for StudyVisitor {
    type Value = StudySpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a study with its settings")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, choice: A) -> Result<StudySpec, A::Error> {
        let (key, content) = choice.variant::<String>()?;
        // Read as the type itself, so that an error names the whole key.
        macro_rules! typed {
            ($($settings:ty),*) => {
                $(if key == <$settings>::KEY {
                    return content.newtype_variant::<$settings>().map(StudySpec::new);
                })*
            };
        }
        built_in!(typed);
        let entry = REGISTRY.find(&key).ok_or_else(|| A::Error::unknown_variant(&key, REGISTRY.keys()))?;
        (entry.read)(&content.newtype_variant::<Value>()?).map_err(A::Error::custom)
    }
}

/// A measure with its settings: `{text: {...}}`.
#[derive(Clone, Debug)]
pub struct MeasureSpec {
    key: &'static str,
    origin: &'static str,
    settings: Value,
    measure: Arc<dyn StudyMeasure>,
}

impl MeasureSpec {
    /// These settings.
    pub fn new<M: MeasureSettings>(settings: M) -> Self {
        let written = serde_json::to_value(&settings).expect("settings are plain data");
        Self { key: M::KEY, origin: M::ORIGIN, settings: written, measure: Arc::new(settings) }
    }

    /// Where it comes from.
    pub fn origin(&self) -> &'static str {
        self.origin
    }

    /// The measure behind this choice.
    pub fn measure(&self) -> &dyn StudyMeasure {
        self.measure.as_ref()
    }

    /// What it measures, as a key with settings.
    ///
    /// # Errors
    /// When the key or a setting is wrong.
    pub fn read(written: &Value) -> Result<Self, String> {
        let keys: Vec<&'static str> = measures().iter().map(|entry| entry.key).collect();
        let section = written.as_object().filter(|section| section.len() == 1);
        let Some((key, settings)) = section.and_then(|section| section.iter().next()) else {
            return Err(format!("write one of {} with its settings", keys.join(", ")));
        };
        let Some(entry) = measures().into_iter().find(|entry| entry.key == key) else {
            let suggestion = crate::suggest::did_you_mean(key, keys.iter().copied());
            return Err(format!("`{key}` is unknown{suggestion}: there is {}", keys.join(", ")));
        };
        (entry.read)(settings).map_err(|error| format!("{key}: {error}"))
    }
}

impl PartialEq for MeasureSpec {
    fn eq(&self, other: &Self) -> bool {
        (self.key, &self.settings) == (other.key, &other.settings)
    }
}

impl Serialize for MeasureSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_variant("MeasureSpec", 0, self.key, &self.settings)
    }
}

impl JsonSchema for MeasureSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MeasureSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let choices: Vec<(&str, Schema)> =
            measures().into_iter().map(|entry| (entry.key, (entry.schema)(generator))).collect();
        reft_core::interventions::one_key_of(&choices)
    }
}
