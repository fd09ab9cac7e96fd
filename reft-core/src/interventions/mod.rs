//! One file per intervention.

pub mod interchange;
pub mod low_rank;
pub mod red;
