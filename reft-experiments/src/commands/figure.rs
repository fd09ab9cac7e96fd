//! `reft figure`: a figure of the paper from its file.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use reft_models::hub;
use reft_models::weights::Weights;
use tch::Device;

use super::{device, stored_runs, sweep as sweeps};
use crate::atomic;
use crate::config::plan::{DeviceSpec, RunPlan};
use crate::figures::cell::{FigureRun, FinishedRun};
use crate::figures::edits;
use crate::figures::spec::{FigureContent, FigureProfile, FigureSpec};
use crate::report::figure::Figure;
use crate::report::figures::panels;
use crate::run::answering::saved::OpenedDecoder;
use crate::run::model_dims::ModelDims;
use crate::run::session::Session;
use crate::run::{Claiming, Resume, Runner};
use crate::store::RunPaths;
use crate::store::record::{Record, Score};
use crate::sweep::folder::Sweep;
use crate::sweep::launch::local::LocalLauncher;
use crate::sweep::launch::slurm::Cluster;
use crate::tables::notes::about_runs;
use crate::tables::stored::{self, RunRequest};

/// Arguments of `reft figure`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The figure's file
    spec: PathBuf,
    /// Which of its profiles
    #[arg(long, default_value = "quick")]
    profile: String,
    /// cpu, cuda or cuda:1 [default: cpu; a figure of tables has their device]
    #[arg(long, value_parser = device)]
    device: Option<DeviceSpec>,
    /// List the runs and check them; run nothing
    #[arg(long, conflicts_with_all = ["stored", "workers", "submit"])]
    dry_run: bool,
    /// Draw from runs that are complete; run nothing. Runs that are missing are named
    #[arg(long, conflicts_with_all = ["workers", "submit"])]
    stored: bool,
    /// Do the runs in so many processes, with the cores divided among them
    #[arg(long, conflicts_with = "submit")]
    workers: Option<NonZeroUsize>,
    /// Submit the runs to Slurm as this file says (configs/slurm/example.yaml); draw with --stored afterwards
    #[arg(long, value_name = "CLUSTER")]
    submit: Option<PathBuf>,
    /// Folder of an adapter whose edits are drawn, for a figure of edits: nothing is trained
    #[arg(long, conflicts_with_all = ["dry_run", "stored", "workers", "submit"])]
    adapter: Option<PathBuf>,
    /// Folder of all runs: an interrupted study goes on where it stopped
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Folder of the figures
    #[arg(long, default_value = "results")]
    results: PathBuf,
}

impl Args {
    /// Whether this process runs a model.
    pub fn computes(&self) -> bool {
        !self.dry_run && self.submit.is_none() && self.workers.is_none()
    }

    /// Does the runs that are missing, then writes SVG, PNG, CSV and what it says of them.
    ///
    /// # Errors
    /// When the figure's file is wrong, a run fails, or a file cannot be written; runs that are complete are kept.
    pub fn run(self) -> Result<()> {
        let spec = FigureSpec::read(&self.spec)?;
        let profile = spec.profile(&self.profile).with_context(|| self.spec.display().to_string())?;
        if let FigureContent::SameAs(figure) = &profile.content {
            let other = self.spec.with_file_name(format!("{figure}.yaml"));
            if !other.exists() || self.spec.file_stem() == other.file_stem() {
                bail!(
                    "{}: same_as: {figure}: {} is no other figure: name one that is there",
                    self.spec.display(),
                    other.display()
                );
            }
            println!("{}, profile {}: {}. It is drawn as {figure}.", spec.title, self.profile, profile.purpose);
            return Ok(());
        }
        let file = || self.spec.display().to_string();
        let cells = profile.cells(self.device).with_context(file)?;
        let printed = spec.printed(profile).with_context(file)?;
        let mut models = ModelDims::default();
        let dims = profile.model().map(|model| models.of(model)).transpose()?.flatten();
        if let Some(dims) = &dims {
            profile.check_layers(dims).with_context(file)?;
        }
        for FigureRun { title, plan, .. } in cells.iter().filter(|_| !self.stored) {
            models.check(plan).with_context(|| format!("{}: {title}", file()))?;
        }
        if self.dry_run {
            return self.dry_run(profile, &cells, dims.is_some());
        }
        if let Some(cluster) = &self.submit {
            let cluster = Cluster::read(cluster)?;
            let mut sweep = self.sweep(&spec, profile, &cells, cluster.cpus_per_task.get())?;
            return sweeps::submit(&mut sweep, &cluster, false);
        }
        if self.stored && !self.runs.is_dir() {
            bail!(
                "--runs {}: there is no such folder: name that of the runs, or leave --stored out",
                self.runs.display()
            );
        }
        // Created first: a folder that cannot be written should not be noticed after hours of training.
        let folder = self.results.join(&self.profile);
        std::fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be created", folder.display()))?;
        if let Some(adapter) = &self.adapter {
            let Some(prompt) = profile.edited_prompt() else {
                bail!("--adapter: this figure is not one of an adapter's edits: leave it out")
            };
            let title = format!("{} (by {})", spec.title, adapter.display());
            let name = format!("{}-{}", self.name()?, as_name(adapter));
            let figure = self.edits((profile, prompt), adapter, None, (&title, &name))?;
            let command = format!("made by `reft figure {} --adapter {}`", self.spec.display(), adapter.display());
            return write(&folder, &figure, (&title, &name), &[command]);
        }
        let title = format!("{} ({}, profile {})", spec.title, profile.purpose, self.profile);
        let (done, mut notes) = if self.stored {
            self.stored(cells)?
        } else if let Some(workers) = self.workers {
            (self.beside_each_other(&spec, profile, cells, workers.get())?, Vec::new())
        } else {
            (self.one_by_one(profile, cells)?, Vec::new())
        };
        let records: Vec<&Record> = done.iter().filter_map(|(_, record)| record.as_ref()).collect();
        notes.extend(about_runs(&records));
        notes.push(format!("made by `reft figure {} --profile {}`", self.spec.display(), self.profile));
        let figure = match (profile.series(&done, &self.runs, dims.as_ref())?, profile.edited_prompt()) {
            (Some((series, axes)), _) => panels::figure(&self.name()?, &title, axes, series, &printed),
            (None, Some(prompt)) => {
                let record = records.first().context("its run is not there: leave --stored out")?;
                let adapter = RunPaths::new(&self.runs, &record.id).adapter();
                self.edits((profile, prompt), &adapter, Some(record), (&title, &self.name()?))?
            }
            (None, None) => bail!("{}: nothing to draw", self.spec.display()),
        };
        write(&folder, &figure, (&title, &self.name()?), &notes)
    }

