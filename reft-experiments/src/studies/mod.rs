//! The studies beside the tables: what a representation holds, and what one edit can do.

pub mod das;
pub mod equality;
pub mod heat_map;
pub mod network;
pub mod price_tag;
