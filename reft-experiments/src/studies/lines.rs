//! Lines that are drawn of runs: small charts side by side, as the paper draws figures 1 and 3 to 11.

use std::collections::BTreeMap;
use std::fmt::Display;

use reft_core::layers::LayerIndex;

use crate::score::outcome::Score;

/// What the axes and panels are. The columns of a figure's CSV are called by them, by which the report finds them again.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Axes {
    /// What a panel is: `tokens`.
    pub panel: &'static str,
    /// What is to the right.
    pub x: &'static str,
    /// What is up.
    pub y: &'static str,
    /// Values from below to above; as the lines need where there are none.
    pub range: Option<(f64, f64)>,
    /// Whether equal ratios are equally far to the right; every panel has its own scale from below then.
    pub log: bool,
}

impl Axes {
    /// Of shares, from 0 to 1.
    pub const fn of_shares(panel: &'static str, x: &'static str, y: &'static str) -> Self {
        Self { panel, x, y, range: Some((-0.1, 1.1)), log: false }
    }

    /// The columns of a figure's CSV.
    pub fn columns(&self) -> [&'static str; 7] {
        ["source", self.panel, "line", self.x, self.y, "n", "run"]
    }
}

/// A point of a line.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SeriesPoint {
    /// From the left.
    pub x: f64,
    /// From below.
    pub y: f64,
    /// Rows, pairs of runs or tokens that it is measured on; none of what is printed.
    pub n: Option<usize>,
    /// The run in the store that it comes from, or the first of several; nothing of what is printed.
    pub run: String,
}

impl LineSeries {
    /// Layers that are counted from the last, to the right, as a model of this depth counts them from the first.
    pub fn from_first_layer(&mut self, depth: usize) {
        for point in self.points.iter_mut().filter(|point| point.x < 0.0) {
            point.x += depth as f64;
        }
        self.points.sort_by(|one, other| one.x.total_cmp(&other.x));
    }
}

/// A line in a panel.
#[derive(Clone, PartialEq, Debug)]
pub struct LineSeries {
    /// The panel.
    pub panel: String,
    /// Whose line it is.
    pub name: String,
    /// From left to right.
    pub points: Vec<SeriesPoint>,
}

/// What a run of a study came to.
#[derive(Clone, PartialEq, Debug)]
pub struct CellResult {
    /// Scores by the names of the measures.
    pub scores: BTreeMap<String, Score>,
    /// The run's name in the store.
    pub run: String,
}

impl CellResult {
    /// A point at the share of rows that a measure counts; none where the run has no such measure.
    pub fn share(&self, x: f64, measure: &str) -> Option<SeriesPoint> {
        let score = *self.scores.get(measure)?;
        Some(self.point(x, share(score), score))
    }

    /// A point of a score.
    pub fn point(&self, x: f64, y: f64, score: Score) -> SeriesPoint {
        SeriesPoint { x, y, n: Some(score.n()), run: self.run.clone() }
    }
}

/// A score as a share of its rows.
fn share(score: Score) -> f64 {
    match score {
        Score::Counts { correct, n, .. } => correct as f64 / n.max(1) as f64,
        Score::Measured { .. } | Score::Graded { .. } | Score::Timed { .. } => score.figure() / 100.0,
    }
}

/// A panel for each size, with a point for each layer: the share that a measure of this name counts in each run. Runs are in the
/// order of sizes, then layers.
pub fn by_layer<T: Display>(
    sizes: &[T],
    layers: &[LayerIndex],
    measure: &str,
    done: &[Option<CellResult>],
) -> Vec<LineSeries> {
    let x = |layer: LayerIndex| i64::from(layer) as f64;
    let series = |(size, done): (&T, &[Option<CellResult>])| {
        let point = |(layer, result): (&LayerIndex, &Option<CellResult>)| result.as_ref()?.share(x(*layer), measure);
        let points = layers.iter().zip(done).filter_map(point).collect();
        LineSeries { panel: size.to_string(), name: "ours".to_owned(), points }
    };
    sizes.iter().zip(done.chunks(layers.len().max(1))).map(series).collect()
}
