//! The learning rate over a run: linear warm-up, then one of several shapes, all of them Hugging Face's formulas.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerType {
    /// It falls to 0 in a straight line.
    #[default]
    Linear,
    /// It falls to 0 along half a cosine.
    Cosine,
    /// It stays.
    Constant,
}

impl SchedulerType {
    /// Whether it is the one that a plan has where it names none.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A run's learning rates.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Schedule {
    shape: SchedulerType,
    peak: f64,
    warmup: u64,
    total: u64,
}

impl Schedule {
    /// Over `total` updates, the first `ceil(ratio * total)` of them rising.
    pub fn new(shape: SchedulerType, peak: f64, ratio: f64, total: u64) -> Self {
        Self { shape, peak, warmup: (ratio * total as f64).ceil() as u64, total }
    }

    /// The reference's: linear warm-up, then linear decay to 0.
    pub fn linear(peak: f64, ratio: f64, total: u64) -> Self {
        Self::new(SchedulerType::Linear, peak, ratio, total)
    }

    /// Learning rate of update `step`, counted from 0. With warm-up the first one is 0, as in the reference.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step as f64 / self.warmup as f64);
        }
        let falling = (self.total - self.warmup).max(1) as f64;
        let left = self.total.saturating_sub(step) as f64 / falling;
        let fraction = match self.shape {
            SchedulerType::Linear => left,
            SchedulerType::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * (1.0 - left)).cos()),
            SchedulerType::Constant => 1.0,
        };
        self.peak * fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_in_the_warm_up_then_decays() {
        let schedule = Schedule::new(SchedulerType::Linear, 1.0, 0.1, 20);
        let eighteenths = |step| (schedule.at(step) * 18.0).round() as i64;
        assert_eq!([0, 1, 2, 3, 11, 19, 20].map(eighteenths), [0, 9, 18, 17, 9, 1, 0]);
        assert!((Schedule::new(SchedulerType::Linear, 2.0, 0.0, 4).at(0) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn every_shape_rises_alike_and_goes_on_by_its_formula() {
        let at = |shape, step| Schedule::new(shape, 2.0, 0.2, 10).at(step);
        for shape in [SchedulerType::Linear, SchedulerType::Cosine, SchedulerType::Constant] {
            let off = |(step, rate): (u64, f64)| (at(shape, step) - rate).abs();
            assert!([(0, 0.0), (1, 1.0), (2, 2.0)].map(off).into_iter().all(|off| off < 1e-12), "{shape:?}");
        }
        // transformers.get_cosine_schedule_with_warmup(optimizer, 2, 10), half-way and at a quarter.
        assert!((at(SchedulerType::Cosine, 6) - 1.0).abs() < 1e-12);
        assert!((at(SchedulerType::Cosine, 4) - 2.0 * 0.853_553_390_593_273_8).abs() < 1e-12);
        assert!((at(SchedulerType::Constant, 9) - 2.0).abs() < 1e-12);
        assert!(at(SchedulerType::Cosine, 10).abs() < 1e-12 && at(SchedulerType::Linear, 10).abs() < 1e-12);
    }
}
