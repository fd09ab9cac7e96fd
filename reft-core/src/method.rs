//! The names of methods: the paper's, and the reference library's as aliases.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::interventions::{self, Phi, PhiName};
use crate::suggest::did_you_mean;
use crate::value_reader;

/// `intervention:` in a configuration: a name of the paper, or a `Φ` spelled out.
#[derive(Clone, PartialEq, Debug)]
pub enum InterventionSpec {
    /// One of [`named`].
    Named(&'static PhiName),
    /// A combination without a name, such as `{low_rank: {basis: free, source: constant, difference: true}}`.
    Spelled(Phi),
}

/// Every named method, in the order of the table of interventions.
pub fn named() -> impl Iterator<Item = &'static PhiName> {
    interventions::registry().entries().iter().flat_map(|entry| &entry.names)
}

/// A name that no method has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "intervention `{given}` is unknown{near}: choose one of {known}, or spell out low_rank: {{basis, source, difference}}"
)]
pub struct InterventionSpecError {
    given: String,
    near: String,
    known: String,
}

impl InterventionSpec {
    /// A method by key, title or library class.
    ///
    /// # Errors
    /// When no method has that name.
    pub fn named(text: &str) -> Result<Self, InterventionSpecError> {
        let matches = |name: &&PhiName| name.key == text || name.title == text || name.library == text;
        named().find(matches).map(Self::Named).ok_or_else(|| InterventionSpecError {
            given: text.to_owned(),
            near: did_you_mean(text, named().map(|name| name.key)),
            known: named().map(|name| name.key).collect::<Vec<_>>().join(", "),
        })
    }

    /// What it computes.
    pub fn phi(&self) -> &Phi {
        match self {
            Self::Named(name) => &name.phi,
            Self::Spelled(phi) => phi,
        }
    }

    /// A title for tables.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Named(name) => name.title,
            Self::Spelled(_) => "custom",
        }
    }
}

impl Serialize for InterventionSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Named(name) => serializer.serialize_str(name.key),
            Self::Spelled(phi) => phi.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for InterventionSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(name) => Self::named(&name).map_err(D::Error::custom),
            Value::Object(phi) => value_reader::read(&Value::Object(phi)).map(Self::Spelled).map_err(D::Error::custom),
            other => Self::named(&other.to_string()).map_err(D::Error::custom),
        }
    }
}

impl JsonSchema for InterventionSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Method".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = named().map(|name| name.key).collect();
        let spelled = generator.subschema_for::<Phi>();
        json_schema!({"description": "Φ, by name or spelled out.", "anyOf": [{"enum": names}, spelled]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paper_names_and_library_names_mean_the_same() {
        for entry in named() {
            assert_eq!(InterventionSpec::named(entry.key), InterventionSpec::named(entry.library));
            let yaml = serde_json::to_string(&InterventionSpec::Named(entry)).expect("a string");
            assert_eq!(
                serde_json::from_str::<InterventionSpec>(&yaml).expect("the same string"),
                InterventionSpec::Named(entry)
            );
        }
        assert!(InterventionSpec::named("lorefr").is_err());
    }

    #[test]
    fn an_unnamed_combination_can_be_spelled_out() {
        let text = r#"{"low_rank": {"basis": "free", "source": "constant", "difference": true}}"#;
        let method: InterventionSpec = serde_json::from_str(text).expect("a spelled-out method");
        assert_eq!(method.title(), "custom");
    }

    #[test]
    fn mistakes_in_a_spelled_out_method_are_named_in_the_user_s_words() {
        let cases = [
            (
                r#"{"low_rank": {"basis": "fre", "source": "affine"}}"#,
                "low_rank.basis: `fre` is unknown (did you mean `free`?)",
            ),
            (r#"{"low_rank": {"basis": "free", "source": "affine"}}"#, "low_rank.difference: is missing"),
            (r#"{"red": {"rank": 1}}"#, "unknown key `red.rank`"),
            (
                r#"{"red": {}, "low_rank": {}}"#,
                "`red` and `low_rank` cannot both be chosen: write one of low_rank, red",
            ),
            ("null", "intervention `null` is unknown: choose one of loreft"),
            ("[1]", "intervention `[1]` is unknown"),
        ];
        for (text, expected) in cases {
            let error = serde_json::from_str::<InterventionSpec>(text).expect_err(text).to_string();
            assert!(error.contains(expected), "`{expected}` is not in: {error}");
        }
    }
}
