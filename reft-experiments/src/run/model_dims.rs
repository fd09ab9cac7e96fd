//! Whether what plans train fits their models, by the headers of the models' files: nothing is loaded for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use anyhow::Result;
use reft_core::site::Dims;
use reft_models::registry::LoadError;
use reft_models::weights::Weights;
use reft_models::{encoder, hub, registry};

use crate::config::plan::RunPlan;

/// The dimensions of models that were asked for.
#[derive(Debug, Default)]
pub struct ModelDims(HashMap<String, Option<Dims>>);

impl ModelDims {
    /// Those of a model; none where it is not on this machine.
    ///
    /// # Errors
    /// When its files are damaged, or nothing here reads them.
    pub fn of(&mut self, model: &str) -> Result<Option<Dims>> {
        Ok(match self.0.entry(model.to_owned()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => *unknown.insert(read(model)?),
        })
    }

    /// Refuses a plan whose layers, ranks or components its model does not have. Of a model that is not on this machine nothing is
    /// known, and own weights always fit.
    ///
    /// # Errors
    /// With what the model has.
    pub fn check(&mut self, plan: &RunPlan) -> Result<()> {
        let Some(adapt) = plan.adapt.as_ref().filter(|adapt| !adapt.own_weights()) else { return Ok(()) };
        match self.of(&plan.model)? {
            Some(dims) => Ok(adapt.trainable(&dims).map(drop)?),
            None => Ok(()),
        }
    }
}

fn read(model: &str) -> Result<Option<Dims>> {
    let Ok(found) = hub::find_here(model) else { return Ok(None) };
    let weights = Weights::open(&found.path)?;
    match registry::dims(&weights) {
        Err(LoadError::Encoder { .. }) => Ok(Some(encoder::dims(&weights)?)),
        dims => Ok(Some(dims?)),
    }
}
