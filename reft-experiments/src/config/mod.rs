//! Configurations: what a user writes, and what it resolves to.

pub mod chat_template;
pub mod dtype;
pub mod kind;
pub mod merge;
pub mod parity;
pub mod plan;
pub mod read;
pub mod schema;
#[cfg(feature = "program")]
pub mod search;

pub use crate::settings::{ConfigError, paths, places, yaml};
