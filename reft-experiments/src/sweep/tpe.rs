//! The tree-structured Parzen estimator of the crate `optimizer`, one setting at a time.

use std::collections::HashMap;

use optimizer::distribution::{CategoricalDistribution, Distribution, FloatDistribution, IntDistribution};
use optimizer::param::ParamValue;
use optimizer::parameter::ParamId;
use optimizer::sampler::tpe::TpeSampler;
use optimizer::sampler::{CompletedTrial, Sampler};
use rand::Rng;
use reft_core::rng::Seed;
use serde_json::{Value, json};

use super::search::{FinishedTrial, SearchAlgorithm};
use super::space::{SearchPoint, Space, Values, short};
pub use crate::config::search::Tpe;

/// Draws until a point is one that was not tried.
const DRAWS: u64 = 50;

impl SearchAlgorithm for Tpe {
    fn propose(&self, space: &Space, seed: Seed, tried: &[FinishedTrial], left: usize) -> Vec<SearchPoint> {
        let batch = self.batch.max(1);
        let together = if tried.len() < self.startup { self.startup - tried.len() } else { batch };
        let mut points: Vec<SearchPoint> = Vec::new();
        for number in tried.len()..tried.len() + together.min(left) {
            let new = |point: &SearchPoint| !points.contains(point) && !tried.iter().any(|tried| tried.point == *point);
            let draw = |draw: u64| self.point(space, seed, tried, number as u64, draw);
            let Some(point) = (0..DRAWS).map(draw).find(new) else { break };
            points.push(point);
        }
        points
    }
}

impl Tpe {
    fn point(&self, space: &Space, seed: Seed, tried: &[FinishedTrial], number: u64, draw: u64) -> SearchPoint {
        let mut stream = seed.stream("tpe", number * DRAWS + draw);
        let one = |parameter: &super::space::Parameter| {
            let built = TpeSampler::builder().n_startup_trials(self.startup).seed(stream.random()).build();
            let distribution = distribution(&parameter.values);
            let history = history(&parameter.key, &parameter.values, &distribution, tried);
            let sampled = built.expect("its own defaults").sample(&distribution, number, &history);
            (parameter.key.clone(), value(&parameter.values, &sampled))
        };
        space.0.iter().map(one).collect()
    }
}

fn distribution(values: &Values) -> Distribution {
    match *values {
        Values::Choices(ref choices) => Distribution::Categorical(CategoricalDistribution { n_choices: choices.len() }),
        Values::Range { low, high, log } => {
            Distribution::Float(FloatDistribution { low, high, log_scale: log, step: None })
        }
        Values::Integers { low, high, log } => {
            Distribution::Int(IntDistribution { low, high, log_scale: log, step: None })
        }
    }
}

/// What was tried of one setting. Each setting has a history of its own: the sampler tells parameters apart by their
/// distributions, and two settings with equally many choices have the same one. It minimises; a failure counts as the
/// worst score there was.
fn history(key: &str, values: &Values, distribution: &Distribution, tried: &[FinishedTrial]) -> Vec<CompletedTrial> {
    let worst = tried.iter().filter_map(|tried| tried.score).fold(f64::INFINITY, f64::min);
    let worst = if worst.is_finite() { worst } else { 0.0 };
    let id = ParamId::new();
    let trial = |(number, tried): (u64, &FinishedTrial)| {
        let params = HashMap::from([(id, encoded(values, tried.point.get(key)?)?)]);
        let distributions = HashMap::from([(id, distribution.clone())]);
        Some(CompletedTrial::new(number, params, distributions, HashMap::new(), -tried.score.unwrap_or(worst)))
    };
    (0..).zip(tried).filter_map(trial).collect()
}

fn encoded(values: &Values, value: &Value) -> Option<ParamValue> {
    match values {
        Values::Choices(choices) => choices.iter().position(|choice| choice == value).map(ParamValue::Categorical),
        Values::Range { .. } => value.as_f64().map(ParamValue::Float),
        Values::Integers { .. } => value.as_i64().map(ParamValue::Int),
    }
}

fn value(values: &Values, sampled: &ParamValue) -> Value {
    match (values, sampled) {
        (Values::Choices(choices), ParamValue::Categorical(index)) => choices[*index].clone(),
        (&Values::Range { low, high, .. }, &ParamValue::Float(value)) => short(value, low, high),
        (_, ParamValue::Int(value)) => json!(value),
        (_, ParamValue::Float(value)) => json!(value),
        (_, ParamValue::Categorical(index)) => json!(index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::space::Parameter;

    fn space() -> Space {
        let choices = || Values::Choices(vec![json!("a"), json!("b"), json!("c")]);
        let parameter = |key: &str, values| Parameter { key: key.to_owned(), values };
        Space(vec![
            parameter("lr", Values::Range { low: 1e-5, high: 1e-1, log: true }),
            parameter("good", choices()),
            parameter("bad", choices()),
            parameter("rank", Values::Integers { low: 1, high: 64, log: true }),
        ])
    }

    /// Best at lr 1e-3, good = a, bad = c, rank 8.
    fn score(point: &SearchPoint) -> f64 {
        let off = |key: &str, best: f64| (point[key].as_f64().expect("a number") / best).log10().abs();
        let miss = |key: &str, best: &str| if point[key] == best { 0.0 } else { 1.0 };
        -off("lr", 1e-3) - off("rank", 8.0) - miss("good", "a") - miss("bad", "c")
    }

    fn sweep(method: &dyn SearchAlgorithm, trials: usize, seed: u64) -> Vec<FinishedTrial> {
        let mut tried: Vec<FinishedTrial> = Vec::new();
        while tried.len() < trials {
            let points = method.propose(&space(), Seed(seed), &tried, trials - tried.len());
            assert!(!points.is_empty(), "no more points");
            tried.extend(points.into_iter().map(|point| FinishedTrial { score: Some(score(&point)), point }));
        }
        tried
    }

    #[test]
    fn tpe_proposes_better_points_than_random_search() {
        let mean =
            |tried: &[FinishedTrial]| tried.iter().filter_map(|tried| tried.score).sum::<f64>() / tried.len() as f64;
        let tried = sweep(&Tpe::default(), 60, 1);
        let (first, last) = (mean(&tried[..10]), mean(&tried[40..]));
        assert!(last > first + 0.5, "from {first} to {last}");
    }

    #[test]
    fn the_same_results_lead_to_the_same_points() {
        let tried = sweep(&Tpe::default(), 30, 1);
        assert_eq!(sweep(&Tpe::default(), 30, 1), tried);
        assert_ne!(sweep(&Tpe::default(), 30, 2), tried);
        let again = Tpe::default().propose(&space(), Seed(1), &tried[..14], 4);
        assert_eq!(again, tried[14..18].iter().map(|tried| tried.point.clone()).collect::<Vec<_>>());
    }

    #[test]
    fn the_search_continues_after_failures_and_repeats_no_point() {
        let mut tried = sweep(&Tpe::default(), 20, 3);
        tried.iter_mut().step_by(3).for_each(|tried| tried.score = None);
        let points = Tpe::default().propose(&space(), Seed(3), &tried, 4);
        assert_eq!(points.len(), 4);
        assert!(points.iter().all(|point| tried.iter().all(|tried| tried.point != *point)));
    }
}
