//! What a table is made of: profiles, each with models, methods and seeds, as a YAML file says.

use std::path::Path;

use reft_core::site::Dims;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::keys;
use crate::config::plan::RunPlan;
use crate::config::read::{ConfigError, merge, resolve, typed, yaml};
use crate::tasks::{DataKind, TaskId};

/// `configs/tables/table1.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Caption.
    pub title: String,
    /// File of printed figures, relative to the repository.
    pub printed: String,
    /// By name.
    pub profiles: std::collections::BTreeMap<String, Profile>,
}

/// One size of the table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What it is for, in one line.
    pub purpose: String,
    /// The table's columns; every run scores these.
    pub tasks: Vec<TaskId>,
    /// One run for each; the base model is run once.
    pub seeds: Vec<u64>,
    /// Rows of each task whose answers are shown side by side in a file beside the table.
    #[serde(default)]
    pub samples: usize,
    /// Settings of every run, as in a run's configuration.
    #[serde(default)]
    pub run: Map<String, Value>,
    /// The rows' models.
    pub models: Vec<ModelSpec>,
    /// The rows' methods, for every model.
    pub methods: Vec<MethodSpec>,
}

/// A model of a profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// As the table prints it.
    pub name: String,
    /// As a run names it.
    pub model: String,
    /// Its name in the printed table, if model and data are the same there.
    pub printed_as: Option<String>,
    /// Sizes for `--dry-run`, which loads nothing.
    pub dims: Option<Dims>,
    /// Numbers in the model, likewise.
    pub parameters: Option<i64>,
}

/// A method of a profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodSpec {
    /// As the table prints it.
    pub name: String,
    /// Settings of its runs over the profile's.
    #[serde(default)]
    pub run: Map<String, Value>,
}

/// A row of the table with its runs.
#[derive(Clone, Debug)]
pub struct RowPlan {
    /// The model.
    pub model: ModelSpec,
    /// The method.
    pub method: String,
    /// One run a seed.
    pub runs: Vec<RunPlan>,
}

impl TableSpec {
    /// Reads a table's file.
    ///
    /// # Errors
    /// When it is missing or not valid.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        typed(yaml(path)?, &path.display().to_string())
    }

    /// A profile by its name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn profile(&self, name: &str, place: &str) -> Result<&Profile, ConfigError> {
        self.profiles.get(name).ok_or_else(|| ConfigError::Value {
            place: place.to_owned(),
            key: "--profile".to_owned(),
            reason: format!(
                "`{name}` is unknown: there is {}",
                self.profiles.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
            ),
        })
    }
}

impl Profile {
    /// Every row with its runs, models outermost.
    ///
    /// # Errors
    /// When a row's settings are wrong.
    pub fn rows(&self, place: &str) -> Result<Vec<RowPlan>, ConfigError> {
        let wrong = |key: &str, reason: String| {
            Err(ConfigError::Value { place: place.to_owned(), key: key.to_owned(), reason })
        };
        if self.seeds.is_empty() {
            return wrong("seeds", "a table needs at least one seed".to_owned());
        }
        if let Some(twice) = self.seeds.iter().enumerate().find(|(at, seed)| self.seeds[..*at].contains(seed)) {
            return wrong("seeds", format!("{} is there twice: the same run counts once", twice.1));
        }
        let mut rows = Vec::new();
        for model in &self.models {
            for method in &self.methods {
                let plans: Result<Vec<_>, _> =
                    self.seeds.iter().map(|&seed| self.plan(model, method, seed, place)).collect();
                let mut runs = plans?;
                if model.printed_as.is_some() && runs.iter().any(|run| run.data.source != DataKind::Real) {
                    let reason = "the paper's figures are for real data: set data.source: real, or leave this out";
                    return wrong("models.printed_as", reason.to_owned());
                }
                if runs.iter().all(|run| run.adapt.is_none()) {
                    runs.truncate(1);
                }
                rows.push(RowPlan { model: model.clone(), method: method.name.clone(), runs });
            }
        }
        Ok(rows)
    }

    fn plan(&self, model: &ModelSpec, method: &MethodSpec, seed: u64, place: &str) -> Result<RunPlan, ConfigError> {
        let tasks: Vec<&str> = self.tasks.iter().map(|task| task.key()).collect();
        let mut tree = json!({"data": {"train": tasks}});
        merge(&mut tree, Value::Object(self.run.clone()));
        merge(&mut tree, Value::Object(method.run.clone()));
        merge(&mut tree, json!({"model": model.model, "seed": seed, "data": {"eval": tasks}}));
        match keys::unknown(&tree, &keys::all(), "") {
            Some((key, suggestion)) => Err(ConfigError::Unknown { place: place.to_owned(), key, suggestion }),
            None => resolve(tree, &format!("{place}: {} on {}", method.name, model.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> TableSpec {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/tables/table1.yaml");
        TableSpec::read(Path::new(path)).expect("in the repository")
    }

    #[test]
    fn every_profile_resolves() {
        let spec = spec();
        let rows = |name: &str| spec.profile(name, "a test").expect("a profile").rows("a test").expect("valid");
        assert_eq!(rows("quick").len(), 3);
        assert_eq!(rows("small").iter().map(|row| row.runs.len()).collect::<Vec<_>>(), [1, 3, 3]);
        assert_eq!(rows("paper").len(), 8);
        assert!(rows("paper").iter().all(|row| row.runs.len() == 3 && row.model.printed_as.is_some()));
    }

    #[test]
    fn seeds_twice_or_none_and_printed_figures_beside_other_data_are_refused() {
        let refused = |change: &dyn Fn(&mut Profile)| {
            let mut profile = spec().profiles.remove("paper").expect("a profile");
            change(&mut profile);
            profile.rows("a test").expect_err("refused").to_string()
        };
        assert!(refused(&|profile| profile.seeds.clear()).contains("seeds"));
        assert!(refused(&|profile| profile.seeds.push(42)).contains("42 is there twice"));
        let embedded = refused(&|profile| {
            profile.run.insert("data".to_owned(), json!({"source": "embedded"}));
        });
        assert!(embedded.contains("printed_as"), "{embedded}");
    }

    #[test]
    fn the_paper_profile_has_the_paper_s_parameter_counts() {
        let spec = spec();
        let rows = spec.profile("paper", "a test").expect("a profile").rows("a test").expect("valid");
        let row = rows.iter().find(|row| row.model.name == "LLaMA-7B" && row.method == "LoReFT").expect("a row");
        let adapt = row.runs[0].adapt.as_ref().expect("an adaptation");
        let dims = row.model.dims.expect("sizes");
        assert_eq!(adapt.trainable(&dims).expect("it fits"), 2_097_408);
        assert_eq!(row.model.parameters, Some(6_738_415_616));
    }
}
