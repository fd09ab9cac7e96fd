//! Validation of a causal model while it is trained: the mean loss of dev rows, the step with the lowest one, and early stopping.

use reft_core::adaptation::OverlapError;
use reft_core::params::ParamSet;
use serde::{Deserialize, Serialize};

use super::best::{Best, SelectionScore};
use super::error::TrainError;

/// What the dev rows came to after an update.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct DevLoss {
    /// Updates done.
    pub update: u64,
    /// Mean loss of the dev rows by the run's objective, of an output token in eq. 4; none where it is not finite.
    pub loss: Option<f64>,
}

impl SelectionScore for DevLoss {
    fn number(&self) -> u64 {
        self.update
    }

    fn better(&self, than: &Self) -> bool {
        match (self.loss, than.loss) {
            (Some(loss), Some(other)) => loss < other,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

/// When dev rows are looked at, and when training stops early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValidationRule {
    /// Updates between two looks; 0 for one after every epoch.
    pub every: u64,
    /// Looks in a row without a lower loss after which training stops; 0 for never.
    pub patience: u64,
}

impl ValidationRule {
    /// Whether the dev rows are looked at after this many updates.
    fn applies(self, done: u64, per_epoch: u64) -> bool {
        done.is_multiple_of(if self.every == 0 { per_epoch } else { self.every })
    }
}

/// Dev rows, and what they came to so far.
pub struct Validation<E> {
    /// The rows.
    pub rows: Vec<E>,
    /// When they are looked at.
    pub rule: ValidationRule,
    /// Their losses, and the parameters of the lowest.
    pub best: Best<DevLoss>,
}

impl<E> Validation<E> {
    /// Looks at the rows after `done` updates, if it is time; the loss. `sets` are the parameters that it is a loss of.
    ///
    /// # Errors
    /// When interventions overlap, or a file cannot be written.
    pub fn look(
        &mut self,
        [done, per_epoch]: [u64; 2],
        sets: &[&ParamSet],
        loss: impl Fn(&[E]) -> Result<f64, OverlapError>,
    ) -> Result<Option<f64>, TrainError> {
        if !self.rule.applies(done, per_epoch) {
            return Ok(None);
        }
        let loss = Some(loss(&self.rows)?).filter(|loss| loss.is_finite());
        self.best.offer(DevLoss { update: done, loss }, sets)?;
        Ok(loss)
    }

    /// Whether the loss has not become lower for as long as the rule waits.
    pub fn stopped(&self) -> bool {
        self.rule.patience > 0 && self.best.since() >= self.rule.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_loss_is_better_and_an_undefined_one_never() {
        let mark = |loss| DevLoss { update: 1, loss };
        assert!(mark(Some(1.0)).better(&mark(Some(2.0))) && mark(Some(1.0)).better(&mark(None)));
        assert!(!mark(Some(1.0)).better(&mark(Some(1.0))) && !mark(None).better(&mark(None)));
    }

    #[test]
    fn rows_are_looked_at_every_so_many_updates_or_after_an_epoch() {
        let looks = |every| {
            (1..=12).filter(|&done| ValidationRule { every, patience: 0 }.applies(done, 6)).collect::<Vec<u64>>()
        };
        assert_eq!((looks(0), looks(5)), (vec![6, 12], vec![5, 10]));
    }
}
