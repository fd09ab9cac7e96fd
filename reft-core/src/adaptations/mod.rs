//! The table of adaptations: one file for each, and one line below.

pub mod bottleneck;
pub mod components;
pub mod dora;
pub mod glue_adapter;
pub mod ia3;
pub mod joint;
pub mod lora;
pub mod nothing;
pub mod own_weights;
pub mod prefix;
pub mod reft;
pub mod routed;
mod several;
pub mod vera;

use std::any::Any;
use std::fmt;
use std::sync::{Arc, LazyLock};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{EnumAccess, Error, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use tch::Device;

use crate::adapt_config::{AdaptConfig, AdaptMethod, SpecError};
use crate::adaptation::Adaptation;
use crate::interventions::one_key_of;
use crate::lender::{Lender, NoLender};
use crate::registry::{KeyTaken, Registry, RegistryEntry};
use crate::rng::Seed;
use crate::site::Dims;
use crate::value_reader::{self, ValueError};
use bottleneck::{ParallelSpec, SeriesSpec};
use dora::DoraSpec;
use glue_adapter::{HoulsbySpec, PfeifferSpec};
use ia3::Ia3Spec;
use joint::{JointSpec, StagedSpec};
use lora::LoraSpec;
use own_weights::{BitFit, Full};
use prefix::PrefixSpec;
use reft::{ReftList, ReftSpec};
use vera::VeraSpec;

/// Everything that `adapt:` accepts. A new one is a file in this folder and a line here.
macro_rules! built_in {
    ($run:ident) => {
        $run!(
            ReftSpec,
            ReftList,
            Full,
            BitFit,
            LoraSpec,
            DoraSpec,
            VeraSpec,
            SeriesSpec,
            ParallelSpec,
            HoulsbySpec,
            PfeifferSpec,
            Ia3Spec,
            PrefixSpec,
            JointSpec,
            StagedSpec
        )
    };
}

/// One kind of adaptation.
#[derive(Debug)]
pub struct AdaptEntry {
    /// The key in configurations.
    pub key: &'static str,
    /// As tables print the kind.
    pub title: &'static str,
    /// Trainable parameters as a formula.
    pub parameters: &'static str,
    /// Whether the adapted model is the base model, bit for bit, with fresh parameters.
    pub starts_as_base: bool,
    /// Settings that fit every model, to show and to test with.
    pub example: AdaptSpec,
    /// The settings' schema, with their documentation.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    read: fn(&Value) -> Result<AdaptSpec, ValueError>,
}

impl RegistryEntry for AdaptEntry {
    fn key(&self) -> &'static str {
        self.key
    }
}

impl AdaptEntry {
    fn of<M: AdaptMethod>() -> Self {
        Self {
            key: M::KEY,
            title: M::TITLE,
            parameters: M::PARAMETERS,
            starts_as_base: M::STARTS_AS_BASE,
            example: AdaptSpec::new(M::example()),
            schema: SchemaGenerator::subschema_for::<M>,
            read: |value| value_reader::read::<M>(value).map(AdaptSpec::new),
        }
    }
}

static REGISTRY: LazyLock<Registry<AdaptEntry>> = LazyLock::new(|| {
    macro_rules! entries {
        ($($method:ty),*) => { vec![$(AdaptEntry::of::<$method>()),*] };
    }
    Registry::new(built_in!(entries))
});

/// The table.
pub fn registry() -> &'static Registry<AdaptEntry> {
    &REGISTRY
}

/// Adds an adaptation of the program's own to the table.
///
/// # Errors
/// When another has its key.
pub fn register<M: AdaptMethod>() -> Result<(), KeyTaken> {
    REGISTRY.add(AdaptEntry::of::<M>())
}

/// An adaptation with its settings: `{reft: {...}}`.
#[derive(Clone, Debug)]
pub struct AdaptSpec {
    key: &'static str,
    settings: Value,
    config: Arc<dyn AdaptConfig>,
}

