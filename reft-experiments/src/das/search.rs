//! Distributed alignment search over layers and positions: in which state does a causal variable live?

use anyhow::Result;
use reft_core::AdaptSpec;
use reft_core::adaptation::Adaptation;
use reft_core::rng::Seed;
use reft_core::site::{Component, LayerId};
use reft_models::model::Decoder;
use serde_json::json;

use crate::train::interchange::{Counterfactual, Interchanges, SourceRun};
use crate::train::learner::{Learner, UpdateRules};
use crate::train::schedule::Schedule;

/// Two inputs, and the answer of the causal model once its variable has the source's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterchangePair {
    /// The input that is run.
    pub base: Vec<i64>,
    /// The input whose state is taken.
    pub source: Vec<i64>,
    /// The counterfactual answer's token.
    pub label: i64,
}

impl InterchangePair {
    /// The interchange at the token `back` from the end of both (1: the last), by set `part`.
    pub fn at(&self, back: usize, part: usize) -> Counterfactual {
        let position = |ids: &[i64]| vec![(ids.len() - back) as i64];
        let source = SourceRun {
            part,
            ids: self.source.clone(),
            base_positions: position(&self.base),
            source_positions: position(&self.source),
        };
        Counterfactual { base: self.base.clone(), sources: vec![source], label: self.label, name: "a pair".to_owned() }
    }
}

/// How `R` is learned.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DasSettings {
    /// Rows of `R`.
    pub rank: i64,
    /// Where in the block.
    pub component: Component,
    /// Times over the training pairs.
    pub epochs: u64,
    /// Pairs of an update.
    pub batch: usize,
    /// Adam's learning rate, which decays linearly to 0.
    pub rate: f64,
    /// Decides R's beginning.
    pub seed: Seed,
}

/// What was found at one layer and position.
#[derive(Debug)]
pub struct DasResult {
    /// The learned `R`.
    pub adaptation: Box<dyn Adaptation>,
    /// What it is.
    pub spec: AdaptSpec,
    /// Interchange-intervention accuracy on the held-out pairs.
    pub accuracy: f64,
}

impl DasSettings {
    /// The adaptation at this layer.
    ///
    /// # Errors
    /// When the rank does not fit the model.
    pub fn spec(&self, layer: LayerId) -> Result<AdaptSpec> {
        let reft = json!({"intervention": "dii", "rank": self.rank, "layers": [layer.0], "positions": "given",
            "component": self.component});
        Ok(serde_json::from_value(json!({ "reft": reft }))?)
    }

    /// Learns `R` at a layer and the token `back` from the end, and says how well it does on pairs that it did not see.
    ///
    /// # Errors
    /// When the rank does not fit, or the loss is not finite.
    pub fn at(
        &self,
        model: &dyn Decoder,
        (layer, back): (LayerId, usize),
        train: &[InterchangePair],
        test: &[InterchangePair],
    ) -> Result<DasResult> {
        let spec = self.spec(layer)?;
        let mut adaptation = spec.build(model.dims(), self.seed, model.options().1)?;
        let cases: Vec<Counterfactual> = train.iter().map(|pair| pair.at(back, 0)).collect();
        let mut objective = Interchanges { model };
        let rules = UpdateRules { clip: f64::INFINITY, ..UpdateRules::default() };
        let mut learner = Learner::new(&mut objective, adaptation.as_mut(), rules);
        let updates = self.epochs * cases.len().div_ceil(self.batch) as u64;
        let schedule = Schedule::linear(self.rate, 0.0, updates);
        for _ in 0..self.epochs {
            for batch in cases.chunks(self.batch) {
                let batch: Vec<&Counterfactual> = batch.iter().collect();
                let rate = schedule.at(learner.updates());
                learner.update(&batch, rate)?;
            }
        }
        let accuracy = accuracy(model, adaptation.as_ref(), back, test, self.batch)?;
        Ok(DasResult { adaptation, spec, accuracy })
    }
}

/// Interchange-intervention accuracy of an `R` at the token `back` from the end.
///
/// # Errors
/// When interventions overlap.
pub fn accuracy(
    model: &dyn Decoder,
    adaptation: &dyn Adaptation,
    back: usize,
    pairs: &[InterchangePair],
    batch: usize,
) -> Result<f64> {
    let cases: Vec<Counterfactual> = pairs.iter().map(|pair| pair.at(back, 0)).collect();
    Ok(Interchanges { model }.accuracy(adaptation, &cases, batch)?)
}