    fn name(&self) -> Result<String> {
        let name = self.spec.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
        name.with_context(|| format!("{}: a figure's file has a name", self.spec.display()))
    }

    /// The runs, one after the other, in this process, once those that are not complete fit the model. Another process that does one of them is waited for.
    fn one_by_one(&self, profile: &FigureProfile, cells: Vec<FigureRun>) -> Result<Vec<FinishedRun>> {
        let (mut session, total) = (Session::from_env(), cells.len());
        if profile.model().is_some() {
            self.check(&cells, &mut session)?;
        }
        let one = |(number, cell): (usize, FigureRun)| {
            let (record, _) = self.runner((number, total), &cell).execute(&cell.plan, &mut session)?;
            println!("{}: {}", cell.title, in_words(&record));
            Ok((cell, Some(record)))
        };
        cells.into_iter().enumerate().map(one).collect()
    }

    /// The runs as a sweep whose trials they are.
    fn sweep(&self, spec: &FigureSpec, profile: &FigureProfile, cells: &[FigureRun], threads: usize) -> Result<Sweep> {
        let stem = format!("{}-{}", self.name()?, self.profile);
        let title = format!("{} ({})", spec.title, profile.purpose);
        let plans: Vec<_> = cells.iter().map(|cell| &cell.plan).collect();
        Sweep::of_plans(&title, &stem, &plans, &self.runs, threads)
    }

    fn beside_each_other(
        &self,
        spec: &FigureSpec,
        profile: &FigureProfile,
        cells: Vec<FigureRun>,
        workers: usize,
    ) -> Result<Vec<FinishedRun>> {
        if workers > 1 && profile.is_timed() {
            bail!("--workers {workers}: this figure is of times, which workers would disturb: use one");
        }
        let local = LocalLauncher::new(workers);
        let mut sweep = self.sweep(spec, profile, &cells, local.threads)?;
        sweeps::drive(&mut sweep, local)?;
        let trials = sweep.manifest.trials.iter().map(|trial| sweep.paths(&trial.run).record());
        let with_record = |(cell, path): (FigureRun, PathBuf)| Ok((cell, Record::find(&path)?));
        let done: Vec<FinishedRun> = cells.into_iter().zip(trials).map(with_record).collect::<Result<_>>()?;
        let missing: Vec<&str> =
            done.iter().filter(|(_, record)| record.is_none()).map(|(cell, _)| cell.title.as_str()).collect();
        if !missing.is_empty() {
            bail!("{}: not complete, see the reasons above: {}", sweep.folder().display(), missing.join("; "));
        }
        Ok(done)
    }

    /// The runs that the store has, and what is to be said about the others.
    fn stored(&self, cells: Vec<FigureRun>) -> Result<(Vec<FinishedRun>, Vec<String>)> {
        let wanted: Vec<RunRequest<'_>> = cells.iter().map(|cell| RunRequest::new(&cell.plan, cell.dtype)).collect();
        let found = stored_runs(&self.runs, &wanted, (&self.spec, &self.profile))?;
        let titles: Vec<String> = cells.iter().map(|cell| cell.title.clone()).collect();
        let notes = stored::notes_of(&titles, &found);
        if found.iter().any(Option::is_none) {
            notes.first().into_iter().for_each(|incomplete| eprintln!("{incomplete}"));
        }
        let records = found.into_iter().map(|stored| stored.map(|stored| stored.record));
        Ok((cells.into_iter().zip(records).collect(), notes))
    }

