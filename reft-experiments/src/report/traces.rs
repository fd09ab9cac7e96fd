//! Training traces of a run, thinned to the resolution of a chart.

use super::gather::ReportRun;
use crate::train::best::Epoch;
use crate::train::observe::{Metrics, StepInfo};

/// Points of a line at most.
const POINTS: usize = 80;

/// Several updates in a row, averaged.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AveragedUpdates {
    /// Mean number of its updates, counted from 1.
    pub update: f64,
    /// How many they are.
    pub updates: usize,
    /// Mean loss.
    pub loss: f64,
    /// Mean norm of the gradient.
    pub norm: f64,
    /// Mean learning rate.
    pub lr: f64,
}

/// A run's training.
#[derive(Clone, PartialEq, Debug)]
pub struct Trace {
    /// From the first update to the last.
    pub stretches: Vec<AveragedUpdates>,
    /// After every epoch: the update, and the score on the watched rows in percent.
    pub watched: Vec<(f64, f64)>,
}

/// Reads a run's training; empty where it kept nothing, and up to where a file is damaged.
pub fn trace(run: &ReportRun) -> Trace {
    let steps = Metrics::kept(&run.paths.metrics(), u64::MAX);
    let text = std::fs::read_to_string(run.paths.epochs()).unwrap_or_default();
    let epochs = text.lines().map_while(|line| serde_json::from_str::<Epoch>(line).ok());
    let end =
        |epoch: u64| steps.iter().filter(|step| step.epoch == epoch).map(|step| (step.step + 1) as f64).next_back();
    let watched = epochs.filter_map(|epoch| Some((end(epoch.epoch)?, 100.0 * epoch.value?))).collect();
    Trace { stretches: thinned(&steps), watched }
}

fn thinned(steps: &[StepInfo]) -> Vec<AveragedUpdates> {
    let finite = |step: &&StepInfo| step.update.loss.is_finite() && step.update.norm.is_finite();
    let steps: Vec<&StepInfo> = steps.iter().filter(finite).collect();
    let stretch = |steps: &[&StepInfo]| {
        let mean = |of: &dyn Fn(&StepInfo) -> f64| steps.iter().map(|step| of(step)).sum::<f64>() / steps.len() as f64;
        AveragedUpdates {
            update: mean(&|step| (step.step + 1) as f64),
            updates: steps.len(),
            loss: mean(&|step| step.update.loss),
            norm: mean(&|step| step.update.norm),
            lr: mean(&|step| step.lr),
        }
    };
    steps.chunks(steps.len().div_ceil(POINTS).max(1)).map(stretch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::learner::Update;

    #[test]
    fn a_long_trace_is_averaged_and_a_short_one_kept() {
        let step = |step: u64| StepInfo {
            step,
            epoch: 0,
            update: Update { loss: step as f64, norm: 1.0, tokens: 1 },
            lr: 0.5,
            dev_loss: None,
        };
        let steps: Vec<StepInfo> = (0..400).map(step).collect();
        let all = thinned(&steps);
        assert_eq!((all.len(), all[0].updates, all[79].updates), (80, 5, 5));
        assert!((all[0].loss - 2.0).abs() < 1e-12 && (all[0].update - 3.0).abs() < 1e-12);
        assert_eq!(thinned(&steps[..7]).len(), 7);
        let broken = [StepInfo { update: Update { loss: f64::NAN, norm: 1.0, tokens: 1 }, ..step(0) }, step(1)];
        assert_eq!(thinned(&broken).len(), 1);
    }
}
