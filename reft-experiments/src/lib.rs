//! Experiments with representation finetuning: tasks, training, evaluation, tables.

#![forbid(unsafe_code)]

#[macro_use]
pub mod say;

pub mod alpaca_eval;
mod atomic;
pub mod bench;
pub mod cli;
mod columns;
pub mod commands;
pub mod config;
pub mod data;
pub mod machine;
pub mod report;
pub mod run;
pub mod score;
pub mod store;
pub mod sweep;
pub mod tables;
pub mod tasks;
pub mod train;

use reft_core::suggest;
