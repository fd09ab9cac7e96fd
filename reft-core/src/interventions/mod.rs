//! The table of interventions `Φ`: one file for each, and one line below.

pub mod interchange;
pub mod low_rank;
pub mod red;
pub mod steer;

use std::any::Any;
use std::fmt;
use std::sync::{Arc, LazyLock};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{EnumAccess, Error, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::intervention::{Intervention, PhiSettings};
use crate::registry::{KeyTaken, Registry, RegistryEntry};
use crate::value_reader::{self, ValueError};
use interchange::Dii;
use low_rank::LowRank;
use red::Red;
use steer::Steer;

/// Every kind of `Φ` there is. A new one is a file in this folder and a line here.
macro_rules! built_in {
    ($run:ident) => {
        $run!(LowRank, Red, Steer, Dii)
    };
}

/// One kind of `Φ`.
#[derive(Debug)]
pub struct PhiEntry {
    /// The key in configurations.
    pub key: &'static str,
    /// Trainable parameters of one site, as a formula.
    pub parameters: &'static str,
    /// Whether `Φ(h) = h` with fresh parameters.
    pub starts_as_identity: bool,
    /// Settings to show and to test with.
    pub example: Phi,
    /// Combinations with a name.
    pub names: Vec<PhiName>,
    /// The settings' schema, with their documentation.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    read: fn(&Value) -> Result<Phi, ValueError>,
}

/// A combination of settings with a name.
#[derive(PartialEq, Debug)]
pub struct PhiName {
    /// The key in configurations.
    pub key: &'static str,
    /// As the paper's tables print it.
    pub title: &'static str,
    /// The reference library's class for the same mathematics; the title where it has none. Its `DireftIntervention` is
    /// *not* the paper's DiReFT.
    pub library: &'static str,
    /// What it computes.
    pub phi: Phi,
}

impl RegistryEntry for PhiEntry {
    fn key(&self) -> &'static str {
        self.key
    }
}

impl PhiEntry {
    fn of<S: PhiSettings>() -> Self {
        let names = S::names().into_iter();
        Self {
            key: S::KEY,
            parameters: S::PARAMETERS,
            starts_as_identity: S::STARTS_AS_IDENTITY,
            example: Phi::new(S::example()),
            names: names
                .map(|name| PhiName {
                    key: name.key,
                    title: name.title,
                    library: name.library,
                    phi: Phi::new(name.settings),
                })
                .collect(),
            schema: SchemaGenerator::subschema_for::<S>,
            read: |value| value_reader::read::<S>(value).map(Phi::new),
        }
    }
}

static REGISTRY: LazyLock<Registry<PhiEntry>> = LazyLock::new(|| {
    macro_rules! entries {
        ($($settings:ty),*) => { vec![$(PhiEntry::of::<$settings>()),*] };
    }
    Registry::new(built_in!(entries))
});

/// The table.
pub fn registry() -> &'static Registry<PhiEntry> {
    &REGISTRY
}

/// Adds a `Φ` of the program's own to the table.
///
/// # Errors
/// When another has its key.
pub fn register<S: PhiSettings>() -> Result<(), KeyTaken> {
    REGISTRY.add(PhiEntry::of::<S>())
}

/// A `Φ` with its settings: `{low_rank: {...}}`.
#[derive(Clone, Debug)]
pub struct Phi {
    key: &'static str,
    settings: Value,
    function: Arc<dyn Intervention>,
}

impl Phi {
    /// These settings.
    pub fn new<S: PhiSettings>(settings: S) -> Self {
        let written = serde_json::to_value(&settings).expect("settings are plain data");
        Self { key: S::KEY, settings: written, function: Arc::new(settings) }
    }

    /// The key of its kind.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// The settings, where they are of this type.
    pub fn get<S: PhiSettings>(&self) -> Option<&S> {
        let function: &dyn Any = self.function.as_ref();
        function.downcast_ref()
    }

    /// The mathematics behind this choice.
    pub fn as_intervention(&self) -> &dyn Intervention {
        self.function.as_ref()
    }
}

impl PartialEq for Phi {
    fn eq(&self, other: &Self) -> bool {
        (self.key, &self.settings) == (other.key, &other.settings)
    }
}

impl Serialize for Phi {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_variant("Phi", 0, self.key, &self.settings)
    }
}

impl<'de> Deserialize<'de> for Phi {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_enum("Phi", REGISTRY.keys(), PhiVisitor)
    }
}

struct PhiVisitor;

impl<'de> Visitor<'de> for PhiVisitor {
    type Value = Phi;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an intervention with its settings")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, choice: A) -> Result<Phi, A::Error> {
        let (key, content) = choice.variant::<String>()?;
        macro_rules! typed {
            ($($settings:ty),*) => {
                $(if key == <$settings>::KEY {
                    return content.newtype_variant::<$settings>().map(Phi::new);
                })*
            };
        }
        built_in!(typed);
        let entry = REGISTRY.find(&key).ok_or_else(|| A::Error::unknown_variant(&key, REGISTRY.keys()))?;
        (entry.read)(&content.newtype_variant::<Value>()?).map_err(A::Error::custom)
    }
}

impl JsonSchema for Phi {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Phi".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let choices: Vec<(&str, Schema)> =
            REGISTRY.entries().iter().map(|entry| (entry.key, (entry.schema)(generator))).collect();
        one_key_of(&choices)
    }
}

/// A section with exactly one of these keys.
pub(crate) fn one_key_of(choices: &[(&str, Schema)]) -> Schema {
    let section = |(key, schema): &(&str, Schema)| json_schema!({"type": "object", "properties": {*key: schema}, "required": [key], "additionalProperties": false});
    let sections: Vec<Schema> = choices.iter().map(section).collect();
    json_schema!({ "oneOf": sections })
}
