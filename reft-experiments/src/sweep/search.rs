//! Which points of a space are tried.

use std::collections::HashSet;

use reft_core::rng::Seed;
use serde_json::Value;

use super::space::{SearchPoint, Space};
pub use crate::config::search::SearchMethod;

/// A trial that ended: its point and its score, larger is better; none for one that failed.
#[derive(Clone, PartialEq, Debug)]
pub struct FinishedTrial {
    /// The point.
    pub point: SearchPoint,
    /// Its score.
    pub score: Option<f64>,
}

/// A way to search. What it proposes depends on its arguments only, so that a sweep that is begun again, or worked on by
/// several drivers, tries the same points.
pub trait SearchAlgorithm {
    /// The points that follow those tried so far, at most `left` of them; none when there are no more.
    fn propose(&self, space: &Space, seed: Seed, tried: &[FinishedTrial], left: usize) -> Vec<SearchPoint>;
}

impl SearchMethod {
    /// Whether the points are given: nothing is chosen then, so nothing need be the same for all of them.
    pub fn is_listed(&self) -> bool {
        matches!(self, Self::Listed(_))
    }

    /// The search itself.
    pub fn search(&self) -> &dyn SearchAlgorithm {
        match self {
            Self::Listed(points) => points,
            Self::Grid => &Grid,
            Self::Random => &Random,
            Self::Tpe(tpe) => tpe,
        }
    }
}

impl SearchAlgorithm for Vec<SearchPoint> {
    fn propose(&self, _: &Space, _: Seed, tried: &[FinishedTrial], left: usize) -> Vec<SearchPoint> {
        self.iter().skip(tried.len()).take(left).cloned().collect()
    }
}

struct Grid;

impl SearchAlgorithm for Grid {
    fn propose(&self, space: &Space, _: Seed, tried: &[FinishedTrial], left: usize) -> Vec<SearchPoint> {
        (tried.len()..).map_while(|index| space.at(index)).take(left).collect()
    }
}

struct Random;

/// Draws at most for each point that is sought: some fall on points that were there before.
const DRAWS: usize = 1000;

impl SearchAlgorithm for Random {
    fn propose(&self, space: &Space, seed: Seed, tried: &[FinishedTrial], left: usize) -> Vec<SearchPoint> {
        let wanted = tried.len() + left;
        if space.size().is_some_and(|size| size <= wanted) {
            return Grid.propose(space, seed, tried, left);
        }
        let mut rng = seed.stream("sweep", 0);
        let (mut points, mut seen) = (Vec::new(), HashSet::new());
        for _ in 0..DRAWS.saturating_mul(wanted) {
            if points.len() == wanted {
                break;
            }
            let point = space.draw(&mut rng);
            if seen.insert(Value::Object(point.clone()).to_string()) {
                points.push(point);
            }
        }
        points.split_off(tried.len().min(points.len()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sweep::space::{Parameter, Values, describe};

    fn space(choices: i64) -> Space {
        let values = Values::Choices((0..choices).map(|value| json!(value)).collect());
        Space(["a", "b"].map(|key| Parameter { key: key.to_owned(), values: values.clone() }).to_vec())
    }

    fn tried(points: &[SearchPoint]) -> Vec<FinishedTrial> {
        points.iter().map(|point| FinishedTrial { point: point.clone(), score: Some(0.0) }).collect()
    }

    #[test]
    fn a_grid_ends_and_goes_on_where_it_was() {
        let all = Grid.propose(&space(3), Seed(1), &[], 100);
        assert_eq!(all.len(), 9);
        assert_eq!(Grid.propose(&space(3), Seed(1), &tried(&all[..4]), 2), all[4..6]);
        assert!(Grid.propose(&space(3), Seed(1), &tried(&all), 5).is_empty());
    }

    #[test]
    fn random_points_differ_and_depend_on_the_seed_alone() {
        let (space, words) = (space(10), |points: &[SearchPoint]| points.iter().map(describe).collect::<Vec<_>>());
        let points = Random.propose(&space, Seed(1), &[], 30);
        let mut distinct = words(&points);
        distinct.sort();
        distinct.dedup();
        assert_eq!((points.len(), distinct.len()), (30, 30));
        assert_eq!(Random.propose(&space, Seed(1), &tried(&points[..10]), 20), points[10..]);
        assert_ne!(Random.propose(&space, Seed(2), &[], 30), points);
        assert_eq!(Random.propose(&space, Seed(1), &[], 1000).len(), 100, "the whole grid");
        assert_eq!(Random.propose(&space, Seed(1), &[], 99).len(), 99, "all but one of a grid");
    }

    #[test]
    fn random_search_draws_no_surplus_points() {
        let range =
            |key: &str| Parameter { key: key.to_owned(), values: Values::Range { low: 0.0, high: 1.0, log: false } };
        let space = Space((0..20).map(|key| range(&key.to_string())).collect());
        // A thousand draws for each of these would take minutes.
        assert_eq!(Random.propose(&space, Seed(1), &[], 20_000).len(), 20_000);
    }
}
