//! A sweep's file: what is varied, how it is searched, what counts, and what is done with the winner.

mod check;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::check::check;
use super::dtype;
use super::halving::Halving;
use super::listed;
use super::measure::TrialMetric;
use super::search::SearchMethod;
use super::space::{Parameter, SearchPoint, Space, Values, describe};
use crate::config::ConfigError;
use crate::config::dtype::DtypeChoice;
use crate::config::merge::merge;
use crate::config::places::SettingLocations;
use crate::config::plan::{EvalSplit, RunPlan};
use crate::config::read::{
    LocatedSettings as Settings, beside, defaults, dtype_of, nest, resolve, resolve_at, run_tree, typed_at, written,
};
use crate::data::split::Selection;
use crate::score::grade::Unit;

/// Which end of the metric is sought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The largest; of losses, what to avoid.
    Highest,
    /// The smallest; of percents, what to avoid.
    Lowest,
}

impl Goal {
    /// The better end.
    fn of(unit: Unit) -> Self {
        if unit.better(1.0, 0.0) { Self::Highest } else { Self::Lowest }
    }
}

/// `final:` what is done with the winner, on test rows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinalRuns {
    /// One run for each.
    pub seeds: Vec<u64>,
    /// Settings over the winner's, such as the tasks.
    #[serde(default)]
    pub run: Map<String, Value>,
}

/// The file as it is written, `base` and `run` apart.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSweepSpec {
    title: String,
    #[serde(default)]
    run: Map<String, Value>,
    space: Map<String, Value>,
    method: SearchMethod,
    halving: Option<Halving>,
    trials: Option<usize>,
    hours: Option<f64>,
    patience: Option<usize>,
    #[serde(default)]
    metric: TrialMetric,
    goal: Option<Goal>,
    #[serde(default = "first_seed")]
    seed: u64,
    #[serde(rename = "final")]
    last: Option<FinalRuns>,
}

fn first_seed() -> u64 {
    42
}

/// A sweep, checked.
#[derive(Clone, PartialEq, Debug)]
pub struct SweepSpec {
    /// What it is.
    pub title: String,
    /// What is varied.
    pub space: Space,
    /// How it is searched.
    pub method: SearchMethod,
    /// Its rungs; one without halving.
    pub halving: Halving,
    /// Trials at most.
    pub trials: usize,
    /// Hours of work on trials at most, all workers together; no trial begins after them.
    pub hours: Option<f64>,
    /// Trials without a better one after which none begins.
    pub patience: Option<usize>,
    /// What a trial is judged by.
    pub metric: TrialMetric,
    /// Which end of it is sought.
    pub goal: Goal,
    /// What it is measured in; of points that are listed perhaps in more than this.
    pub unit: Unit,
    /// The one seed of all trials, and of the search.
    pub seed: u64,
    /// What is done with the winner.
    pub last: Option<FinalRuns>,
    /// Settings of every trial: a whole run's.
    run: Value,
    /// The file with `base` resolved: what identifies the sweep, and reads back as itself.
    frozen: Value,
}

