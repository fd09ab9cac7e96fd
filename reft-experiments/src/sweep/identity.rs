//! The name of a run before it is done: what its folder will be called.

use std::collections::HashMap;

use anyhow::{Context, Result};
use reft_models::hub;
use reft_models::identity::Identity;
use reft_models::weights::Weights;

use super::manifest::Trial;
use super::spec::SweepSpec;
use crate::config::plan::RunPlan;
use crate::data::source::DataSources;
use crate::run::data_fingerprint;
use crate::store::RunId;
use crate::store::environment::Environment;

/// Names runs; data and models that were looked at once are not read again.
pub struct Identities {
    sources: DataSources,
    data: HashMap<String, String>,
    models: HashMap<String, Identity>,
    /// Threads in which the runs will be done.
    pub threads: i32,
}

impl Identities {
    /// Of runs in so many threads; data from where the environment says.
    pub fn from_env(threads: i32) -> Self {
        Self { sources: DataSources::from_env(), data: HashMap::new(), models: HashMap::new(), threads }
    }

    /// The name that `Runner` will give this run.
    ///
    /// # Errors
    /// When data or the model are not to be had.
    pub fn of(&mut self, plan: &RunPlan) -> Result<RunId> {
        let seed = plan.splits_by_seed().then_some(plan.seed);
        let key = serde_json::to_string(&(&plan.data, plan.adapt.is_some(), seed)).expect("plain data");
        if !self.data.contains_key(&key) {
            self.data.insert(key.clone(), data_fingerprint(plan, &self.sources)?);
        }
        if !self.models.contains_key(&plan.model) {
            let identity = Identity::of(&Weights::open(&hub::locate(&plan.model)?)?)?;
            self.models.insert(plan.model.clone(), identity);
        }
        let here = Environment::here(self.data[&key].clone(), &self.models[&plan.model]);
        Ok(RunId::new(plan, &Environment { threads: self.threads, ..here }))
    }

    /// Refuses final runs whose test rows are not to be had: after all trials it would be too late.
    ///
    /// # Errors
    /// When they are not.
    pub fn check_last(&mut self, spec: &SweepSpec, first: Option<&Trial>) -> Result<()> {
        let Some(trial) = first else { return Ok(()) };
        let plans = spec.last_plans(&trial.point, "a check", "a sweep")?;
        plans.first().map_or(Ok(()), |plan| self.of(plan).map(drop)).context("final")
    }
}
