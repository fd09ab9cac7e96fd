//! Merging of configurations: keys of one replace those of another.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use reft_core::AdaptSpec;
use reft_core::interventions::Phi;
use reft_core::value_reader::variants_of;
use serde_json::{Map, Value};

use super::plan::{EvalSplit, RunPlan};
#[cfg(feature = "program")]
use super::search::SearchMethod;
use crate::train::objectives::ObjectiveSpec;

/// Keys whose value is one of several alternatives, each with settings of its own, and the alternatives. They come from the
/// types: a new one needs no line here.
static ALTERNATIVES: LazyLock<Vec<(&str, &[&str])>> = LazyLock::new(|| {
    vec![
        ("adapt", variants_of::<AdaptSpec>()),
        ("intervention", variants_of::<Phi>()),
        ("eval_split", variants_of::<EvalSplit>()),
        ("objective", variants_of::<ObjectiveSpec>()),
        #[cfg(feature = "program")]
        ("method", variants_of::<SearchMethod>()),
    ]
});

/// Sections of a run that always have their settings, so that one without any says nothing.
static SECTIONS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    fn sections(tree: &Value, found: &mut BTreeSet<String>) {
        for (key, value) in tree.as_object().into_iter().flatten().filter(|(_, value)| value.is_object()) {
            found.insert(key.clone());
            sections(value, found);
        }
    }
    let mut found = BTreeSet::new();
    sections(&serde_json::to_value(RunPlan::default()).expect("plain data"), &mut found);
    found
});

/// Settings of `over` replace those of `base`, key by key. Another alternative (another adaptation, another intervention)
/// replaces the one before with all its settings; an empty section replaces nothing.
pub fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(_), Value::Null) => {}
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge_key(base, key, value);
            }
        }
        (base, over) => *base = over,
    }
}

fn merge_key(base: &mut Map<String, Value>, key: String, over: Value) {
    if over.is_null() && SECTIONS.contains(&key) {
        base.entry(key).or_insert_with(|| Value::Object(Map::new()));
        return;
    }
    let replaced = over.is_null() || base.get(&key).is_some_and(|base| other_alternative(&key, base, &over));
    let below = base.entry(key).or_insert(Value::Null);
    if replaced { *below = over } else { merge(below, over) }
}

/// Whether these choose different alternatives for a key that has some.
fn other_alternative(key: &str, base: &Value, over: &Value) -> bool {
    if !ALTERNATIVES.iter().any(|(name, _)| *name == key) {
        return false;
    }
    let chosen =
        |value: &Value| -> Vec<String> { value.as_object().map_or(Vec::new(), |map| map.keys().cloned().collect()) };
    let (before, now) = (chosen(base), chosen(over));
    !now.is_empty() && !before.iter().any(|name| now.contains(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(mut base: Value, over: Value) -> Value {
        merge(&mut base, over);
        base
    }

    #[test]
    fn every_alternative_of_every_type_replaces_every_other() {
        for (key, known) in ALTERNATIVES.iter() {
            assert!(known.len() > 1, "{key}");
            for (one, other) in known.iter().flat_map(|one| known.iter().map(move |other| (one, other))) {
                let (base, over) = (json!({*key: {*one: {"a": 1}}}), json!({*key: {*other: {"b": 2}}}));
                let expected = if one == other { json!({"a": 1, "b": 2}) } else { json!({"b": 2}) };
                assert_eq!(merged(base, over)[key][other], expected, "{key}: {other} over {one}");
            }
        }
        let base = json!({"adapt": {"reft": {"intervention": {"low_rank": {"basis": "free"}}, "rank": 4}}});
        let red = merged(base, json!({"adapt": {"reft": {"intervention": {"red": {}}}}}));
        assert_eq!(red, json!({"adapt": {"reft": {"intervention": {"red": {}}, "rank": 4}}}));
    }

    #[test]
    fn an_empty_section_says_nothing_and_null_takes_an_option_away() {
        let base = json!({"train": {"lr": 1}, "adapt": {"reft": {}}, "eval": {"decoding": {"sample": {"top_k": 3}}}});
        assert_eq!(merged(base.clone(), json!({"train": null})), base);
        assert_eq!(merged(json!({}), json!({"train": null})), json!({"train": {}}));
        assert_eq!(merged(base.clone(), json!({"adapt": null}))["adapt"], json!(null));
        assert_eq!(
            merged(base, json!({"eval": {"decoding": {"sample": null}}}))["eval"]["decoding"]["sample"],
            json!(null)
        );
    }

    #[test]
    fn words_lists_and_two_alternatives_at_once_are_left_to_the_types() {
        let base = json!({"adapt": {"reft": {"layers": [1, 2], "intervention": {"red": {}}}}});
        let over = json!({"adapt": {"reft": {"layers": [3], "intervention": "loreft"}}});
        assert_eq!(merged(base.clone(), over.clone()), over);
        let two = merged(base, json!({"adapt": {"full": {}, "bitfit": {}}}));
        assert_eq!(two["adapt"], json!({"full": {}, "bitfit": {}}), "refused when it is read");
    }
}
