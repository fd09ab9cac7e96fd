//! From values to pixels.

use serde::Serialize;

use super::number::{power, short};

/// What values there are.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// Equal differences are equally far apart.
    Linear(f64, f64),
    /// Equal ratios are equally far apart.
    Log(f64, f64),
    /// Words, a slot each.
    Band(Vec<String>),
}

/// A column of a chart's CSV as positions.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Scale {
    /// The column.
    pub column: String,
    /// Its values.
    pub domain: Domain,
    /// Pixels of the domain's two ends.
    pub pixels: [f64; 2],
}

/// A place on an axis that is named.
#[derive(Clone, PartialEq, Debug)]
pub struct Tick {
    /// Where, in pixels.
    pub at: f64,
    /// Its name.
    pub label: String,
}

impl Domain {
    /// A linear domain that holds all values, with a little room; from 0 to 1 without any.
    pub fn linear(values: impl Iterator<Item = f64>) -> Self {
        match bounds(values) {
            None => Self::Linear(0.0, 1.0),
            Some((low, high)) => {
                let room = if high > low { 0.06 * (high - low) } else { 0.05 * high.abs().max(1.0) };
                // Room below zero would suggest values that cannot be.
                let floor = if low >= 0.0 { 0.0f64.max(low - room) } else { low - room };
                Self::Linear(floor, high + room)
            }
        }
    }

    /// A logarithmic domain that holds all positive values.
    pub fn log(values: impl Iterator<Item = f64>) -> Self {
        match bounds(values.filter(|&value| value > 0.0)) {
            None => Self::Log(0.1, 1.0),
            Some((low, high)) => Self::Log(low / 1.15, high * 1.15),
        }
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |bounds, value| {
        let (low, high) = bounds.unwrap_or((value, value));
        Some((f64::min(low, value), f64::max(high, value)))
    })
}

impl Scale {
    /// The pixel of a number; none on an axis of words.
    pub fn at(&self, value: f64) -> Option<f64> {
        let part = match self.domain {
            Domain::Linear(low, high) => (value - low) / (high - low),
            Domain::Log(low, high) => (value / low).ln() / (high / low).ln(),
            Domain::Band(_) => return None,
        };
        part.is_finite().then(|| self.pixels[0] + part * (self.pixels[1] - self.pixels[0]))
    }

    /// The middle of a word's slot; none where there is no such word.
    pub fn middle(&self, word: &str) -> Option<f64> {
        let Domain::Band(words) = &self.domain else { return None };
        let slot = words.iter().position(|known| known == word)?;
        Some(self.pixels[0] + (slot as f64 + 0.5) * self.slot())
    }

    /// Pixels of a slot; negative where the axis runs backwards, 0 on an axis of numbers.
    pub fn slot(&self) -> f64 {
        match &self.domain {
            Domain::Band(words) => (self.pixels[1] - self.pixels[0]) / words.len().max(1) as f64,
            Domain::Linear(..) | Domain::Log(..) => 0.0,
        }
    }

    /// Named places at least `apart` pixels from each other, round numbers all.
    pub fn ticks(&self, apart: f64) -> Vec<Tick> {
        let most = ((self.pixels[1] - self.pixels[0]).abs() / apart).max(1.0);
        let values = match &self.domain {
            Domain::Band(words) => {
                let tick = |word: &String| Some(Tick { at: self.middle(word)?, label: word.clone() });
                return words.iter().filter_map(tick).collect();
            }
            &Domain::Linear(low, high) => linear(low, high, most),
            &Domain::Log(low, high) => logarithmic(low, high, most),
        };
        // On an axis of small numbers all are powers of ten: 5e-4 beside 0.0015 would be hard to compare, and wide.
        let small = matches!(self.domain, Domain::Linear(low, high) if low.abs().max(high.abs()) < 0.01);
        let label = |value: f64| if small && value != 0.0 { power(value) } else { short(value) };
        values.into_iter().filter_map(|value| Some(Tick { at: self.at(value)?, label: label(value) })).collect()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten, at most about `most` of them.
fn linear(low: f64, high: f64, most: f64) -> Vec<f64> {
    let raw = (high - low) / most;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|&step| step >= raw).unwrap_or(raw);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|index| index as f64 * step).collect()
}

/// Powers of ten, with 2 and 5 times them where there is room, or every second, third … of them where there is not.
fn logarithmic(low: f64, high: f64, most: f64) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let inside = |factors: &[f64], step: usize| -> Vec<f64> {
        let all = (first..=last).step_by(step).flat_map(|power| factors.iter().map(move |f| f * 10f64.powi(power)));
        all.filter(|value| (low * 0.999..=high * 1.001).contains(value)).collect()
    };
    let fine = [inside(&[1.0, 2.0, 5.0], 1), inside(&[1.0, 3.0], 1)].into_iter().find(|v| v.len() as f64 <= most);
    let coarse = || {
        (1..=last.abs_diff(first) as usize + 1)
            .map(|step| inside(&[1.0], step))
            .find(|values| values.len() as f64 <= most.max(1.0))
    };
    fine.or_else(coarse).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(domain: Domain) -> Scale {
        Scale { column: "x".to_owned(), domain, pixels: [0.0, 300.0] }
    }

    fn labels(domain: Domain, apart: f64) -> Vec<String> {
        scale(domain).ticks(apart).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_and_apart() {
        assert_eq!(labels(Domain::Linear(0.0, 100.0), 60.0), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(Domain::Linear(-3.0, 11.0), 60.0), ["0", "5", "10"]);
        assert_eq!(labels(Domain::Log(1e-4, 1e-1), 60.0), ["1e-4", "0.001", "0.01", "0.1"]);
        assert_eq!(labels(Domain::Log(1e-9, 1e3), 60.0).len(), 5);
        assert_eq!(labels(Domain::Log(0.9, 2.1), 60.0), ["1", "2"]);
        assert_eq!(labels(Domain::Linear(0.0, 0.0021), 60.0), ["0", "5e-4", "1e-3", "1.5e-3", "2e-3"]);
    }

    #[test]
    fn numbers_and_words_have_their_places() {
        let near = |at: Option<f64>, expected: f64| at.is_some_and(|at| (at - expected).abs() < 1e-9);
        assert!(near(scale(Domain::Linear(10.0, 20.0)).at(12.5), 75.0));
        assert!(near(scale(Domain::Log(1e-4, 1e-1)).at(1e-2), 200.0));
        let words = scale(Domain::Band(["a", "b", "c"].map(str::to_owned).to_vec()));
        assert!(near(words.middle("b"), 150.0) && words.middle("d").is_none() && words.at(1.0).is_none());
    }

    #[test]
    fn domains_hold_their_values_and_exist_without_any() {
        assert_eq!(Domain::linear([0.0, 50.0].into_iter()), Domain::Linear(0.0, 53.0));
        assert_eq!(Domain::linear([f64::NAN].into_iter()), Domain::Linear(0.0, 1.0));
        assert_eq!(Domain::linear([40.0].into_iter()), Domain::Linear(38.0, 42.0));
        assert!(
            matches!(Domain::log([0.0, 1.0, 10.0].into_iter()), Domain::Log(low, high) if low < 1.0 && high > 10.0)
        );
    }
}
