//! Configurations: what a user writes, and what it resolves to.

pub mod dtype;
mod error;
pub mod kind;
pub mod merge;
pub mod parity;
pub mod paths;
pub mod places;
pub mod plan;
pub mod read;
pub mod schema;
mod study;
pub mod yaml;

pub use error::ConfigError;
