//! Figures from their files: the runs of a study, or of tables, and what is drawn of them.

pub mod cell;
pub mod edits;
pub mod parameters;
pub mod spec;
