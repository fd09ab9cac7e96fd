//! The settings a sweep varies, each a list of choices or a range.

use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One setting: the key in a run's configuration and its values.
#[derive(Clone, PartialEq, Debug)]
pub struct Parameter {
    /// Such as `train.lr`.
    pub key: String,
    /// What it may be.
    pub values: Values,
}

/// What a setting may be.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "RawValues")]
pub enum Values {
    /// One of these.
    Choices(Vec<Value>),
    /// A number between two, both included.
    Range {
        /// The smallest.
        low: f64,
        /// The largest.
        high: f64,
        /// Whether equal ratios count the same, instead of equal differences.
        log: bool,
    },
    /// A whole number between two, both included.
    Integers {
        /// The smallest.
        low: i64,
        /// The largest.
        high: i64,
        /// As for a range.
        log: bool,
    },
}

/// Values as a file spells them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawValues {
    choices: Option<Vec<Value>>,
    range: Option<[f64; 2]>,
    integers: Option<[i64; 2]>,
    #[serde(default)]
    log: bool,
}

impl TryFrom<RawValues> for Values {
    type Error = String;

    fn try_from(written: RawValues) -> Result<Self, String> {
        let log = written.log;
        let positive = |low: f64| !log || low > 0.0;
        match (written.choices, written.range, written.integers) {
            (Some(_), None, None) if log => Err("choices have no scale: leave out log".to_owned()),
            (Some(choices), None, None) => match twice(&choices) {
                Some(value) => Err(format!("{value} is there twice: name each choice once")),
                None if choices.is_empty() => Err("no choices: name at least one".to_owned()),
                None => Ok(Self::Choices(choices)),
            },
            (None, Some([low, high]), None) if low < high && positive(low) && high.is_finite() => {
                Ok(Self::Range { low, high, log })
            }
            (None, None, Some([low, high])) if low < high && positive(low as f64) => {
                Ok(Self::Integers { low, high, log })
            }
            (None, Some(_), None) | (None, None, Some(_)) => {
                Err("write the smaller number first, and only numbers above 0 with log: true".to_owned())
            }
            _ => Err("write one of choices: [..], range: [low, high] and integers: [low, high]".to_owned()),
        }
    }
}

fn twice(values: &[Value]) -> Option<&Value> {
    values.iter().enumerate().find(|(at, value)| values[..*at].contains(value)).map(|(_, value)| value)
}

/// A choice for every setting, by the settings' keys, in the order of the space.
pub type SearchPoint = Map<String, Value>;

/// A point in words: `train.lr=0.001 adapt.reft.rank=8`.
pub fn describe(point: &SearchPoint) -> String {
    let one = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("{key}={text}"),
        other => format!("{key}={other}"),
    };
    point.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// All settings of a sweep.
#[derive(Clone, PartialEq, Debug)]
pub struct Space(pub Vec<Parameter>);

impl Values {
    /// A value drawn by chance.
    pub fn draw(&self, rng: &mut impl Rng) -> Value {
        let between = |low: f64, high: f64, log: bool, fraction: f64| {
            if log { (low.ln() + fraction * (high.ln() - low.ln())).exp() } else { low + fraction * (high - low) }
        };
        match *self {
            Self::Choices(ref choices) => choices[rng.random_range(0..choices.len())].clone(),
            Self::Range { low, high, log } => short(between(low, high, log, rng.random::<f64>()), low, high),
            Self::Integers { low, high, log: false } => json!(rng.random_range(low..=high)),
            Self::Integers { low, high, log: true } => {
                let drawn = between(low as f64 - 0.5, high as f64 + 0.5, true, rng.random::<f64>());
                json!((drawn.round() as i64).clamp(low, high))
            }
        }
    }

    /// The values that show whether all of them are possible: every choice, or both ends.
    pub fn corners(&self) -> Vec<Value> {
        match *self {
            Self::Choices(ref choices) => choices.clone(),
            Self::Range { low, high, .. } => vec![json!(low), json!(high)],
            Self::Integers { low, high, .. } => vec![json!(low), json!(high)],
        }
    }
}

/// A number with four significant digits: what is printed is what was run.
pub fn short(value: f64, low: f64, high: f64) -> Value {
    let rounded: f64 = format!("{value:.3e}").parse().expect("a number as Rust writes it");
    json!(rounded.clamp(low, high))
}

