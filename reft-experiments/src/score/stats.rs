//! Mean and spread over seeds.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// What a table says about several runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Their mean.
    Mean,
    /// Their mean and sample standard deviation.
    #[default]
    MeanSd,
    /// Their median.
    Median,
}

impl Statistic {
    /// What it says about one value a run; none about none.
    pub fn of(self, values: &[f64]) -> Option<Aggregate> {
        let mean = estimate(values)?;
        match self {
            Self::Mean => Some(Aggregate { sd: None, ..mean }),
            Self::MeanSd => Some(mean),
            Self::Median => Some(Aggregate { mean: median(values), sd: None, ..mean }),
        }
    }

    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::MeanSd => "mean ± sample standard deviation",
            Self::Median => "median",
        }
    }
}

/// The middle value, or the mean of the two in the middle, of at least one.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[half - 1], sorted[half]) } else { sorted[half] }
}

/// A mean over `n` runs with its sample standard deviation; in a table of medians, their median.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Aggregate {
    /// Arithmetic mean, or median.
    pub mean: f64,
    /// Sample standard deviation (divisor `n - 1`); none for a single run.
    pub sd: Option<f64>,
    /// Number of runs.
    pub n: usize,
}

impl Aggregate {
    /// Half the width of the 95 % confidence interval of the mean, by Student's t; none for a single run. With three or five
    /// seeds this is what can be said: no test of two means can be significant there that does not assume a distribution.
    pub fn margin(self) -> Option<f64> {
        let (sd, n) = (self.sd?, self.n as f64);
        let t = StudentsT::new(0.0, 1.0, n - 1.0).ok()?.inverse_cdf(0.975);
        Some(t * sd / n.sqrt())
    }
}

/// The estimate from one value a run; none from none.
pub fn estimate(values: &[f64]) -> Option<Aggregate> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some(Aggregate { mean, sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()), n })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        let of = |values: &[f64]| Statistic::Median.of(values).map(|estimate| (estimate.mean, estimate.sd, estimate.n));
        assert_eq!(of(&[5.0, 1.0, 9.0]), Some((5.0, None, 3)));
        assert_eq!(of(&[4.0, 1.0, 9.0, 2.0]), Some((3.0, None, 4)));
        assert_eq!(of(&[]), None);
        assert_eq!(Statistic::Mean.of(&[1.0, 3.0]), Some(Aggregate { mean: 2.0, sd: None, n: 2 }));
    }

    #[test]
    fn mean_and_sample_deviation() {
        assert_eq!(estimate(&[]), None);
        assert_eq!(estimate(&[3.0]), Some(Aggregate { mean: 3.0, sd: None, n: 1 }));
        let three = estimate(&[1.0, 2.0, 6.0]).expect("three values");
        // t of 2 degrees of freedom at 97.5 % is 4.302653.
        let margin = three.margin().expect("three");
        assert!((margin - 4.302_653 * (7.0f64 / 3.0).sqrt()).abs() < 1e-5, "{margin}");
        assert_eq!(Aggregate { mean: 3.0, sd: None, n: 1 }.margin(), None);
        assert!((three.mean - 3.0).abs() < 1e-12 && (three.sd.expect("three") - 7f64.sqrt()).abs() < 1e-12);
    }
}
