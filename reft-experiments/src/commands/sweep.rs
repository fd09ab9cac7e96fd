//! `reft sweep`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::conditions::Conditions;
use crate::console::in_a_line;
use crate::data::source::DataSources;
use crate::run::model_dims::ModelDims;
use crate::run::warnings;
use crate::store::RunId;
use crate::store::record::Record;
use crate::store::state::{AttemptEnd, RunState};
use crate::sweep::folder::{Survey, Sweep};
use crate::sweep::launch::local::LocalLauncher;
use crate::sweep::launch::slurm::{Cluster, SlurmWork};
use crate::sweep::launch::submit::{largest_array, split};
use crate::sweep::space::describe;
use crate::sweep::work::{WorkLimit, release, work};
use crate::sweep::{show, view::RunView};
use crate::train::observe::Metrics;

/// Arguments of `reft sweep`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: SweepCommand,
    /// Override a setting of the sweep's file: --set 'run.data.eval=[cola]'
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    overrides: Vec<String>,
    /// Folder of all runs
    #[arg(long, default_value = "runs", global = true)]
    runs: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum SweepCommand {
    /// Do what is left of a sweep, here
    Run {
        /// The sweep's file
        sweep: PathBuf,
        /// Trials at once
        #[arg(long, default_value = "1")]
        workers: NonZeroUsize,
        /// Try failed trials again
        #[arg(long)]
        retry: bool,
        /// List the first trials; run nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Submit what is left of a sweep to Slurm
    Submit {
        /// The sweep's file
        sweep: PathBuf,
        /// What the cluster is asked for, such as configs/slurm/example.yaml
        cluster: PathBuf,
        /// Print the scripts; submit nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show every trial and what is left to do
    Status {
        /// The sweep's file or folder
        sweep: PathBuf,
        /// Show it again every few seconds
        #[arg(long)]
        watch: bool,
    },
    /// Show the best setting, as overrides for `reft train`
    Best {
        /// The sweep's file or folder
        sweep: PathBuf,
    },
    /// Give up the claims of dead processes
    #[command(hide = true)]
    Release {
        /// The sweep's folder
        sweep: PathBuf,
    },
    /// Work on a sweep until nothing is left: what `run` starts several of
    #[command(hide = true)]
    Work {
        /// The sweep's folder
        sweep: PathBuf,
        /// End when this process is gone
        #[arg(long)]
        parent: Option<u32>,
        /// End after so many pieces of work, or when none can be begun
        #[arg(long)]
        pieces: Option<usize>,
        /// Do nothing beyond this rung
        #[arg(long, requires = "pieces")]
        rung: Option<usize>,
    },
}

/// Time between two looks of `status --watch`, and between two lines of `run`.
const WATCH: Duration = Duration::from_secs(2);

impl Args {
    /// Whether this process runs a model, and does not start others for it.
    pub fn computes(&self) -> bool {
        matches!(self.command, SweepCommand::Work { .. })
    }

    /// Runs, shows or chooses.
    ///
    /// # Errors
    /// When the sweep's file is wrong, something is missing, or workers die time and again.
    pub fn run(self) -> Result<()> {
        let (runs, set) = (self.runs, self.overrides);
        match self.command {
            SweepCommand::Run { sweep, workers, retry, dry_run } => {
                let local = LocalLauncher::new(workers.get());
                let mut sweep = Sweep::of_file(&sweep, &set, &runs, Some(local.threads))?;
                if dry_run {
                    return list(&sweep);
                }
                if retry {
                    put_back(&mut sweep)?;
                }
                drive(&mut sweep, local)
            }
            SweepCommand::Submit { sweep, cluster, dry_run } => {
                let cluster = Cluster::read(&cluster)?;
                let mut sweep = Sweep::of_file(&sweep, &set, &runs, Some(cluster.cpus_per_task.get()))?;
                submit(&mut sweep, &cluster, dry_run)
            }
            SweepCommand::Release { sweep } => release(&mut Sweep::of_folder(&sweep, &runs)?),
            SweepCommand::Status { sweep, watch } => status(&mut Sweep::of(&sweep, &set, &runs)?, watch),
            SweepCommand::Best { sweep } => best(&mut Sweep::of(&sweep, &set, &runs)?),
            SweepCommand::Work { sweep, parent, pieces, rung } => {
                let until = match (pieces, parent) {
                    (Some(most), _) => WorkLimit::Pieces { most, rung },
                    (None, Some(parent)) => WorkLimit::Orphaned(parent),
                    (None, None) => WorkLimit::Done,
                };
                let worked = Sweep::of_folder(&sweep, &runs).and_then(|mut sweep| work(&mut sweep, until));
                // Its log may be on a full disk, but a parent listens.
                worked.inspect_err(|error| {
                    if parent.is_some() {
                        println!("{}", in_a_line(error));
                    }
                })
            }
        }
    }
}

/// Every trial in a line, with why its model cannot be trained so.
fn list(sweep: &Sweep) -> Result<()> {
    let (mut models, mut failing) = (ModelDims::default(), 0);
    for (number, trial) in sweep.manifest.trials.iter().enumerate() {
        let plan = sweep.spec.plan(&trial.point, &sweep.folder().display().to_string())?;
        let reason = models.check(&plan).err().map_or(String::new(), |error| {
            failing += 1;
            format!("  will fail: {}", in_a_line(&error))
        });
        println!("{number}  {}  {}{reason}", trial.run, describe(&trial.point));
    }
    let failing = if failing > 0 { format!("; {failing} will fail") } else { String::new() };
    println!("{} trials named, every setting checked{failing}", sweep.manifest.trials.len());
    Ok(())
}

/// Starts the workers, says in a line whenever something changed, and shows the whole at the end.
pub(super) fn drive(sweep: &mut Sweep, mut local: LocalLauncher) -> Result<()> {
    let (folder, runs) = (sweep.folder().to_owned(), sweep.runs().to_owned());
    if let Some(first) = sweep.manifest.trials.first() {
        let plan = sweep.spec.plan(&first.point, &folder.display().to_string())?;
        warnings(&plan, &DataSources::from_env())?.iter().for_each(|said| eprintln!("{said}"));
    }
    let frozen = usize::try_from(sweep.manifest.threads).unwrap_or(local.threads);
    let why = if frozen == local.threads { "" } else { ", as the sweep was begun: digits depend on their number" };
    local.threads = frozen;
    eprintln!("{}: {} workers with {} threads each{why}", folder.display(), local.workers, local.threads);
    let mut said = String::new();
    let mut say = |sweep: &mut Sweep| -> Result<usize> {
        let survey = sweep.survey()?;
        let line = show::line(sweep, &survey);
        if line != said {
            eprintln!("{line}");
            said = line;
        }
        Ok(survey.trials.iter().chain(&survey.last).map(|view| view.standing.scores.len()).sum())
    };
    let (mut looked, mut done) = (None::<std::time::Instant>, 0);
    local.run(&folder, &runs, &mut || {
        if looked.is_none_or(|looked| looked.elapsed() >= WATCH) {
            looked = Some(std::time::Instant::now());
            done = say(sweep)?;
        }
        Ok(done)
    })?;
    // The last look may have been while the last of them worked.
    say(sweep)?;
    status(sweep, false)
}

/// Submits an array for each stage that is left, or shows their scripts.
pub(super) fn submit(sweep: &mut Sweep, cluster: &Cluster, dry_run: bool) -> Result<()> {
    let survey = sweep.survey()?;
    let stages = split(cluster.stages(sweep, &survey)?, largest_array());
    let program = std::env::current_exe().context("the program's own path is not known")?;
    let whole =
        |path: &std::path::Path| path.canonicalize().with_context(|| format!("{}: is not there", path.display()));
    let (folder, runs) = (whole(sweep.folder())?, whole(sweep.runs())?);
    let work = SlurmWork { program: &program, folder: &folder, runs: &runs };
    if dry_run {
        for stage in &stages {
            println!("{}", cluster.script(stage, work));
        }
        return Ok(());
    }
    // Said at once: a refusal of the next leaves these in the queue.
    cluster.submit(&stages, work, &mut |stage, job| println!("job {job}: {}, {} tasks", stage.name, stage.tasks))?;
    println!("{}", show::line(sweep, &survey));
    Ok(())
}

fn status(sweep: &mut Sweep, watch: bool) -> Result<()> {
    loop {
        let survey = sweep.survey()?;
        let shown = show::table(sweep, &survey);
        if !watch {
            print!("{shown}");
            conditions(sweep, &survey)?;
            unjudged(sweep, &survey.trials);
            return Ok(());
        }
        // Clears the screen and goes to its top.
        print!("\x1b[2J\x1b[H{shown}");
        std::io::Write::flush(&mut std::io::stdout())?;
        std::thread::sleep(WATCH);
    }
}

/// What the figures are of: the metric, the rows, and what they depend on, by the first complete run.
fn conditions(sweep: &Sweep, survey: &Survey) -> Result<()> {
    let trials = sweep.manifest.trials.iter().map(|trial| &trial.run).zip(&survey.trials);
    let last = sweep.manifest.chosen.iter().flat_map(|chosen| &chosen.runs).zip(&survey.last);
    for (split, run) in [("dev", first_complete(trials)), ("test", first_complete(last))] {
        let Some(run) = run else { continue };
        let Some(record) = Record::find(&sweep.paths(run).record())? else { continue };
        let rows: usize = record.scores.values().map(|score| score.n()).sum();
        println!("{split}: {} of {rows} rows; {}", sweep.spec.metric.name(&record.plan), Conditions::of(&record));
        if Metrics::all_at_rate_0(&sweep.paths(run).metrics()) {
            println!(
                "run {run}: every update was in the warm-up, at rate 0: nothing was learned; train more updates, or without \
                 train.warmup_ratio"
            );
        }
    }
    Ok(())
}

/// The first of these runs that is complete.
fn first_complete<'a>(mut runs: impl Iterator<Item = (&'a RunId, &'a RunView)>) -> Option<&'a RunId> {
    runs.find(|(_, view)| view.complete).map(|(run, _)| run)
}

/// How to have answers judged, where no score is known without.
fn unjudged(sweep: &Sweep, trials: &[RunView]) {
    let waiting: Vec<usize> =
        trials.iter().enumerate().filter(|(_, view)| view.unjudged()).map(|(number, _)| number).collect();
    let Some(&first) = waiting.first() else { return };
    let paths = sweep.paths(&sweep.manifest.trials[first].run);
    println!(
        "{} trials have answers but no win rate. To have them judged, for each run and TASK:\n  reft judge --outputs {} \
         --reference REFERENCE.json --judge-model NAME --out {}\nthen run the sweep again.",
        waiting.len(),
        paths.outputs("TASK").display(),
        paths.annotations("TASK").display()
    );
}

fn best(sweep: &mut Sweep) -> Result<()> {
    let survey = sweep.survey()?;
    let Some(best) = sweep.best(&survey) else {
        unjudged(sweep, &survey.trials);
        bail!("{}: no trial has a final score yet: see `reft sweep status`", sweep.folder().display());
    };
    let trial = &sweep.manifest.trials[best];
    let score = survey.trials[best].standing.scores.last().map_or(f64::NAN, |&score| sweep.spec.score(score));
    let metric = sweep.spec.metric.name(&sweep.spec.plan(&trial.point, &sweep.folder().display().to_string())?);
    let shown = |figure: f64| sweep.spec.shown(figure);
    println!("trial {best}: {metric} {} on dev rows, run {}", shown(score), trial.run);
    conditions(sweep, &survey)?;
    for (key, value) in &trial.point {
        println!("--set {key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    if let Some(chosen) = &sweep.manifest.chosen {
        let scores: Vec<f64> = survey
            .last
            .iter()
            .filter_map(|view| view.standing.scores.last().map(|&score| sweep.spec.score(score)))
            .collect();
        if let Some(estimate) = crate::score::stats::estimate(&scores) {
            let sd = estimate.sd.map_or(String::new(), |sd| format!(" ± {}", shown(sd)));
            let margin = estimate.margin().map_or(String::new(), |margin| {
                let ends = [estimate.mean - margin, estimate.mean + margin].map(shown);
                format!(", 95 % interval {}", ends.join(" to "))
            });
            let (n, all) = (estimate.n, chosen.runs.len());
            println!("test: {}{sd}, n = {n} of {all} seeds{margin}", shown(estimate.mean));
        }
    }
    Ok(())
}

/// Lets failed runs be tried again; their reasons stay in the states.
fn put_back(sweep: &mut Sweep) -> Result<()> {
    let survey = sweep.survey()?;
    for (run, view) in sweep.manifest.runs().zip(survey.trials.iter().chain(&survey.last)) {
        if let (Some(reason), Ok(_)) = (&view.failure, &view.claim) {
            let paths = sweep.paths(run);
            let mut state = RunState::read(&paths)?;
            state.end(AttemptEnd::PutBack(reason.clone()));
            state.save(&paths.state())?;
        }
    }
    Ok(())
}
