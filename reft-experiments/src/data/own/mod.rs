//! Data sets that a user brings: a file or a folder of rows, templates over their columns, a score.
//!
//! [`cells`] reads every format into rows of cells, [`column_template`] makes texts of them, [`spec`] is what a configuration
//! says of a data set, and [`set`] is the data set itself: rows of each split.

pub mod cells;
pub mod choices;
pub mod column_template;
mod csv_cells;
pub mod fault;
mod folder;
mod json_cells;
#[cfg(feature = "parquet")]
mod parquet_cells;
pub mod portion;
pub mod rows;
pub mod set;
pub mod spec;
