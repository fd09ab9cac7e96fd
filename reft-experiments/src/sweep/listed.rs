//! Runs that are given, as points of a sweep: what they have in common, and what each has of its own.

use serde_json::{Map, Value};

use super::space::SearchPoint;
use crate::config::merge::merge;
use crate::config::plan::RunPlan;
use crate::config::read::nest;

/// Settings by keys such as `train.lr`. What is learned is one setting: adaptations have different keys.
fn leaves(prefix: &str, value: &Value, into: &mut Map<String, Value>) {
    match value {
        Value::Object(object) if !["adapt", "data.eval_split"].contains(&prefix) => {
            for (key, value) in object {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                leaves(&key, value, into);
            }
        }
        leaf => {
            into.insert(prefix.to_owned(), leaf.clone());
        }
    }
}

/// The settings that all runs share, as a configuration has them, and those of each that they do not.
pub fn points(plans: &[&RunPlan]) -> (Value, Vec<SearchPoint>) {
    let flat = |plan: &&RunPlan| {
        let mut flat = Map::new();
        leaves("", &serde_json::to_value(plan).expect("plain data"), &mut flat);
        flat
    };
    let mut points: Vec<SearchPoint> = plans.iter().map(flat).collect();
    let Some(first) = points.first().cloned() else { return (Value::Object(Map::new()), points) };
    let mut shared = Value::Object(Map::new());
    for (key, value) in first {
        if points.iter().all(|point| point.get(&key) == Some(&value)) {
            merge(&mut shared, nest(&key, value));
            for point in &mut points {
                point.shift_remove(&key);
            }
        }
    }
    (shared, points)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::read::resolve;
    use crate::sweep::spec::SweepSpec;

    #[test]
    fn listed_points_are_the_runs_that_they_were_made_of() {
        let reft =
            |layer: i64| json!({"reft": {"intervention": "loreft", "rank": 1, "positions": "l1", "layers": [layer]}});
        let trees = [
            json!({"adapt": reft(0), "seed": 1}),
            json!({"adapt": {"bitfit": {}}, "seed": 2, "train": {"lr": 1e-2}}),
            json!({"adapt": reft(3), "seed": 1, "data": {"eval_split": {"test": {"chosen_by": "a person"}}}}),
        ];
        let plans: Vec<RunPlan> = trees.into_iter().map(|tree| resolve(tree, "a test").expect("valid")).collect();
        let plans: Vec<&RunPlan> = plans.iter().collect();
        let (shared, each) = points(&plans);
        assert_eq!(shared["model"], "smollm2");
        let keys: Vec<&String> = each[0].keys().collect();
        assert_eq!(keys, ["seed", "adapt", "data.eval_split", "train.lr"]);
        let sweep = SweepSpec::of_plans("a study", &plans).expect("valid");
        let again: Vec<RunPlan> = each.iter().map(|point| sweep.plan(point, "").expect("valid")).collect();
        assert_eq!(again.iter().collect::<Vec<_>>(), plans);
        assert_eq!(SweepSpec::from_tree(sweep.frozen().clone(), "").expect("valid"), sweep);
    }
}
