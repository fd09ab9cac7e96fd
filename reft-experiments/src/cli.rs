//! The command line.

mod usage;

use std::any::TypeId;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Command as Clap, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{
    bench, collect, compare, das, eval, export, figure, generate, import, inspect, judge, list, new, predict, push,
    read, report, results, schema, sweep, table, train, win_rate,
};
use crate::config::paths::home;
use crate::console;
use crate::machine::env;

/// Representation finetuning: learned edits of hidden states instead of changed weights.
#[derive(Debug, Parser)]
#[command(name = "reft", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a project to begin with: data, configuration, README
    New(new::Args),
    /// Train interventions and score them
    Train(Box<train::Args>),
    /// Score a base model or a trained adapter
    Eval(eval::Args),
    /// Continue a prompt, with or without an adapter
    Generate(generate::Args),
    /// Show a prompt's tokens with the positions and layers that are edited
    Inspect(inspect::Args),
    /// Write hidden states of a file of texts
    Collect(collect::Args),
    /// Read a steering vector from pairs of texts, as an adapter
    Read(read::Args),
    /// Find the state in which a causal variable lives (distributed alignment search)
    Das(das::Args),
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
    /// Make a figure of the paper: do what is missing of its study, then draw it
    Figure(figure::Args),
    /// Have a model's outputs judged against a reference's, after an estimate of the cost
    Judge(judge::Args),
    /// Show the win rate of judged outputs
    WinRate(win_rate::Args),
    /// Show the methods, objectives, tasks, studies, models, positions and keys that a configuration can name
    List(list::Args),
    /// Print the JSON Schema of run files, for editors
    Schema(schema::Args),
    /// Answer the rows of a file with a trained model
    Predict(predict::Args),
    /// Read an adapter of peft, LLM-Adapters, adapters or pyreft
    Import(import::Args),
    /// Write an adapter for peft or pyreft
    Export(export::Args),
    /// Merge an adapter into its model, as a whole model folder
    Merge(export::MergeArgs),
    /// Put an adapter on the hub, with a card (`HF_TOKEN`)
    Push(push::Args),
    /// Take an adapter from the hub
    Pull(push::PullArgs),
    /// Compare speed and memory with pyreft
    Bench(bench::Args),
    /// Time one job and print a JSON line
    #[command(hide = true)]
    BenchJob(bench::JobArgs),
}

/// The arguments that name adapters.
const ADAPTERS: [&str; 2] = ["adapter", "adapters"];

/// The folder of an adapter; of a run that has one, the one inside it.
fn adapter_folder(path: PathBuf) -> PathBuf {
    let inside = path.join("adapter");
    let is_adapter = |folder: &Path| folder.join("adapter_config.json").exists();
    if !is_adapter(&path) && is_adapter(&inside) { inside } else { path }
}

/// Lets `~` stand for the home folder in every path, also where the shell leaves it (`--runs=~/x`), and a run's folder for that of
/// its adapter.
fn with_home(command: Clap) -> Clap {
    let parser = OsStringValueParser::new().map(|path| home(Path::new(&path)));
    let command = command.mut_args(|argument| {
        if argument.get_value_parser().type_id() != TypeId::of::<PathBuf>() {
            argument
        } else if ADAPTERS.contains(&argument.get_id().as_str()) {
            argument.value_parser(parser.clone().map(adapter_folder))
        } else {
            argument.value_parser(parser.clone())
        }
    });
    command.mut_subcommands(with_home)
}

impl Cli {
    /// The arguments of this process; ends it where they are wrong, or help is asked for.
    pub fn read() -> Self {
        let command = with_home(Self::command());
        let asked = usage::command_asked(&command, std::env::args());
        let matches = command.try_get_matches();
        matches.and_then(|matches| Self::from_arg_matches(&matches)).unwrap_or_else(|error| {
            if error.use_stderr() {
                console::stderr(format_args!("{}\n", usage::in_a_line(&error.to_string(), &asked)));
                std::process::exit(error.exit_code());
            }
            error.exit()
        })
    }

