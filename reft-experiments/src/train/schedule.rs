//! The learning rate over a run: linear warm-up, then linear decay to 0.

/// A run's learning rates.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Linear {
    peak: f64,
    warmup: u64,
    total: u64,
}

impl Linear {
    /// Over `total` updates, the first `ceil(ratio * total)` of them rising.
    pub fn new(peak: f64, ratio: f64, total: u64) -> Self {
        Self { peak, warmup: (ratio * total as f64).ceil() as u64, total }
    }

    /// Learning rate of update `step`, counted from 0. With warm-up the first one is 0, as in the reference.
    pub fn at(&self, step: u64) -> f64 {
        let fraction = if step < self.warmup {
            step as f64 / self.warmup as f64
        } else {
            self.total.saturating_sub(step) as f64 / (self.total - self.warmup).max(1) as f64
        };
        self.peak * fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_then_falls() {
        let schedule = Linear::new(1.0, 0.1, 20);
        let eighteenths = |step| (schedule.at(step) * 18.0).round() as i64;
        assert_eq!([0, 1, 2, 3, 11, 19, 20].map(eighteenths), [0, 9, 18, 17, 9, 1, 0]);
        assert!((Linear::new(2.0, 0.0, 4).at(0) - 2.0).abs() < 1e-12);
    }
}
