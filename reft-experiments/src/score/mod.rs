//! Scoring: from what a model said to right or wrong.

pub mod answers;
pub mod metric;
pub mod metrics;
pub mod verdict;
