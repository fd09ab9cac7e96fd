//! What a table is made of: profiles, each with models, methods and seeds, as a YAML file says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reft_core::site::Dims;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::ConfigError;
use crate::config::dtype::DtypeChoice;
use crate::config::merge::merge;
use crate::config::places::SettingLocations;
use crate::config::plan::RunPlan;
use crate::config::read::{LocatedSettings, beside, dtype_of, resolve_at, typed_at, written};
use crate::score::stats::Statistic;
use crate::suggest::did_you_mean;
use crate::tables::methods::Methods;
use crate::tables::paper::{self, PrintedError, PrintedRow};
use crate::tasks::{DataKind, TaskId};

/// `configs/tables/table1.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Caption.
    pub title: String,
    /// File of printed figures, relative to the repository; none for a table of one's own.
    #[serde(default)]
    pub printed: Option<String>,
    /// What it says about runs that differ in their seed.
    #[serde(default)]
    pub statistic: Statistic,
    /// Whether a row says what guessing reaches.
    #[serde(default)]
    pub guessing: bool,
    /// Another table's file, beside this one, whose profiles these are: the same runs, told otherwise.
    profiles_of: Option<String>,
    /// Columns, in their order, of those that a profile has; all of a profile's if left out.
    columns: Option<Vec<TaskId>>,
    /// By name.
    #[serde(default)]
    pub profiles: BTreeMap<String, TableProfile>,
    #[serde(skip)]
    places: SettingLocations,
}

/// One size of the table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableProfile {
    /// What it is for, in one line.
    pub purpose: String,
    /// The table's columns: tasks, or data sets of the user's. Every run scores these, but one with labels has runs of its own.
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
    /// Its full key in the file.
    #[serde(skip)]
    key: String,
    #[serde(skip)]
    places: SettingLocations,
    /// Settings of every run over all of these, given beside the file.
    #[serde(skip)]
    over: Map<String, Value>,
    /// Which of its methods have rows.
    #[serde(skip)]
    chosen: Methods,
}

/// What a table's profile says itself about each of its runs.
const OWN: [&[&str]; 4] = [&["model"], &["seed"], &["data", "train"], &["data", "eval"]];

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
    /// Its names in the printed table, where those are others.
    #[serde(default)]
    printed_as: Vec<String>,
    /// Whether it has a row only where it is asked for.
    #[serde(default)]
    pub on_request: bool,
    /// The only model, by its name in the table, that it is for; none for every model.
    model: Option<String>,
    /// Settings of its runs over the profile's.
    #[serde(default)]
    pub run: Map<String, Value>,
    /// Settings over these where a GLUE task is trained, by the task.
    #[serde(default)]
    tasks: BTreeMap<TaskId, Map<String, Value>>,
}

/// A row of the table with its runs.
#[derive(Clone, Debug)]
pub struct RowPlan {
    /// The model.
    pub model: ModelSpec,
    /// The method.
    pub method: String,
    /// The method's names in the printed table.
    pub printed: Vec<String>,
    /// One run a seed.
    pub runs: Vec<RunPlan>,
    /// What the file says of each run's type of weights.
    pub dtypes: Vec<DtypeChoice>,
}

impl TableSpec {
    /// Reads a table's file.
    ///
    /// # Errors
    /// When it is missing or not valid.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let read = |path: &Path| {
            let written = written(path)?;
            let mut spec = typed_at::<Self>(&written.tree, &written.places)?;
            for (name, profile) in &mut spec.profiles {
                (profile.key, profile.places) = (format!("profiles.{name}"), written.places.clone());
            }
            Ok::<_, ConfigError>(Self { places: written.places, ..spec })
        };
        let mut spec = read(path)?;
        if let Some(other) = &spec.profiles_of {
            spec.profiles = read(&beside(path, "profiles_of", other, &spec.places)?)?.profiles;
        }
        if let Some(columns) = &spec.columns {
            for profile in spec.profiles.values_mut() {
                profile.tasks = columns.iter().copied().filter(|task| profile.tasks.contains(task)).collect();
            }
        }
        Ok(spec)
    }

    /// Its printed rows.
    ///
    /// # Errors
    /// When the file of printed figures is missing or not valid.
    pub fn printed(&self, at: impl Fn(&Path) -> PathBuf) -> Result<Vec<PrintedRow>, PrintedError> {
        self.printed.as_ref().map_or(Ok(Vec::new()), |path| paper::read(&at(Path::new(path))))
    }

    /// A profile by its name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn profile(&self, name: &str) -> Result<&TableProfile, ConfigError> {
        self.profiles.get(name).ok_or_else(|| {
            let known = self.profiles.keys().map(String::as_str);
            let (near, known) = (did_you_mean(name, known.clone()), known.collect::<Vec<_>>().join(", "));
            ConfigError::value(&self.places, "profiles", format!("`{name}` is unknown{near}: there is {known}"))
        })
    }
}

