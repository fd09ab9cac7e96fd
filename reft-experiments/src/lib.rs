//! Experiments with representation finetuning: tasks, training, evaluation, tables.

#![forbid(unsafe_code)]

#[macro_use]
pub mod say;

pub mod alpaca_eval;
mod atomic;
#[cfg(feature = "program")]
pub mod bench;
mod classify;
#[cfg(feature = "program")]
pub mod cli;
#[cfg(feature = "program")]
mod columns;
#[cfg(feature = "program")]
pub mod commands;
pub mod config;
pub mod context;
pub mod data;
mod encoder_memory;
pub mod evaluate;
pub mod machine;
pub mod memory;
pub mod pairs;
pub mod prediction;
pub mod prelude;
#[cfg(feature = "program")]
pub mod report;
pub mod run;
pub mod saved_classifier;
pub mod score;
pub mod session;
pub mod store;
#[cfg(feature = "program")]
pub mod sweep;
#[cfg(feature = "program")]
pub mod tables;
pub mod tasks;
pub mod train;

use reft_core::suggest;
