//! Scoring: from what a model said to right or wrong.

pub mod answers;
pub mod chosen;
pub mod grade;
pub mod likelihood;
pub mod metric;
pub mod metrics;
pub mod options;
pub mod overlap_of_words;
pub mod scoring;
pub mod verdict;
