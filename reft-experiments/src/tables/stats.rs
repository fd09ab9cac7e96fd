//! Mean and spread over seeds.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean over `n` runs with its sample standard deviation.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Estimate {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (divisor `n - 1`); none for a single run.
    pub sd: Option<f64>,
    /// Number of runs.
    pub n: usize,
}

impl Estimate {
    /// Half the width of the 95 % confidence interval of the mean, by Student's t; none for a single run. With three or five
    /// seeds this is what can be said: no test of two means can be significant there that does not assume a distribution.
    pub fn margin(self) -> Option<f64> {
        let (sd, n) = (self.sd?, self.n as f64);
        let t = StudentsT::new(0.0, 1.0, n - 1.0).ok()?.inverse_cdf(0.975);
        Some(t * sd / n.sqrt())
    }
}

/// The estimate from one value a run; none from none.
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some(Estimate { mean, sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()), n })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_sample_deviation() {
        assert_eq!(estimate(&[]), None);
        assert_eq!(estimate(&[3.0]), Some(Estimate { mean: 3.0, sd: None, n: 1 }));
        let three = estimate(&[1.0, 2.0, 6.0]).expect("three values");
        // t of 2 degrees of freedom at 97.5 % is 4.302653.
        let margin = three.margin().expect("three");
        assert!((margin - 4.302_653 * (7.0f64 / 3.0).sqrt()).abs() < 1e-5, "{margin}");
        assert_eq!(Estimate { mean: 3.0, sd: None, n: 1 }.margin(), None);
        assert!((three.mean - 3.0).abs() < 1e-12 && (three.sd.expect("three") - 7f64.sqrt()).abs() < 1e-12);
    }
}
