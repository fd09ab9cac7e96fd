//! The name of a run before it is done: what its folder will be called.

use std::collections::HashMap;

use anyhow::Result;
use reft_models::hub;
use reft_models::weights::Weights;

use crate::config::plan::RunPlan;
use crate::data::source::Sources;
use crate::run::data_fingerprint;
use crate::store::RunId;
use crate::store::environment::CODE_HASH;

/// Names runs; data and weights that were looked at once are not read again.
pub struct Identities {
    sources: Sources,
    data: HashMap<String, String>,
    weights: HashMap<String, String>,
}

impl Identities {
    /// Data from where the environment says.
    pub fn from_env() -> Self {
        Self { sources: Sources::from_env(), data: HashMap::new(), weights: HashMap::new() }
    }

    /// The name that `Runner` will give this run.
    ///
    /// # Errors
    /// When data or weights are not to be had.
    pub fn of(&mut self, plan: &RunPlan) -> Result<RunId> {
        // GLUE's validation rows are split by the run's seed.
        let seed = plan.glue().map(|_| plan.seed);
        let key = serde_json::to_string(&(&plan.data, plan.adapt.is_some(), seed)).expect("plain data");
        if !self.data.contains_key(&key) {
            self.data.insert(key.clone(), data_fingerprint(plan, &self.sources)?);
        }
        if !self.weights.contains_key(&plan.model) {
            let fingerprint = Weights::open(&hub::locate(&plan.model)?)?.fingerprint()?;
            self.weights.insert(plan.model.clone(), fingerprint);
        }
        Ok(RunId::new(plan, &self.data[&key], &self.weights[&plan.model], CODE_HASH))
    }
}
