//! Experiments with representation finetuning: tasks, training, evaluation, tables.

#![forbid(unsafe_code)]

mod atomic;
pub mod data;
pub mod score;
mod suggest;
pub mod tasks;
pub mod train;