impl AdaptSpec {
    /// These settings.
    pub fn new<M: AdaptMethod>(settings: M) -> Self {
        let written = serde_json::to_value(&settings).expect("settings are plain data");
        Self { key: M::KEY, settings: written, config: Arc::new(settings) }
    }

    /// The key of its kind.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// The settings, where they are of this type.
    pub fn get<M: AdaptMethod>(&self) -> Option<&M> {
        let config: &dyn Any = self.config.as_ref();
        config.downcast_ref()
    }

    /// As tables print it.
    pub fn title(&self) -> String {
        self.config.title()
    }

    /// Fresh parameters for a model of these dimensions.
    ///
    /// # Errors
    /// When the settings do not fit the model, or need more of it than its dimensions.
    pub fn build(&self, dims: &Dims, seed: Seed, device: Device) -> Result<Box<dyn Adaptation>, SpecError> {
        self.build_on(dims, &NoLender, seed, device)
    }

    /// Fresh parameters for a model that lends of itself what the method computes with or trains.
    ///
    /// # Errors
    /// When the settings do not fit the model.
    pub fn build_on(
        &self,
        dims: &Dims,
        lender: &dyn Lender,
        seed: Seed,
        device: Device,
    ) -> Result<Box<dyn Adaptation>, SpecError> {
        self.config.build(dims, lender, seed, device)
    }

    /// Number of trainable parameters for a model of these dimensions, without building anything.
    ///
    /// # Errors
    /// As for [`AdaptSpec::build`].
    pub fn trainable(&self, dims: &Dims) -> Result<i64, SpecError> {
        self.config.trainable(dims, &NoLender)
    }

    /// The settings, whatever they are.
    pub fn config(&self) -> &dyn AdaptConfig {
        self.config.as_ref()
    }

    /// Whether the model's own weights are trained, so that it must lend them.
    pub fn own_weights(&self) -> bool {
        self.config.own_weights()
    }

    /// Tokens of the model's context that trained keys and values take.
    pub fn virtual_tokens(&self) -> usize {
        self.config.virtual_tokens()
    }

    /// All sets of interventions in it, whatever else there is.
    pub fn interventions(&self) -> Vec<&ReftSpec> {
        interventions(self.config.as_ref())
    }
}

fn interventions(config: &dyn AdaptConfig) -> Vec<&ReftSpec> {
    let settings: &dyn Any = config;
    match (settings.downcast_ref::<ReftSpec>(), settings.downcast_ref::<ReftList>()) {
        (Some(spec), _) => vec![spec],
        (None, Some(list)) => list.0.iter().collect(),
        (None, None) => config.members().into_iter().flat_map(interventions).collect(),
    }
}

impl PartialEq for AdaptSpec {
    fn eq(&self, other: &Self) -> bool {
        (self.key, &self.settings) == (other.key, &other.settings)
    }
}

impl Serialize for AdaptSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_variant("AdaptSpec", 0, self.key, &self.settings)
    }
}

impl<'de> Deserialize<'de> for AdaptSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_enum("AdaptSpec", REGISTRY.keys(), AdaptVisitor)
    }
}

struct AdaptVisitor;

impl<'de> Visitor<'de> for AdaptVisitor {
    type Value = AdaptSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an adaptation with its settings")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, choice: A) -> Result<AdaptSpec, A::Error> {
        let (key, content) = choice.variant::<String>()?;
        // Read as the type itself, so that an error names the whole key.
        macro_rules! typed {
            ($($method:ty),*) => {
                $(if key == <$method>::KEY {
                    return content.newtype_variant::<$method>().map(AdaptSpec::new);
                })*
            };
        }
        built_in!(typed);
        let entry = REGISTRY.find(&key).ok_or_else(|| A::Error::unknown_variant(&key, REGISTRY.keys()))?;
        (entry.read)(&content.newtype_variant::<Value>()?).map_err(A::Error::custom)
    }
}

impl JsonSchema for AdaptSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AdaptSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let entries = REGISTRY.entries().iter();
        let choices: Vec<(&str, Schema)> = entries.map(|entry| (entry.key, (entry.schema)(generator))).collect();
        one_key_of(&choices)
    }
}
