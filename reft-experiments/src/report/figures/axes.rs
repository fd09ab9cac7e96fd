//! Axes of the figures that are made of lines.

use crate::studies;
use crate::studies::lines::Axes;

/// Source of our own lines.
pub const OURS: &str = "ours";

/// Figure 1.
pub const PARAMETERS: Axes = Axes { panel: "table", x: "parameters in %", y: "score", range: None, log: true };

/// Those of every figure.
pub fn all() -> impl Iterator<Item = Axes> {
    let of_studies = studies::registry().entries().iter().filter_map(|entry| entry.axes);
    std::iter::once(PARAMETERS).chain(of_studies)
}
