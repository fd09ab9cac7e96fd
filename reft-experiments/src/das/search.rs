//! Distributed alignment search over layers and positions: in which state does a causal variable live?

use anyhow::Result;
use reft_core::AdaptSpec;
use reft_core::adaptation::Adaptation;
use reft_core::rng::Seed;
use reft_core::site::{Component, LayerId};
use reft_models::model::Decoder;
use serde_json::{Value, json};

use crate::train::interchange::{Counterfactual, Interchanges, SourceRun};
use crate::train::learner::{Learner, UpdateRules};
use crate::train::schedule::Schedule;

/// An input with one other or several, and the answer of the causal model once each of its variables that is searched for has the
/// value of its source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterchangePair {
    /// The input that is run.
    pub base: Vec<i64>,
    /// The inputs whose states are taken, one for each variable.
    pub sources: Vec<Vec<i64>>,
    /// The counterfactual answer's token.
    pub label: i64,
}

impl InterchangePair {
    /// The interchange with each source at its place.
    pub fn at(&self, places: &[ExchangePlace]) -> Counterfactual {
        let source = |(ids, place): (&Vec<i64>, &ExchangePlace)| {
            let position = |ids: &[i64]| vec![(ids.len() - place.back) as i64];
            SourceRun {
                part: place.part,
                ids: ids.clone(),
                base_positions: position(&self.base),
                source_positions: position(ids),
            }
        };
        let sources = self.sources.iter().zip(places).map(source).collect();
        Counterfactual { base: self.base.clone(), sources, label: self.label, name: "a pair".to_owned() }
    }
}

/// Where a source's state is taken and put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExchangePlace {
    /// The set of interventions that does it.
    pub part: usize,
    /// The token, from the end of both inputs (1: the last).
    pub back: usize,
}

/// The places of variables whose tokens are so far from the end; each has a set of its own.
pub fn places(backs: &[usize]) -> Vec<ExchangePlace> {
    backs.iter().enumerate().map(|(part, &back)| ExchangePlace { part, back }).collect()
}

/// How `R` is learned.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DasSettings {
    /// Rows of `R` for each variable.
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
    /// The adaptation at this layer: one `R`, of which each of so many variables has rows of its own.
    ///
    /// # Errors
    /// When the rank does not fit the model.
    pub fn spec(&self, layer: LayerId, variables: usize) -> Result<AdaptSpec> {
        let whole = json!({"intervention": "dii", "rank": self.rank * variables as i64, "layers": [layer.0],
            "positions": "given", "component": self.component});
        if variables == 1 {
            return Ok(serde_json::from_value(json!({ "reft": whole }))?);
        }
        let rows = |variable: i64| {
            let mut set = whole.clone();
            set["subspace"] = json!(format!("{}..{}", variable * self.rank, (variable + 1) * self.rank));
            set
        };
        let sets: Vec<Value> = (0..variables as i64).map(rows).collect();
        Ok(serde_json::from_value(json!({ "refts": sets }))?)
    }

    /// Learns `R` at a layer and, for each variable, the token `backs` from the end, and says how well it does on pairs that it did
    /// not see.
    ///
    /// # Errors
    /// When the rank does not fit, or the loss is not finite.
    pub fn at(
        &self,
        model: &dyn Decoder,
        (layer, backs): (LayerId, &[usize]),
        train: &[InterchangePair],
        test: &[InterchangePair],
    ) -> Result<DasResult> {
        let spec = self.spec(layer, backs.len())?;
        let mut adaptation = spec.build(model.dims(), self.seed, model.options().1)?;
        let cases: Vec<Counterfactual> = train.iter().map(|pair| pair.at(&places(backs))).collect();
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
        let accuracy = accuracy(model, adaptation.as_ref(), backs, test, self.batch)?;
        Ok(DasResult { adaptation, spec, accuracy })
    }
}

/// Interchange-intervention accuracy of an `R` at the tokens `backs` from the end, one for each variable.
///
/// # Errors
/// When interventions overlap.
pub fn accuracy(
    model: &dyn Decoder,
    adaptation: &dyn Adaptation,
    backs: &[usize],
    pairs: &[InterchangePair],
    batch: usize,
) -> Result<f64> {
    let cases: Vec<Counterfactual> = pairs.iter().map(|pair| pair.at(&places(backs))).collect();
    Ok(Interchanges { model }.accuracy(adaptation, &cases, batch)?)
}
