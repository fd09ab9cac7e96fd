//! Configurations: what a user writes, and what it resolves to.

pub mod keys;
pub mod parity;
pub mod plan;
pub mod read;
