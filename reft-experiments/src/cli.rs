//! The command line.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::commands::{bench, compare, eval, generate, inspect, judge, report, results, sweep, table, train, win_rate};

/// Representation finetuning: learned edits of hidden states instead of changed weights.
#[derive(Debug, Parser)]
#[command(name = "reft", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train interventions and score them
    Train(train::Args),
    /// Score a base model or a trained adapter
    Eval(eval::Args),
    /// Continue a prompt, with or without an adapter
    Generate(generate::Args),
    /// Show a prompt's tokens with the positions and layers that are edited
    Inspect(inspect::Args),
    /// Search for the best setting on dev rows, then run it on test rows
    Sweep(sweep::Args),
    /// List complete runs: filter, sort, write CSV
    Results(results::Args),
    /// Make a page about runs, sweeps and tables
    Report(report::Args),
    /// Compare two runs on the rows that both answered
    Compare(compare::Args),
    /// Make a table: do the runs that are missing, then render it
    Table(table::Args),
    /// Have a model's outputs judged against a reference's, after an estimate of the cost
    Judge(judge::Args),
    /// Show the win rate of judged outputs
    WinRate(win_rate::Args),
    /// Compare speed and memory with pyreft
    Bench(bench::Args),
    /// Time one job and print a JSON line
    #[command(hide = true)]
    BenchJob(bench::JobArgs),
}

impl Cli {
    /// Whether this process runs a model: the others start at once, without a word to OpenMP.
    pub fn computes(&self) -> bool {
        match &self.command {
            Command::Train(_)
            | Command::Eval(_)
            | Command::Generate(_)
            | Command::Inspect(_)
            | Command::Bench(_)
            | Command::BenchJob(_) => true,
            Command::Sweep(args) => args.computes(),
            Command::Table(args) => args.computes(),
            Command::Results(_)
            | Command::Report(_)
            | Command::Compare(_)
            | Command::Judge(_)
            | Command::WinRate(_) => false,
        }
    }

    /// Does what was asked.
    ///
    /// # Errors
    /// Whatever the command reports.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Train(args) => args.run(),
            Command::Eval(args) => args.run(),
            Command::Generate(args) => args.run(),
            Command::Inspect(args) => args.run(),
            Command::Sweep(args) => args.run(),
            Command::Results(args) => args.run(),
            Command::Report(args) => args.run(),
            Command::Compare(args) => args.run(),
            Command::Table(args) => args.run(),
            Command::Judge(args) => args.run(),
            Command::WinRate(args) => args.run(),
            Command::Bench(args) => args.run(),
            Command::BenchJob(args) => args.run(),
        }
    }
}
