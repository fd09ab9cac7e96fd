//! The keys a configuration may have: unknown ones are refused with the nearest known one.

use serde_json::{Map, Value, json};

use super::plan::RunPlan;
use crate::suggest::did_you_mean;

/// A configuration with every key there is. Where a user may write more than one shape, the value is null.
pub fn all() -> Value {
    let mut keys = serde_json::to_value(RunPlan::default()).expect("plain data");
    let reft = json!({"intervention": null, "rank": null, "positions": null, "layers": null, "tying": null,
        "component": null, "truncation": null, "dropout": {"p": null, "on": null}});
    keys["adapt"] = json!({ "reft": reft, "refts": null, "full": {}, "bitfit": {} });
    keys["data"]["eval_split"] = Value::Null;
    keys["eval"]["decoding"]["sample"] = json!({"temperature": null, "top_k": null, "top_p": null});
    keys
}

/// The first key of `tree` that `known` does not have, as its full path and a suggestion.
pub fn unknown(tree: &Value, known: &Value, path: &str) -> Option<(String, String)> {
    let (Value::Object(tree), Value::Object(known)) = (tree, known) else { return None };
    tree.iter().find_map(|(key, value)| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match known.get(key) {
            Some(known) => unknown(value, known, &path),
            None => Some((path, suggestion(key, known))),
        }
    })
}

fn suggestion(key: &str, known: &Map<String, Value>) -> String {
    let near = did_you_mean(key, known.keys().map(String::as_str));
    let all = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    format!("{near}: there is {all}")
}
