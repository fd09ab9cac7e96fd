//! Tables of the paper: which runs they need, and how records become rows and files.

pub mod cost;
pub mod judged;
pub mod methods;
pub mod notes;
pub mod paired;
pub mod paper;
pub mod render;
pub mod samples;
pub mod spec;
pub mod stored;
pub mod table;
