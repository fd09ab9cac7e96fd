//! Valid files, and what is done to them.

pub mod bytes;
pub mod kinds;
