//! Configurations: what a user writes, and what it resolves to.

pub mod dtype;
pub mod keys;
pub mod plan;
pub mod read;