impl SweepSpec {
    /// Reads and checks a sweep's file, with these settings (`run.data.eval=[cola]`) over those that stand there.
    ///
    /// # Errors
    /// When it is missing, a key or a value is wrong, or it would choose by anything but dev rows.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let mut settings = Self::settings(path, overrides)?;
        dtype::freeze(&mut settings.tree, &settings.places)?;
        Self::new(settings.tree, &settings.places)
    }

    /// Whether a sweep's file leaves the type of the weights to the machine.
    ///
    /// # Errors
    /// When it is missing, or a key or the type is wrong.
    pub fn leaves_dtype(path: &Path, overrides: &[String]) -> Result<bool, ConfigError> {
        let Settings { tree, places } = Self::settings(path, overrides)?;
        Ok(dtype_of(&tree["run"], &places)? == DtypeChoice::Auto)
    }

    /// The file with these settings over its own and its base merged in.
    fn settings(path: &Path, overrides: &[String]) -> Result<Settings, ConfigError> {
        let mut written = written(path)?;
        for text in overrides {
            varied_in_the_file(text)?;
            written.set(text)?;
        }
        if let Some(base) = written.take::<String>("base")? {
            let file = beside(path, "base", &base, &written.places)?;
            let below = run_tree(Some(&file), &[])?;
            resolve_at(below.tree.clone(), &below.places)?;
            let mut run = defaults();
            merge(&mut run, below.tree);
            if let Some(over) = written.tree.get_mut("run") {
                merge(&mut run, over.take());
            }
            written.tree["run"] = run;
        }
        Ok(written)
    }

    /// The type of the weights of every trial that does not vary it, as it is frozen.
    pub fn dtype(&self) -> Option<&str> {
        self.run.get("dtype").and_then(Value::as_str)
    }

    /// A sweep from what [`SweepSpec::frozen`] gave, or from a file with its base merged in.
    ///
    /// # Errors
    /// As for [`SweepSpec::read`].
    pub fn from_tree(tree: Value, place: &str) -> Result<Self, ConfigError> {
        Self::new(tree, &place.into())
    }

    fn new(tree: Value, places: &SettingLocations) -> Result<Self, ConfigError> {
        let written: RawSweepSpec = typed_at(&tree, places)?;
        let mut space = Vec::new();
        for (key, values) in written.space {
            let full = format!("space.{key}");
            if let Some(reason) = forbidden(&key).filter(|_| !written.method.is_listed()) {
                return Err(ConfigError::value(places, &full, reason));
            }
            let values: Values = typed_at(&values, places).map_err(|error| in_space(error, places, &full))?;
            space.push(Parameter { key, values });
        }
        let mut spec = Self {
            title: written.title,
            space: Space(space),
            method: written.method,
            halving: written.halving.unwrap_or(Halving::NONE),
            trials: written.trials.unwrap_or(usize::MAX),
            hours: written.hours,
            patience: written.patience,
            metric: written.metric,
            goal: Goal::Highest,
            unit: Unit::Percent,
            seed: written.seed,
            last: written.last,
            run: Value::Object(written.run),
            frozen: tree,
        };
        let first = match &spec.method {
            SearchMethod::Listed(points) => points.first().cloned().unwrap_or_default(),
            SearchMethod::Grid | SearchMethod::Random | SearchMethod::Tpe(_) => SearchPoint::new(),
        };
        let base = spec.plan(&first, "").map_err(|error| Self::located(error, places, &first))?;
        check(&spec, &base).map_err(|(key, reason)| ConfigError::value(places, key, reason))?;
        spec.unit = spec.metric.unit(&base).unwrap_or(Unit::Percent);
        spec.goal = written.goal.unwrap_or(Goal::of(spec.unit));
        spec.check_runs(places)?;
        Ok(spec)
    }

    /// The file with its base merged in, as JSON.
    pub fn frozen(&self) -> &Value {
        &self.frozen
    }

    /// A score for which larger is better.
    pub fn score(&self, metric: f64) -> f64 {
        match self.goal {
            Goal::Highest => metric,
            Goal::Lowest => -metric,
        }
    }

    /// A figure of the metric as people read it.
    pub fn shown(&self, figure: f64) -> String {
        match self.unit {
            Unit::Percent | Unit::AddedTime => format!("{figure:.2}"),
            Unit::Loss(_) => format!("{figure:.4}"),
        }
    }

    /// What is to be known of the final runs of a setting that was chosen by this run: GLUE's validation rows are split by
    /// the run's seed, as in the paper, so rows that trials watched are held back, and reported, by other seeds.
    pub fn caveat(&self, trial: &RunPlan) -> &'static str {
        let others = self.last.as_ref().is_some_and(|last| last.seeds.iter().any(|&seed| seed != self.seed));
        if trial.splits_by_seed() && others {
            "; other seeds report some of the rows that it was chosen by"
        } else {
            ""
        }
    }

    /// Resolves the base with each value of each setting, so that no trial is found wrong after hours.
    fn check_runs(&self, places: &SettingLocations) -> Result<(), ConfigError> {
        let plan = |point: &SearchPoint| self.plan(point, "").map_err(|error| Self::located(error, places, point));
        if let SearchMethod::Listed(points) = &self.method {
            return points.iter().try_for_each(|point| plan(point).map(|_| ()));
        }
        let first = |parameter: &Parameter| (parameter.key.clone(), parameter.values.corners()[0].clone());
        let origin: SearchPoint = self.space.0.iter().map(first).collect();
        let first = plan(&origin)?;
        if !first.trains() {
            return Err(ConfigError::value(places, "run.adapt", "nothing to train: name interventions"));
        }
        if first.data.eval.is_empty() {
            let reason = "trials are compared by their scores: name at least one task";
            return Err(ConfigError::value(places, "run.data.eval", reason));
        }
        for parameter in &self.space.0 {
            for value in parameter.values.corners() {
                let mut point = origin.clone();
                point.insert(parameter.key.clone(), value);
                plan(&point)?;
            }
        }
        let in_final = |error: ConfigError| error.renamed(places, |key| format!("final.run.{key}"));
        let last = self.last_plans(&origin, "a check", "").map_err(in_final)?;
        let unit = |plan| self.metric.fits(plan).and_then(|()| self.metric.unit(plan).map(|_| ()));
        match last.first().map_or(Ok(()), unit) {
            Ok(()) => Ok(()),
            Err(reason) => Err(ConfigError::value(places, "final.run", reason)),
        }
    }

    /// An error of a trial's run, told of the line that it comes from: the space's where the setting is varied.
    fn located(error: ConfigError, places: &SettingLocations, point: &SearchPoint) -> ConfigError {
        error.renamed(places, |key| {
            let varied = |name: &&String| {
                key.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            let section = point.keys().find(varied).map_or("run", |_| "space");
            format!("{section}.{key}")
        })
    }

    /// The sweep whose trials are these runs, in this order.
    ///
    /// # Errors
    /// When there are none.
    pub fn of_plans(title: &str, plans: &[&RunPlan]) -> Result<Self, ConfigError> {
        let (run, points) = listed::points(plans);
        let tree = json!({"title": title, "run": run, "space": {}, "method": {"listed": points}});
        Self::from_tree(tree, title)
    }

    /// The run of a point: trained without the dev rows, scored on them. Of points that are listed nothing is chosen, so they may
    /// have any rows and seeds.
    ///
    /// # Errors
    /// When the settings do not resolve, or name other rows than dev.
    pub fn plan(&self, point: &SearchPoint, place: &str) -> Result<RunPlan, ConfigError> {
        let mut tree = self.run.clone();
        point.iter().for_each(|(key, value)| merge(&mut tree, nest(key, value.clone())));
        if !self.method.is_listed() {
            merge(&mut tree, json!({ "seed": self.seed }));
        }
        let place = if point.is_empty() { place.to_owned() } else { format!("{place}: {}", describe(point)) };
        let plan = resolve(tree, &place)?;
        if !self.method.is_listed() && plan.data.eval_split != EvalSplit::Dev {
            let reason = "a sweep chooses by dev rows only: leave it out; `final` runs the chosen setting on test rows";
            return Err(ConfigError::Value { place, key: "data.eval_split".to_owned(), reason: reason.to_owned() });
        }
        Ok(plan)
    }

    /// The runs of the chosen point on test rows, one a seed. `chosen_by` is kept in their records.
    ///
    /// # Errors
    /// When the settings do not resolve.
    pub fn last_plans(&self, point: &SearchPoint, chosen_by: &str, place: &str) -> Result<Vec<RunPlan>, ConfigError> {
        let Some(last) = &self.last else { return Ok(Vec::new()) };
        let chosen = serde_json::to_value(self.plan(point, place)?).expect("plain data");
        let split = EvalSplit::Test(Selection { chosen_by: chosen_by.to_owned() });
        let of_seed = |seed: &u64| {
            let mut tree = chosen.clone();
            merge(&mut tree, Value::Object(last.run.clone()));
            merge(&mut tree, json!({"seed": seed, "data": {"eval_split": split}}));
            resolve(tree, &format!("{place}: final"))
        };
        last.seeds.iter().map(of_seed).collect()
    }
}

/// Refuses an override of the space, whose keys have dots of their own.
fn varied_in_the_file(text: &str) -> Result<(), ConfigError> {
    match text.split(['=', '.']).next().map(str::trim) {
        Some("space") => Err(ConfigError::Value {
            place: format!("--set {text}"),
            key: "space".to_owned(),
            reason: "what is varied stands in the file: change it there".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// An error in the values of a setting that is varied; `full` is its key in the file.
fn in_space(error: ConfigError, places: &SettingLocations, full: &str) -> ConfigError {
    match error {
        ConfigError::Whole { reason, .. } => ConfigError::value(places, full, reason),
        other => other.renamed(places, |key| format!("{full}.{key}")),
    }
}

/// Why a key cannot be varied, if it cannot.
fn forbidden(key: &str) -> Option<&'static str> {
    match key {
        "seed" => Some("a seed is no setting to choose: trials share `seed`, the chosen setting runs on `final.seeds`"),
        _ if ["data", "data.source"].contains(&key) || key.starts_with("data.eval") => {
            Some("what is scored must be the same for all trials, and is dev rows: leave it out")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