    /// The drawing of an adapter's edits, on the model that it was trained on.
    fn edits(
        &self,
        (profile, prompt): (&FigureProfile, &str),
        adapter: &Path,
        record: Option<&Record>,
        (title, name): (&str, &str),
    ) -> Result<Figure> {
        let device = self.device.or(record.map(|record| record.plan.device)).unwrap_or(DeviceSpec(Device::Cpu));
        let dtype = record.map_or_else(|| profile.dtype().unwrap_or_default().on(device), |record| record.plan.dtype);
        let opened = OpenedDecoder::new(&[adapter.to_owned()], None, dtype, device)?;
        let Some((_, adaptation)) = opened.adapters.first() else { bail!("{}: no adapter", adapter.display()) };
        let map = edits::drawing(&opened.loaded, adaptation.as_ref(), prompt, title.to_owned())?;
        Ok(map.figure(name))
    }

    /// Every run of a profile in a line, once what is known of its model is checked. `compared` says whether the model is on this
    /// machine.
    fn dry_run(&self, profile: &FigureProfile, cells: &[FigureRun], compared: bool) -> Result<()> {
        let loaded = compared && profile.model().map(is_small).transpose()?.unwrap_or(false);
        if loaded {
            // The device of the runs may be another machine's.
            let here = |cell: &FigureRun| {
                let plan = RunPlan { device: DeviceSpec(Device::Cpu), ..cell.plan.clone() };
                FigureRun { plan, ..cell.clone() }
            };
            self.check(&cells.iter().map(here).collect::<Vec<_>>(), &mut Session::from_env())?;
        }
        println!("{}", profile.purpose);
        for FigureRun { title, plan, .. } in cells {
            let adapt = serde_json::to_string(&plan.adapt)?;
            let (train, device) = (&plan.train, String::from(plan.device));
            println!(
                "{title} · {} · seed {} · {adapt} · {} epochs, batch {}, lr {} · {} on {device}",
                plan.model,
                plan.seed,
                train.epochs,
                train.batch_size,
                train.lr,
                plan.dtype.name()
            );
        }
        let left = match profile.model() {
            Some(model) if !compared => {
                format!("; {model} is not on this machine: what it cannot do is seen when they begin")
            }
            Some(model) if !loaded => format!("; {model} was not loaded: lengths of texts are seen when they begin"),
            _ => String::new(),
        };
        println!("{} runs, every setting checked{left}", cells.len());
        Ok(())
    }

    /// Refuses runs that their model cannot do, but for those that are complete. The model is loaded once.
    fn check(&self, cells: &[FigureRun], session: &mut Session) -> Result<()> {
        for (number, cell) in cells.iter().enumerate() {
            let checked = self.runner((number, cells.len()), cell).check(&cell.plan, session);
            checked.with_context(|| format!("{}: {}", self.spec.display(), cell.title))?;
        }
        Ok(())
    }

    fn runner(&self, (number, total): (usize, usize), cell: &FigureRun) -> Runner<'_> {
        let (resume, claiming, turn) = (Resume::IfBegun, Claiming::ByRunner, Some((number + 1, total)));
        Runner { root: &self.runs, resume, claiming, title: cell.title.clone(), turn }
    }
}

/// Numbers of a model that is loaded in a moment.
const SMALL: usize = 1 << 28;

/// Whether a model that is on this machine is loaded in a moment.
fn is_small(model: &str) -> Result<bool> {
    Ok(Weights::open(&hub::find_here(model)?.path)?.numbers() <= SMALL)
}

/// An adapter's folder and the one around it, as a part of a file's name: `RUN-adapter`.
fn as_name(adapter: &Path) -> String {
    let names: Vec<String> = adapter.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let last = names[names.len().saturating_sub(2)..].join("-");
    let words = last.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// Writes a figure with what there is to say of it.
fn write(folder: &Path, figure: &Figure, (title, name): (&str, &str), notes: &[String]) -> Result<()> {
    let notes: String = notes.iter().map(|note| format!("- {note}\n")).collect();
    let about = (format!("{name}.md"), format!("**{title}**\n\n{notes}").into_bytes());
    for (name, bytes) in figure.files()?.into_iter().chain([about]) {
        let path = folder.join(name);
        atomic::write(&path, &bytes).with_context(|| format!("{}: cannot be written", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// A record's scores in a line.
fn in_words(record: &Record) -> String {
    let one = |(task, score): (&String, &Score)| match score {
        Score::Timed { added_ms, quartiles_ms: [low, high], plain_ms, .. } => {
            format!("{added_ms:+.2} ms ({low:+.2} to {high:+.2}) of {plain_ms:.0} ms")
        }
        score => format!("{task} {:.3}", score.figure() / 100.0),
    };
    record.scores.iter().map(one).collect::<Vec<_>>().join(", ")
}