impl TableProfile {
    /// The same with these settings, such as `train.parity=pyreft`, over those of every run.
    ///
    /// # Errors
    /// When one is no setting, or one that tells the table's runs apart.
    pub fn with(&self, settings: &[String]) -> Result<Self, ConfigError> {
        let mut over = LocatedSettings { tree: Value::Object(self.over.clone()), places: self.places.clone() };
        for text in settings {
            over.set(text)?;
            if let Some(own) =
                OWN.iter().find(|path| path.iter().try_fold(&over.tree, |tree, key| tree.get(key)).is_some())
            {
                let reason = "the table's file says it for each run: change it there".to_owned();
                return Err(ConfigError::value(&over.places, &own.join("."), reason));
            }
        }
        let LocatedSettings { tree, places } = over;
        let over = tree.as_object().cloned().unwrap_or_default();
        Ok(Self { places, over, ..self.clone() })
    }

    /// The same with rows of these methods only.
    ///
    /// # Errors
    /// When a name is no method's.
    pub fn choosing(&self, methods: &Methods) -> Result<Self, ConfigError> {
        let known = self.methods.iter().map(|method| method.name.as_str());
        let chosen = methods.among(known);
        let chosen =
            chosen.map_err(|reason| ConfigError::value(&self.places, &format!("{}.methods", self.key), reason))?;
        Ok(Self { chosen, ..self.clone() })
    }

    /// Every row with its runs, models outermost.
    ///
    /// # Errors
    /// When a row's settings are wrong.
    pub fn rows(&self) -> Result<Vec<RowPlan>, ConfigError> {
        let wrong =
            |key: &str, reason: String| Err(ConfigError::value(&self.places, &format!("{}.{key}", self.key), reason));
        if self.seeds.is_empty() {
            return wrong("seeds", "a table needs at least one seed".to_owned());
        }
        if let Some(twice) = self.seeds.iter().enumerate().find(|(at, seed)| self.seeds[..*at].contains(seed)) {
            return wrong("seeds", format!("{} is there twice: the same run counts once", twice.1));
        }
        let mut rows = Vec::new();
        for model in &self.models {
            let fits = |(_, method): &(usize, &MethodSpec)| {
                method.model.as_ref().is_none_or(|name| *name == model.name)
                    && self.chosen.has(&method.name, method.on_request)
            };
            for (number, method) in self.methods.iter().enumerate().filter(fits) {
                let plans = self.seeds.iter().flat_map(|&seed| self.plans(model, number, seed));
                let (mut runs, mut dtypes): (Vec<_>, Vec<_>) =
                    plans.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
                if model.printed_as.is_some() && runs.iter().any(|run| run.data.source != DataKind::Real) {
                    let reason = "the paper's figures are for real data: set data.source: real, or leave this out";
                    return wrong("models.printed_as", reason.to_owned());
                }
                if runs.iter().all(|run| !run.trains()) {
                    runs.truncate(1);
                    dtypes.truncate(1);
                }
                let name = method.name.clone();
                let printed = if method.printed_as.is_empty() { vec![name.clone()] } else { method.printed_as.clone() };
                rows.push(RowPlan { model: model.clone(), method: name, printed, runs, dtypes });
            }
        }
        Ok(rows)
    }

    /// The runs of one seed with a method by its number: one for each labelled task, one for all other tasks.
    fn plans(&self, model: &ModelSpec, method: usize, seed: u64) -> Vec<Result<(RunPlan, DtypeChoice), ConfigError>> {
        let (apart, together): (Vec<TaskId>, Vec<TaskId>) =
            self.tasks.iter().partition(|task| task.task().labelled().is_some());
        let groups = apart.iter().map(std::slice::from_ref).chain((!together.is_empty()).then_some(&together[..]));
        groups.map(|tasks| self.plan(model, method, seed, tasks)).collect()
    }

    fn plan(
        &self,
        model: &ModelSpec,
        number: usize,
        seed: u64,
        tasks: &[TaskId],
    ) -> Result<(RunPlan, DtypeChoice), ConfigError> {
        let method = &self.methods[number];
        let keys: Vec<&str> = tasks.iter().map(|task| task.key()).collect();
        // By name, or as the file describes it: a data set of the user's.
        let told = json!(tasks);
        let mut tree = json!({"data": {"train": told}});
        merge(&mut tree, Value::Object(self.run.clone()));
        merge(&mut tree, Value::Object(method.run.clone()));
        for task in tasks {
            merge(&mut tree, Value::Object(method.tasks.get(task).cloned().unwrap_or_default()));
        }
        merge(&mut tree, Value::Object(self.over.clone()));
        merge(&mut tree, json!({"model": model.model, "seed": seed, "data": {"eval": told}}));
        // The sections that settings come from; those that win come last.
        let mut sections = vec![format!("{}.run.", self.key), format!("{}.methods[{number}].run.", self.key)];
        sections.extend(keys.iter().map(|task| format!("{}.methods[{number}].tasks.{task}.", self.key)));
        // Settings beside the file are noted under their own keys.
        sections.push(String::new());
        let written = |key: &str| {
            let full: Vec<String> = sections.iter().map(|section| format!("{section}{key}")).collect();
            let known =
                |(section, full): (&String, &String)| self.places.known(full).len().saturating_sub(section.len());
            let best = sections.iter().zip(&full).max_by_key(|&pair| known(pair));
            best.map_or_else(|| key.to_owned(), |(_, full)| full.clone())
        };
        let located = |error: ConfigError| error.renamed(&self.places, written);
        let dtype = dtype_of(&tree, &self.places).map_err(located)?;
        Ok((resolve_at(tree, &self.places).map_err(located)?, dtype))
    }
}

#[cfg(test)]
mod tests;