impl Space {
    /// Number of points; none where a range makes them countless.
    pub fn size(&self) -> Option<usize> {
        self.0.iter().try_fold(1usize, |size, parameter| match &parameter.values {
            Values::Choices(choices) => Some(size.saturating_mul(choices.len())),
            Values::Integers { low, high, .. } => Some(size.saturating_mul(high.abs_diff(*low) as usize + 1)),
            Values::Range { .. } => None,
        })
    }

    /// Point `index` of the grid, the last setting varying fastest; none behind the end and where there is no grid.
    pub fn at(&self, index: usize) -> Option<SearchPoint> {
        if self.size().is_none_or(|size| index >= size) {
            return None;
        }
        let (mut rest, mut values) = (index, Vec::new());
        for parameter in self.0.iter().rev() {
            let (value, count) = match &parameter.values {
                Values::Choices(choices) => (choices[rest % choices.len()].clone(), choices.len()),
                Values::Integers { low, high, .. } => {
                    let count = high.abs_diff(*low) as usize + 1;
                    (json!(low + (rest % count) as i64), count)
                }
                Values::Range { .. } => return None,
            };
            values.push((parameter.key.clone(), value));
            rest /= count;
        }
        Some(values.into_iter().rev().collect())
    }

    /// A point drawn by chance, every setting on its own.
    pub fn draw(&self, rng: &mut impl Rng) -> SearchPoint {
        self.0.iter().map(|parameter| (parameter.key.clone(), parameter.values.draw(rng))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use reft_core::rng::Seed;

    use super::*;

    #[allow(clippy::needless_pass_by_value)] // the cases are made where they are read
    fn values(written: Value) -> Result<Values, String> {
        reft_core::value_reader::read(&written).map_err(|error| error.to_string())
    }

    fn space(written: &[(&str, Value)]) -> Space {
        let parameter = |(key, written): &(&str, Value)| Parameter {
            key: (*key).to_owned(),
            values: values(written.clone()).expect("valid"),
        };
        Space(written.iter().map(parameter).collect())
    }

    #[test]
    fn every_point_of_a_grid_is_there_once_in_order() {
        let space = space(&[("a", json!({"choices": ["x", "y"]})), ("b", json!({"integers": [3, 5]}))]);
        assert_eq!(space.size(), Some(6));
        let points: Vec<String> = (0..7).filter_map(|index| space.at(index)).map(|point| describe(&point)).collect();
        assert_eq!(points, ["a=x b=3", "a=x b=4", "a=x b=5", "a=y b=3", "a=y b=4", "a=y b=5"]);
    }

    #[test]
    fn draws_stay_inside_and_a_log_scale_reaches_small_numbers() {
        let space = space(&[
            ("lr", json!({"range": [1e-5, 1e-2], "log": true})),
            ("p", json!({"range": [0.0, 0.5]})),
            ("rank", json!({"integers": [1, 64], "log": true})),
        ]);
        assert_eq!((space.size(), space.at(0)), (None, None));
        let mut rng = Seed(1).stream("a test", 0);
        let points: Vec<SearchPoint> = (0..400).map(|_| space.draw(&mut rng)).collect();
        let number = |point: &SearchPoint, key: &str| point[key].as_f64().expect("a number");
        assert!(points.iter().all(|point| (1e-5..=1e-2).contains(&number(point, "lr"))));
        assert!(points.iter().all(|point| (0.0..=0.5).contains(&number(point, "p"))));
        assert!(points.iter().all(|point| point["rank"].as_i64().is_some_and(|rank| (1..=64).contains(&rank))));
        let small = points.iter().filter(|point| number(point, "lr") < 1e-4).count();
        assert!((90..180).contains(&small), "a third of them, not {small} of 400");
        let ranks: HashSet<i64> = points.iter().filter_map(|point| point["rank"].as_i64()).collect();
        assert!(ranks.contains(&1) && ranks.len() > 20, "{ranks:?}");
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        let cases = [
            (json!({}), "write one of choices"),
            (json!({"choices": [1], "range": [1, 2]}), "write one of choices"),
            (json!({"choices": []}), "no choices"),
            (json!({"choices": [1, 2, 1]}), "1 is there twice"),
            (json!({"choices": [1], "log": true}), "choices have no scale"),
            (json!({"range": [2, 1]}), "the smaller number first"),
            (json!({"range": [0, 1], "log": true}), "only numbers above 0"),
            (json!({"integers": [0, 8], "log": true}), "only numbers above 0"),
            (json!({"chioces": [1]}), "unknown key `chioces` (did you mean `choices`?)"),
        ];
        for (written, expected) in cases {
            let error = values(written.clone()).expect_err("refused");
            assert!(error.contains(expected), "{written}: {error}");
        }
    }
}
