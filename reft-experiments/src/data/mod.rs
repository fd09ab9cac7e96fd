//! Rows: where they come from, how they are split, how they become tokens.

pub mod encode;
pub mod halves;
pub mod labelled;
pub mod left_out;
pub mod overlap;
pub mod parquet_table;
pub mod published;
pub mod row;
pub mod source;
pub mod split;
pub mod table;
pub mod template;
