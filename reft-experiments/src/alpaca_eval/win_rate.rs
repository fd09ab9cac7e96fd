//! AlpacaEval's win rate, version 1: every instruction counts the same.

use std::cmp::Ordering;
use std::fmt;

use serde::Serialize;

use super::annotations::Annotation;
use crate::score::stats::{Aggregate, estimate};

/// How often a model's outputs were preferred to the reference's.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct WinRate {
    /// Wins in %; a draw is half a win.
    pub win_rate: f64,
    /// Standard error of the win rate in %; none for a single preference.
    pub standard_error: Option<f64>,
    /// Preferences.
    pub n_total: usize,
    /// Those for the model.
    pub n_wins: usize,
    /// Those for the reference.
    pub n_wins_base: usize,
    /// Those for neither.
    pub n_draws: usize,
    /// Annotations without a preference; they count nowhere else.
    pub n_dropped: usize,
}

/// Annotations that give no win rate.
#[derive(Debug, thiserror::Error)]
pub enum WinRateError {
    /// A number that is no preference.
    #[error(
        "row {row}: preference {value}: write 1 (reference better), 2 (model better), between them, 0 (draw) or null"
    )]
    NoPreference {
        /// The row, counted from 1.
        row: usize,
        /// The number.
        value: f64,
    },
    /// Nothing to take a mean of.
    #[error("none of the {rows} annotations has a preference: see in raw_completion what the judge said instead")]
    AllDropped {
        /// The annotations.
        rows: usize,
    },
}

impl WinRate {
    /// The win rate of the second outputs against the first.
    ///
    /// # Errors
    /// When a preference is no preference, or all are missing.
    pub fn of(annotations: &[Annotation]) -> Result<Self, WinRateError> {
        let mut wins = Vec::new();
        for (row, annotation) in (1..).zip(annotations) {
            if let Some(value) = annotation.preference.filter(|value| !value.is_nan()) {
                wins.push(win(value).ok_or(WinRateError::NoPreference { row, value })?);
            }
        }
        let Some(Aggregate { mean, sd, n }) = estimate(&wins) else {
            return Err(WinRateError::AllDropped { rows: annotations.len() });
        };
        let count = |wanted: Ordering| wins.iter().filter(|win| win.total_cmp(&0.5) == wanted).count();
        Ok(Self {
            win_rate: 100.0 * mean,
            standard_error: sd.map(|sd| 100.0 * sd / (n as f64).sqrt()),
            n_total: n,
            n_wins: count(Ordering::Greater),
            n_wins_base: count(Ordering::Less),
            n_draws: count(Ordering::Equal),
            n_dropped: annotations.len() - n,
        })
    }
}

/// The share of a win that a preference is; none for a number that is no preference.
fn win(preference: f64) -> Option<f64> {
    match preference {
        0.0 => Some(0.5),
        1.0..=2.0 => Some(preference - 1.0),
        _ => None,
    }
}

impl fmt::Display for WinRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "win rate {:.2} %", self.win_rate)?;
        if let Some(error) = self.standard_error {
            write!(f, " ± {error:.2}")?;
        }
        let Self { n_total, n_wins, n_wins_base, n_draws, n_dropped, .. } = self;
        write!(f, " (n {n_total}: {n_wins} wins, {n_wins_base} losses, {n_draws} draws; {n_dropped} dropped)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(preferences: &[Option<f64>]) -> Result<WinRate, WinRateError> {
        let text = String::new;
        let annotation = |&preference: &Option<f64>| Annotation {
            dataset: None,
            instruction: text(),
            output_1: text(),
            generator_1: text(),
            output_2: text(),
            generator_2: text(),
            annotator: text(),
            preference,
            raw_completion: None,
        };
        WinRate::of(&preferences.iter().map(annotation).collect::<Vec<_>>())
    }

    #[test]
    fn a_fixture_counted_by_hand() {
        // Wins: 1, 1, 0, 0.5, 0.5, 1; the other two are dropped.
        let rate = of(&[Some(2.0), Some(2.0), Some(1.0), Some(1.5), Some(0.0), Some(f64::NAN), None, Some(2.0)]);
        let rate = rate.expect("preferences");
        // Mean 4 / 6 = 2 / 3.
        assert!((rate.win_rate - 200.0 / 3.0).abs() < 1e-9, "{rate}");
        // Squares around it: 3 · (1/3)² + (2/3)² + 2 · (1/6)² = 6/18 + 8/18 + 1/18 = 5/6. Variance 5/6 / (6 - 1) = 1/6,
        // standard error √(1/6) / √6 = 1/6.
        assert!((rate.standard_error.expect("six") - 100.0 / 6.0).abs() < 1e-9, "{rate}");
        let counts = (rate.n_total, rate.n_wins, rate.n_wins_base, rate.n_draws, rate.n_dropped);
        assert_eq!(counts, (6, 3, 1, 2, 2));
        assert_eq!(rate.to_string(), "win rate 66.67 % ± 16.67 (n 6: 3 wins, 1 losses, 2 draws; 2 dropped)");
    }

    #[test]
    fn a_row_of_the_official_leaderboard() {
        // `gpt4` against text_davinci_003: 761 wins, 32 losses, 12 draws; 95.27950 with standard error 0.71628.
        let preferences = [vec![Some(2.0); 761], vec![Some(1.0); 32], vec![Some(0.0); 12]].concat();
        let rate = of(&preferences).expect("preferences");
        assert!((rate.win_rate - 95.2795).abs() < 5e-5, "{rate}");
        assert!((rate.standard_error.expect("805") - 0.71628).abs() < 5e-6, "{rate}");
    }

    #[test]
    fn a_single_preference_has_no_standard_error() {
        let rate = of(&[Some(1.75)]).expect("a preference");
        assert_eq!(rate.to_string(), "win rate 75.00 % (n 1: 1 wins, 0 losses, 0 draws; 0 dropped)");
    }

    #[test]
    fn what_is_no_preference_is_named_with_its_row() {
        for value in [-1.0, 0.5, 2.5, f64::INFINITY] {
            let error = of(&[None, Some(2.0), Some(value)]).expect_err("no preference").to_string();
            assert!(error.starts_with(&format!("row 3: preference {value}: ")), "{error}");
        }
        let error = of(&[None, Some(f64::NAN)]).expect_err("no preference").to_string();
        assert!(error.starts_with("none of the 2 annotations has a preference"), "{error}");
    }
}
