//! The JSON Schema of run files, from the types that read them: for editors, and for the list of all keys.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::dtype::AUTO;
use super::plan::{Dtype, RunPlan};
use super::read::defaults;

/// The schema of a file that `reft train` reads: every key may be left out, and has its default there.
pub fn run_schema() -> Value {
    let settings = SchemaSettings::draft07();
    let mut schema: Value = SchemaGenerator::new(settings).into_root_schema_for::<RunPlan>().into();
    schema["title"] = "A run of reft".into();
    schema["properties"]["extends"] =
        json!({"type": "string", "description": "Another run file, whose settings hold where this one has none."});
    let types = [AUTO, Dtype::F32.name(), Dtype::Bf16.name(), Dtype::F16.name()];
    schema["properties"]["dtype"] = json!({"enum": types, "description": "Type of the frozen weights; auto: bf16 where its products are fast, else f32."});
    let definitions = schema["definitions"].clone();
    fill_defaults(&mut schema, &definitions, &defaults());
    schema
}

/// Puts the default beside every key that has one; a section's keys are all optional then.
fn fill_defaults(section: &mut Value, definitions: &Value, defaults: &Value) {
    let Some(section) = section.as_object_mut() else { return };
    section.shift_remove("required");
    let Some(properties) = section.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (key, property) in properties.iter_mut() {
        let Some(default) = defaults.get(key) else { continue };
        if default.is_object() {
            // A section of its own: written out, so that it holds this section's defaults.
            let description = property.get("description").cloned();
            let mut inner = resolved(property, definitions).clone();
            if let Some(description) = description {
                inner["description"] = description;
            }
            *property = inner;
            fill_defaults(property, definitions, default);
        } else if let Some(property) = property.as_object_mut() {
            property.insert("default".to_owned(), default.clone());
        }
    }
}

/// What a reference stands for.
fn resolved<'s>(schema: &'s Value, definitions: &'s Value) -> &'s Value {
    let reference = schema.get("$ref").or_else(|| schema["allOf"].get(0).and_then(|first| first.get("$ref")));
    let name = reference.and_then(Value::as_str).and_then(|path| path.strip_prefix("#/definitions/"));
    name.and_then(|name| definitions.get(name)).unwrap_or(schema)
}

/// A setting of a run file.
#[derive(Clone, PartialEq, Debug)]
pub struct KeyDoc {
    /// Such as `train.lr`.
    pub key: String,
    /// As JSON; none where it must be written.
    pub default: Option<String>,
    /// From the documentation of the type.
    pub about: String,
}

/// Every key of a run file, with those of every adaptation.
pub fn keys() -> Vec<KeyDoc> {
    let schema = run_schema();
    let mut found = Vec::new();
    collect(&schema, &schema["definitions"], "", &mut found);
    found
}

fn collect(section: &Value, definitions: &Value, prefix: &str, found: &mut Vec<KeyDoc>) {
    let none = Map::new();
    for (name, property) in section["properties"].as_object().unwrap_or(&none) {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let target = resolved(property, definitions);
        let described = property.get("description").or_else(|| target.get("description"));
        let about = described.and_then(Value::as_str).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        let default = property.get("default").map(Value::to_string);
        found.push(KeyDoc { key: key.clone(), default, about: about.unwrap_or_default() });
        for inner in std::iter::once(target).chain(alternatives(target)) {
            let inner = resolved(inner, definitions);
            collect(inner, definitions, &key, found);
            for inner in alternatives(inner).filter(|_| !std::ptr::eq(inner, target)) {
                collect(resolved(inner, definitions), definitions, &key, found);
            }
        }
    }
}

/// What a value may be, where it may be one of several things.
fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten()
}

#[cfg(test)]
mod tests {
    use reft_core::adaptations;

    use super::*;

    fn leaves(tree: &Value, prefix: &str, found: &mut Vec<(String, Value)>) {
        for (name, value) in tree.as_object().expect("a section") {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            if value.is_object() { leaves(value, &key, found) } else { found.push((key, value.clone())) }
        }
    }

    #[test]
    fn every_setting_of_a_plan_is_in_the_schema_with_its_default() {
        let keys = keys();
        let of = |key: &str| keys.iter().find(|doc| doc.key == key).unwrap_or_else(|| panic!("{key} is missing"));
        let mut expected = Vec::new();
        leaves(&defaults(), "", &mut expected);
        for (key, default) in expected {
            assert_eq!(of(&key).default, Some(default.to_string()), "{key}");
        }
        for doc in &keys {
            assert!(!doc.about.is_empty(), "{} has no description", doc.key);
        }
        let mut names: Vec<&str> = keys.iter().map(|doc| doc.key.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names.windows(2).find(|pair| pair[0] == pair[1]), None, "listed twice");
        assert!(of("train.lr").about.contains("learning rate"));
    }

    #[test]
    fn every_adaptation_of_the_table_has_its_keys() {
        let keys = keys();
        for entry in adaptations::registry().entries() {
            let key = format!("adapt.{}", entry.key);
            assert!(keys.iter().any(|doc| doc.key == key), "{key} is missing");
        }
        for key in ["adapt.reft.rank", "adapt.reft.intervention", "adapt.reft.intervention.low_rank.basis"] {
            assert!(keys.iter().any(|doc| doc.key == key), "{key} is missing");
        }
    }
}
