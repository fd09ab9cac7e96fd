//! Rows: where they come from, how they are split, how they become tokens.

pub mod data_file;
pub mod encode;
pub mod equal_choices;
pub mod error;
pub mod halves;
pub mod json_fault;
pub mod json_rows;
pub mod labelled;
pub mod labels;
pub mod left_out;
pub mod need;
pub mod options;
pub mod overlap;
pub mod own;
pub mod pairs;
#[cfg(feature = "parquet")]
mod parquet_columns;
pub mod parquet_error;
pub mod parquet_table;
pub mod pinned;
pub mod published;
pub mod row;
pub mod source;
pub mod split;
pub mod table;
pub mod text;
pub mod too_long;