    /// Whether this process runs a model: the others start at once, without a word to OpenMP.
    pub fn computes(&self) -> bool {
        match &self.command {
            Command::Train(_)
            | Command::Eval(_)
            | Command::Generate(_)
            | Command::Inspect(_)
            | Command::Predict(_)
            | Command::Import(_)
            | Command::Export(_)
            | Command::Merge(_)
            | Command::Collect(_)
            | Command::Read(_)
            | Command::Das(_)
            | Command::Bench(_)
            | Command::BenchJob(_) => true,
            Command::Sweep(args) => args.computes(),
            Command::Table(args) => args.computes(),
            Command::Figure(args) => args.computes(),
            Command::Results(_)
            | Command::Report(_)
            | Command::Compare(_)
            | Command::Judge(_)
            | Command::List(_)
            | Command::New(_)
            | Command::Schema(_)
            | Command::Push(_)
            | Command::Pull(_)
            | Command::WinRate(_) => false,
        }
    }

    /// Processes that this one starts, itself counted: each has its part of the cores.
    pub fn processes(&self) -> usize {
        match &self.command {
            Command::Train(args) => args.processes(),
            _ => 1,
        }
    }

    /// Refuses commands that do not share their work, where torchrun started several of them.
    fn alone(&self) -> Result<()> {
        let started = env("WORLD_SIZE").and_then(|size| size.trim().parse::<usize>().ok());
        match (&self.command, started) {
            (Command::Train(_), _) | (_, None | Some(0 | 1)) => Ok(()),
            (_, Some(size)) => bail!(
                "WORLD_SIZE={size}: several processes share the work of `reft train` only: start this command once (a sweep has \
                 workers of its own)"
            ),
        }
    }

    /// Does what was asked.
    ///
    /// # Errors
    /// Whatever the command reports.
    pub fn run(self) -> Result<()> {
        self.alone()?;
        match self.command {
            Command::New(args) => args.run(),
            Command::Train(args) => args.run(),
            Command::Eval(args) => args.run(),
            Command::Generate(args) => args.run(),
            Command::Inspect(args) => args.run(),
            Command::Collect(args) => args.run(),
            Command::Read(args) => args.run(),
            Command::Das(args) => args.run(),
            Command::Figure(args) => args.run(),
            Command::Sweep(args) => args.run(),
            Command::Results(args) => args.run(),
            Command::Report(args) => args.run(),
            Command::Compare(args) => args.run(),
            Command::Table(args) => args.run(),
            Command::Judge(args) => args.run(),
            Command::List(args) => args.run(),
            Command::Schema(args) => args.run(),
            Command::WinRate(args) => args.run(),
            Command::Predict(args) => args.run(),
            Command::Import(args) => args.run(),
            Command::Export(args) => args.run(),
            Command::Merge(args) => args.run(),
            Command::Push(args) => args.run(),
            Command::Pull(args) => args.run(),
            Command::Bench(args) => args.run(),
            Command::BenchJob(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_folder_is_meant_in_every_path() {
        let command = with_home(Cli::command());
        command.clone().debug_assert();
        let read = |arguments: &[&str]| command.clone().try_get_matches_from(arguments).expect("valid");
        let home = home(Path::new("~/x"));
        let matches = read(&["reft", "train", "~/x", "--runs=~/x"]);
        let train = matches.subcommand_matches("train").expect("train");
        assert_eq!(["config", "runs"].map(|name| train.get_one::<PathBuf>(name)), [Some(&home); 2]);
        let matches = read(&["reft", "sweep", "--runs=~/x", "run", "~/x"]);
        let run = matches.subcommand_matches("sweep").and_then(|sweep| sweep.subcommand_matches("run")).expect("run");
        assert_eq!(run.get_one::<PathBuf>("sweep"), Some(&home));
        let matches = read(&["reft", "generate", "~/x is a path", "--adapter", "~/x"]);
        let generate = matches.subcommand_matches("generate").expect("generate");
        assert_eq!(generate.get_many::<PathBuf>("adapters").expect("one").collect::<Vec<_>>(), [&home]);
    }
}
