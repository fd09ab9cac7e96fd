//! The table of objectives: one file for each, and one line below.

pub mod context_distillation;
pub mod cross_entropy;
pub mod dpo;
pub mod sequence_classification;

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use reft_core::interventions::one_key_of;
use reft_core::registry::{KeyTaken, Registry, RegistryEntry};
use reft_core::value_reader::{self, ValueError};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{EnumAccess, Error, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use self::context_distillation::ContextDistillation;
use self::cross_entropy::CrossEntropy;
use self::dpo::Dpo;
use super::objective::{Objective, ObjectiveSettings};

/// Everything that `train.objective:` accepts. A new one is a file in this folder and a line here.
macro_rules! built_in {
    ($run:ident) => {
        $run!(CrossEntropy, Dpo, ContextDistillation)
    };
}

/// One kind of objective.
#[derive(Debug)]
pub struct ObjectiveEntry {
    /// The key in configurations.
    pub key: &'static str,
    /// As lists print it.
    pub title: &'static str,
    /// Settings to show and to test with.
    pub example: ObjectiveSpec,
    /// The settings' schema, with their documentation.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    read: fn(&Value) -> Result<ObjectiveSpec, ValueError>,
}

impl RegistryEntry for ObjectiveEntry {
    fn key(&self) -> &'static str {
        self.key
    }
}

impl ObjectiveEntry {
    fn of<S: ObjectiveSettings>() -> Self {
        Self {
            key: S::KEY,
            title: S::TITLE,
            example: ObjectiveSpec::new(S::example()),
            schema: SchemaGenerator::subschema_for::<S>,
            read: |value| value_reader::read::<S>(value).map(ObjectiveSpec::new),
        }
    }
}

static REGISTRY: LazyLock<Registry<ObjectiveEntry>> = LazyLock::new(|| {
    macro_rules! entries {
        ($($settings:ty),*) => { vec![$(ObjectiveEntry::of::<$settings>()),*] };
    }
    Registry::new(built_in!(entries))
});

/// The table.
pub fn registry() -> &'static Registry<ObjectiveEntry> {
    &REGISTRY
}

/// Adds an objective of the program's own to the table.
///
/// # Errors
/// When another has its key.
pub fn register<S: ObjectiveSettings>() -> Result<(), KeyTaken> {
    REGISTRY.add(ObjectiveEntry::of::<S>())
}

/// An objective with its settings: `{dpo: {...}}`.
#[derive(Clone, Debug)]
pub struct ObjectiveSpec {
    key: &'static str,
    settings: Value,
    objective: Arc<dyn Objective>,
}

impl ObjectiveSpec {
    /// These settings.
    pub fn new<S: ObjectiveSettings>(settings: S) -> Self {
        let written = serde_json::to_value(&settings).expect("settings are plain data");
        Self { key: S::KEY, settings: written, objective: Arc::new(settings) }
    }

    /// The key of its kind.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// The settings, where they are of this type.
    pub fn get<S: ObjectiveSettings>(&self) -> Option<&S> {
        let objective: &dyn Any = self.objective.as_ref();
        objective.downcast_ref()
    }

    /// The loss behind this choice.
    pub fn objective(&self) -> &Arc<dyn Objective> {
        &self.objective
    }

    /// Whether it is eq. 4, as in the paper.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for ObjectiveSpec {
    fn default() -> Self {
        Self::new(CrossEntropy {})
    }
}

impl PartialEq for ObjectiveSpec {
    fn eq(&self, other: &Self) -> bool {
        (self.key, &self.settings) == (other.key, &other.settings)
    }
}

impl Serialize for ObjectiveSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_variant("ObjectiveSpec", 0, self.key, &self.settings)
    }
}

impl<'de> Deserialize<'de> for ObjectiveSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_enum("ObjectiveSpec", REGISTRY.keys(), ObjectiveVisitor)
    }
}

struct ObjectiveVisitor;

impl<'de> Visitor<'de> for ObjectiveVisitor {
    type Value = ObjectiveSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an objective with its settings")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, choice: A) -> Result<ObjectiveSpec, A::Error> {
        let (key, content) = choice.variant::<String>()?;
        // Read as the type itself, so that an error names the whole key.
        macro_rules! typed {
            ($($settings:ty),*) => {
                $(if key == <$settings>::KEY {
                    return content.newtype_variant::<$settings>().map(ObjectiveSpec::new);
                })*
            };
        }
        built_in!(typed);
        let entry = REGISTRY.find(&key).ok_or_else(|| A::Error::unknown_variant(&key, REGISTRY.keys()))?;
        (entry.read)(&content.newtype_variant::<Value>()?).map_err(A::Error::custom)
    }
}

impl JsonSchema for ObjectiveSpec {
    fn schema_name() -> Cow<'static, str> {
        "ObjectiveSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let entries = REGISTRY.entries().iter();
        let choices: Vec<(&str, Schema)> = entries.map(|entry| (entry.key, (entry.schema)(generator))).collect();
        one_key_of(&choices)
    }
}
