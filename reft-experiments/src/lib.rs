//! Experiments with representation finetuning: tasks, training, evaluation, tables.

#![forbid(unsafe_code)]

#[macro_use]
pub mod say;

pub mod alpaca_eval;
mod atomic;
pub mod bench;
mod classify;
pub mod cli;
mod columns;
pub mod commands;
pub mod config;
pub mod context;
pub mod data;
mod encoder_memory;
pub mod evaluate;
pub mod interop;
pub mod machine;
pub mod memory;
pub mod prediction;
pub mod report;
pub mod run;
mod saved_classifier;
pub mod score;
pub mod session;
pub mod store;
pub mod sweep;
pub mod tables;
pub mod tasks;
pub mod train;

use reft_core::suggest;
