//! State of a trial, read from its files.

use anyhow::Result;

use super::halving::{Halving, TrialScores};
use super::measure::TrialMetric;
use super::spec::SweepSpec;
use crate::alpaca_eval::annotations;
use crate::alpaca_eval::win_rate::WinRate;
use crate::store::RunPaths;
use crate::store::claim::ClaimView;
use crate::store::record::{Record, mean_figure};
use crate::store::state::RunState;

/// What is known of a run.
#[derive(Clone, PartialEq, Debug)]
pub struct RunView {
    /// What sweeps did with it.
    pub state: RunState,
    /// Its scores in the sense of the sweep, and whether it failed.
    pub standing: TrialScores,
    /// Why it failed.
    pub failure: Option<String>,
    /// Whether its record is there.
    pub complete: bool,
    /// The claim that is free, or who holds it.
    pub claim: Result<usize, ClaimView>,
}

impl RunView {
    /// Looks at a run's files. What is damaged counts as a failure, and says so.
    ///
    /// # Errors
    /// When a claim cannot be read.
    pub fn of(paths: &RunPaths, spec: &SweepSpec, halving: Halving) -> Result<Self> {
        let state = match RunState::read(paths) {
            Ok(state) => state,
            Err(error) => return Ok(Self::broken(error.to_string())),
        };
        let record = match Record::find(&paths.record()) {
            Ok(record) => record,
            Err(error) => return Ok(Self { state, ..Self::broken(error.to_string()) }),
        };
        let rung = |number| state.rungs.iter().find(|rung| (rung.part - halving.part(number)).abs() < 1e-9);
        let known = (0..halving.rungs).map_while(|number| Some(spec.score(mean_figure(&rung(number)?.scores))));
        let mut scores: Vec<f64> = known.collect();
        if let Some(record) = &record {
            // A run that another command did to its end has no scores at rungs: its last one stands for them.
            scores.truncate(halving.rungs - 1);
            scores.resize(halving.rungs, spec.score(metric(spec.metric, record, paths)?));
        }
        let failure = if record.is_some() { None } else { state.failure() };
        let claim = state.next_claim(paths)?;
        let standing = TrialScores { scores, failed: failure.is_some() };
        Ok(Self { state, standing, failure, complete: record.is_some(), claim })
    }

    fn broken(reason: String) -> Self {
        Self {
            state: RunState::default(),
            standing: TrialScores { scores: Vec::new(), failed: true },
            failure: Some(reason),
            complete: false,
            claim: Ok(0),
        }
    }

    /// Whether a worker has begun it.
    pub fn begun(&self) -> bool {
        self.complete || self.failure.is_some() || !self.state.attempts.is_empty() || self.claim.is_err()
    }

    /// Whether it is complete and still has no score: a judge was not asked.
    pub fn unjudged(&self) -> bool {
        self.complete && self.standing.scores.iter().any(|score| score.is_nan())
    }
}

/// A complete run's figure; NaN where a judge was not asked.
fn metric(metric: TrialMetric, record: &Record, paths: &RunPaths) -> Result<f64> {
    match metric {
        TrialMetric::Accuracy | TrialMetric::Glue => Ok(mean_figure(&record.scores)),
        TrialMetric::WinRate => {
            let mut rates = Vec::new();
            for id in &record.plan.data.eval {
                let path = paths.annotations(id.key());
                rates.push(if path.exists() { WinRate::of(&annotations::read(&path)?)?.win_rate } else { f64::NAN });
            }
            Ok(rates.iter().sum::<f64>() / rates.len() as f64)
        }
    }
}
