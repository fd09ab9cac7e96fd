//! Two systems on the same rows.

use rand::Rng;
use rayon::prelude::*;
use reft_core::rng::Seed;
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::score::metric::{LabelledPredictions, Metric};

/// Right and wrong answers of two systems, row by row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paired(pub Vec<(bool, bool)>);

/// Resamples of the bootstrap.
const RESAMPLES: usize = 10_000;

impl Paired {
    /// Rows that only the first answered rightly, and only the second.
    pub fn discordant(&self) -> (u64, u64) {
        let only = |pair: (bool, bool)| self.0.iter().filter(|&&both| both == pair).count() as u64;
        (only((true, false)), only((false, true)))
    }

    /// Accuracy of the first minus that of the second, in percent.
    pub fn difference(&self) -> f64 {
        let (first, second) = self.discordant();
        100.0 * (first as f64 - second as f64) / self.0.len().max(1) as f64
    }

    /// The two-sided probability, by the exact binomial test, that discordant rows fall so unevenly where both systems are
    /// equally good.
    pub fn mcnemar(&self) -> f64 {
        let (first, second) = self.discordant();
        let Ok(coin) = Binomial::new(0.5, first + second) else { return 1.0 };
        (2.0 * coin.cdf(first.min(second))).min(1.0)
    }

    /// The 95 % interval of the difference, in percent, by the paired bootstrap over rows (10,000 resamples, percentiles).
    /// The same rows give the same interval.
    pub fn bootstrap(&self) -> (f64, f64) {
        let n = self.0.len();
        if n == 0 {
            return (f64::NAN, f64::NAN);
        }
        let sign = |&(first, second): &(bool, bool)| i64::from(first) - i64::from(second);
        let signs: Vec<i64> = self.0.iter().map(sign).collect();
        let mut rng = Seed(0).stream("bootstrap", 0);
        let mut sums: Vec<i64> = (0..RESAMPLES).map(|_| (0..n).map(|_| signs[rng.random_range(0..n)]).sum()).collect();
        sums.sort_unstable();
        let percent = |part: f64| 100.0 * sums[(part * (RESAMPLES - 1) as f64).round() as usize] as f64 / n as f64;
        (percent(0.025), percent(0.975))
    }
}

/// The 95 % interval, in percent, of the difference of a metric between two systems that answered the same rows, by the same
/// bootstrap. A value that is undefined counts as 0, as in records. The same rows give the same interval.
pub fn bootstrap_of(metric: Metric, first: &LabelledPredictions, second: &LabelledPredictions) -> (f64, f64) {
    let n = first.pairs.len();
    if n == 0 || n != second.pairs.len() {
        return (f64::NAN, f64::NAN);
    }
    let difference = |resample: usize| {
        let mut rng = Seed(0).stream("bootstrap of a metric", resample as u64);
        let rows: Vec<usize> = (0..n).map(|_| rng.random_range(0..n)).collect();
        let of = |answers: &LabelledPredictions| {
            let pairs = rows.iter().map(|&row| answers.pairs[row]).collect();
            metric.of(&LabelledPredictions { pairs }).unwrap_or(0.0)
        };
        100.0 * (of(first) - of(second))
    };
    let mut differences: Vec<f64> = (0..RESAMPLES).into_par_iter().map(difference).collect();
    differences.sort_by(f64::total_cmp);
    let percentile = |part: f64| differences[(part * (RESAMPLES - 1) as f64).round() as usize];
    (percentile(0.025), percentile(0.975))
}

/// Probabilities corrected for there being several (Holm), in the same order.
pub fn holm(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let mut corrected = vec![0.0; probabilities.len()];
    let mut largest: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        largest = largest.max(probabilities[index] * (probabilities.len() - rank) as f64).min(1.0);
        corrected[index] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows both answered rightly, only the first, only the second, neither.
    fn rows(both: usize, first: usize, second: usize, neither: usize) -> Paired {
        let of = |pair, count| vec![pair; count];
        let parts =
            [of((true, true), both), of((true, false), first), of((false, true), second), of((false, false), neither)];
        Paired(parts.concat())
    }

    #[test]
    fn mcnemar_is_the_sign_test_on_discordant_rows() {
        // Two tails of 13 tosses with at most 3 heads: 2 · (1 + 13 + 78 + 286) / 2^13.
        let probability = rows(40, 3, 10, 7).mcnemar();
        assert!((probability - 756.0 / 8192.0).abs() < 1e-12, "{probability}");
        assert!((rows(1, 10, 3, 90).mcnemar() - probability).abs() < 1e-12, "other rows do not matter");
        assert!((rows(5, 4, 4, 5).mcnemar() - 1.0).abs() < 1e-12);
        assert!((rows(5, 0, 0, 5).mcnemar() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_interval_is_about_two_standard_errors_around_the_difference() {
        let paired = rows(200, 90, 60, 150);
        assert!((paired.difference() - 6.0).abs() < 1e-12);
        let (low, high) = paired.bootstrap();
        // Of 500 signs with mean 0.06 and mean square 0.3.
        let error = 100.0 * ((0.3f64 - 0.0036) / 500.0).sqrt();
        assert!(
            (low - (6.0 - 1.96 * error)).abs() < 0.3 && (high - (6.0 + 1.96 * error)).abs() < 0.3,
            "{low} to {high}"
        );
        assert_eq!(rows(3, 0, 0, 4).bootstrap(), (0.0, 0.0));
        assert_eq!(paired.bootstrap(), (low, high));
    }

    #[test]
    fn the_interval_of_accuracy_is_the_same_by_either_way_and_one_of_a_correlation_holds_its_difference() {
        use crate::data::labelled::Target::{Class, Score};

        let paired = rows(60, 25, 10, 5);
        let of = |right: fn(&(bool, bool)) -> bool| LabelledPredictions {
            pairs: paired.0.iter().map(|both| (Class(1), Class(i64::from(right(both))))).collect(),
        };
        let (low, high) = bootstrap_of(Metric::Accuracy, &of(|both| both.0), &of(|both| both.1));
        let expected = paired.bootstrap();
        assert!((low - expected.0).abs() < 2.0 && (high - expected.1).abs() < 2.0, "{low} to {high}: {expected:?}");

        let line = |noise: f64| LabelledPredictions {
            pairs: (0..40).map(|n| (Score(f64::from(n)), Score(f64::from(n) + noise * f64::from(n * n % 7)))).collect(),
        };
        let (good, bad) = (line(0.1), line(9.0));
        let percent = |answers| 100.0 * Metric::Pearson.of(answers).expect("defined");
        let (low, high) = bootstrap_of(Metric::Pearson, &good, &bad);
        assert!(low > 0.0 && (low..high).contains(&(percent(&good) - percent(&bad))), "{low} to {high}");
    }

    #[test]
    fn holm_corrects_the_smallest_most_and_keeps_the_order() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        assert!(corrected.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{corrected:?}");
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    }
}
