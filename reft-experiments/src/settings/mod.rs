//! Files of settings: YAML as a tree that knows where each key was written, typed values out of it, and what is wrong with them.

mod error;
pub mod file;
pub mod paths;
pub mod places;
pub mod yaml;

pub use error::ConfigError;
