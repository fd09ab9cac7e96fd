//! The studies beside the tables: what a representation holds, and what one edit can do.

pub mod cells;
pub mod composition;
pub mod constant_edit;
pub mod das;
pub mod equality;
pub mod figure;
pub mod heat_map;
pub mod memorise;
pub mod network;
pub mod overhead;
pub mod pairs;
pub mod panels;
pub mod price_tag;
pub mod style;
pub mod text;
pub mod things;
