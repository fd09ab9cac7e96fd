//! Scoring: from what a model said to right or wrong.

pub mod answers;
pub mod chosen;
pub mod grade;
pub mod metric;
pub mod metrics;
pub mod outcome;
pub mod overlap_of_words;
pub mod scoring;
#[cfg(feature = "program")]
pub mod stats;
pub mod verdict;
