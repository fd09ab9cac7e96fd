//! Where the workers of a sweep run.

pub mod local;
pub mod slurm;
pub mod submit;
