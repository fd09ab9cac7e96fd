//! `reft table`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::stored_runs;
use crate::config::paths::home;
use crate::run::model_dims::ModelDims;
use crate::run::prediction;
use crate::run::session::Session;
use crate::run::{Claiming, Resume, Runner};
use crate::store::RunPaths;
use crate::store::record::Record;
use crate::tables::cost::{CostRow, CostTable};
use crate::tables::judged;
use crate::tables::methods::Methods;
use crate::tables::notes::{notes, training_differs};
use crate::tables::paper;
use crate::tables::render::{FORMATS, Renderer};
use crate::tables::samples::{SampleAnswers, side_by_side};
use crate::tables::spec::{RowPlan, TableProfile, TableSpec};
use crate::tables::stored::{self, RunRequest};
use crate::tables::table::{ResultsRow, ResultsTable, TableRun, title};
use crate::tasks::TaskId;
use crate::train::observe::Metrics;

/// Arguments of `reft table`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The table's file
    spec: PathBuf,
    /// Which of its profiles
    #[arg(long, default_value = "quick")]
    profile: String,
    /// Override a setting of every run: --set train.parity=pyreft. The table's files then have it in their names
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Methods that have a row: all, or names such as LoRA,DoRA [default: those that the file does not keep for asking]
    #[arg(long)]
    methods: Option<Methods>,
    /// Make a second table of what the rows cost: trained parameters, bytes, seconds, memory
    #[arg(long, conflicts_with = "dry_run")]
    cost: bool,
    /// List the runs and check them; run nothing
    #[arg(long)]
    dry_run: bool,
    /// Make the table from runs that are complete; run nothing and load no model. Runs that are missing are named
    #[arg(long, conflicts_with = "dry_run")]
    stored: bool,
    /// Folder of all runs
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Folder of the tables
    #[arg(long, default_value = "results")]
    results: PathBuf,
}

impl Args {
    /// Whether this process runs a model.
    pub fn computes(&self) -> bool {
        !self.dry_run && !self.stored
    }

    /// Does the runs that are missing, then writes the table in every format.
    ///
    /// # Errors
    /// When the table's file is wrong or a run fails; runs that are complete are kept.
    pub fn run(self) -> Result<()> {
        let spec = TableSpec::read(&self.spec)?;
        let profile = &spec.profile(&self.profile)?.with(&self.overrides)?.choosing(&self.methods())?;
        let rows = profile.rows()?;
        let mut models = ModelDims::default();
        if !self.stored {
            for (row, run) in rows.iter().flat_map(|row| row.runs.iter().map(move |run| (row, run))) {
                let named = || format!("{}: {}, {}", self.spec.display(), row.model.name, row.method);
                models.check(run).with_context(named)?;
            }
        }
        if self.dry_run {
            return dry_run(profile, &rows, &mut models);
        }
        let name = self.file_name();
        let folder = self.results.join(&self.profile);
        // Created first: a folder that cannot be written should not be noticed after hours of training.
        std::fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be created", folder.display()))?;
        let (mut done, about) = if self.stored { self.stored(&rows)? } else { (self.runs(&rows)?, Vec::new()) };
        for runs in &mut done {
            runs.iter_mut().try_for_each(CompleteRun::read_judgements)?;
        }
        let mut table = self.table(&spec, profile, &rows, &done)?;
        table.notes.extend(about);
        put(&folder, &name, |format| format.render(&table))?;
        if self.cost {
            let costs = self.costs(&spec, &rows, &done);
            put(&folder, &format!("{name}-cost"), |format| format.cost(&costs))?;
        }
        if profile.samples > 0 {
            write(&folder.join(format!("{name}-samples.md")), &samples(profile, &rows, &done)?)?;
        }
        outputs(profile, &rows, &done, &folder, &name)
    }

    fn methods(&self) -> Methods {
        self.methods.clone().unwrap_or(Methods::Usual)
    }

    /// Name of the table's files: another one with other settings or methods, so that no table takes the place of another.
    fn file_name(&self) -> String {
        let stem = self.spec.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let plain = |character: char| if character.is_alphanumeric() || character == '.' { character } else { '-' };
        let plain = |text: &String| text.chars().map(plain).collect::<String>();
        let further = self.overrides.iter().cloned().chain(self.methods().label());
        std::iter::once(stem).chain(further.map(|text| plain(&text))).collect::<Vec<_>>().join("-")
    }

    /// The command that makes this table.
    fn command(&self) -> String {
        let overrides: String = self.overrides.iter().map(|text| format!(" --set '{text}'")).collect();
        let methods = self.methods().written().map_or(String::new(), |names| format!(" --methods '{names}'"));
        let stored = if self.stored { " --stored" } else { "" };
        format!("reft table {} --profile {}{overrides}{methods}{stored}", self.spec.display(), self.profile)
    }

    /// The runs of every row, those that are missing done now.
    fn runs(&self, rows: &[RowPlan]) -> Result<Vec<Vec<CompleteRun>>> {
        let mut session = Session::from_env();
        let (mut number, total) = (0, rows.iter().map(|row| row.runs.len()).sum::<usize>());
        let mut of_row = |row: &RowPlan| {
            let mut runs = Vec::new();
            for run in &row.runs {
                number += 1;
                let title = format!("{} {} seed {}", row.model.name, row.method, run.seed);
                let (resume, claiming, turn) = (Resume::IfBegun, Claiming::ByRunner, Some((number, total)));
                let runner = Runner { root: &self.runs, resume, claiming, title, turn };
                let (record, paths) = runner.execute(run, &mut session)?;
                runs.push(CompleteRun { run: TableRun { record, win_rates: BTreeMap::new() }, paths });
            }
            Ok(runs)
        };
        rows.iter().map(&mut of_row).collect()
    }

    /// The runs of every row that the store has, and what is to be said about them and the others.
    fn stored(&self, rows: &[RowPlan]) -> Result<(Vec<Vec<CompleteRun>>, Vec<String>)> {
        let wanted: Vec<RunRequest<'_>> = rows.iter().flat_map(RunRequest::of_row).collect();
        let found = stored_runs(&self.runs, &wanted, (&self.spec, &self.profile))?;
        let notes = stored::notes(rows, &found);
        let mut found = found.into_iter();
        let done = |stored: stored::StoredRun| CompleteRun {
            run: TableRun { record: stored.record, win_rates: BTreeMap::new() },
            paths: stored.paths,
        };
        let of_row = |row: &RowPlan| found.by_ref().take(row.runs.len()).flatten().map(done).collect();
        Ok((rows.iter().map(of_row).collect(), notes))
    }

    fn table(
        &self,
        spec: &TableSpec,
        profile: &TableProfile,
        rows: &[RowPlan],
        done: &[Vec<CompleteRun>],
    ) -> Result<ResultsTable> {
        let printed = spec.printed(home)?;
        let mut table_rows: Vec<ResultsRow> =
            spec.guessing.then(|| ResultsRow::guessing(&profile.tasks)).into_iter().collect();
        for (row, done) in rows.iter().zip(done) {
            let runs: Vec<TableRun> = done.iter().map(|done| done.run.clone()).collect();
            table_rows.push(ResultsRow::ours(row, &runs, &profile.tasks, spec.statistic));
            let same = |printed: &&paper::PrintedRow| {
                row.model.printed_as.as_ref() == Some(&printed.model) && row.printed.contains(&printed.method)
            };
            let beside = printed.iter().filter(same);
            table_rows.extend(beside.map(|printed| ResultsRow::printed(printed, &profile.tasks, spec.statistic)));
        }
        let tasks = profile.tasks.iter().map(|&task| title(task)).collect();
        let records: Vec<&Record> = done.iter().flatten().map(|done| &done.run.record).collect();
        let mut notes = notes(profile, spec.statistic, &records, &self.command());
        if spec.guessing && !notes.is_empty() {
            notes.insert(1, "guessing: answers drawn at random, all options of a row alike".to_owned());
        }
        notes.extend(training_differs(rows));
        notes.extend(unlearned(done));
        Ok(ResultsTable { title: format!("{}, profile {}", spec.title, self.profile), notes, tasks, rows: table_rows }
            .with_marks())
    }

    fn costs(&self, spec: &TableSpec, rows: &[RowPlan], done: &[Vec<CompleteRun>]) -> CostTable {
        let of_row = |(row, done): (&RowPlan, &Vec<CompleteRun>)| {
            let records: Vec<&Record> = done.iter().map(|done| &done.run.record).collect();
            CostRow::of(row, &records)
        };
        let rows = rows.iter().zip(done).map(of_row).collect();
        CostTable::new(format!("{}, profile {}: cost", spec.title, self.profile), rows, &self.command())
    }
}

/// Runs whose every update was in the warm-up, in words; nothing when there are none.
fn unlearned(done: &[Vec<CompleteRun>]) -> Option<String> {
    let idle = done.iter().flatten().filter(|done| Metrics::all_at_rate_0(&done.paths.metrics())).count();
    let runs: usize = done.iter().map(Vec::len).sum();
    (idle > 0).then(|| {
        format!(
            "{idle} of {runs} runs learned nothing: every update was in the warm-up, at rate 0; train more updates, or without \
             train.warmup_ratio"
        )
    })
}

/// A complete run and its files.
struct CompleteRun {
    run: TableRun,
    paths: RunPaths,
}

impl CompleteRun {
    /// Tasks whose answers are to be judged.
    fn judged(&self) -> impl Iterator<Item = TaskId> {
        self.run.record.plan.data.eval.iter().copied().filter(|id| id.task().judged())
    }

    /// What judges said so far about its answers.
    fn read_judgements(&mut self) -> Result<()> {
        self.run.win_rates = judged::win_rates(&self.run.record, &self.paths)?;
        Ok(())
    }
}

/// Writes a table in every format and prints it.
fn put(folder: &Path, name: &str, render: impl Fn(&dyn Renderer) -> String) -> Result<()> {
    for &format in FORMATS {
        let text = render(format);
        write(&folder.join(format!("{name}.{}", format.extension())), &text)?;
        if format.extension() == "md" {
            println!("{text}");
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    crate::atomic::write(path, text.as_bytes()).with_context(|| format!("{}: cannot be written", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

/// Whether a run kept a file; said if not. Of a run that was done elsewhere the record may be all there is.
fn is_there(path: &Path) -> bool {
    let there = path.exists();
    if !there {
        eprintln!("left out: {} is not there", path.display());
    }
    there
}

/// The first seed's answers of every row, side by side.
fn samples(profile: &TableProfile, rows: &[RowPlan], done: &[Vec<CompleteRun>]) -> Result<String> {
    let mut parts = Vec::new();
    for task in &profile.tasks {
        let mut systems = Vec::new();
        for (row, runs) in rows.iter().zip(done) {
            // The labelled tasks of a row have a run each.
            let of_first = |done: &&CompleteRun| {
                let plan = &done.run.record.plan;
                row.runs.first().is_some_and(|run| run.seed == plan.seed) && plan.data.eval.contains(task)
            };
            let Some(first) = runs.iter().find(of_first) else { continue };
            let system = format!("{} {}", row.model.name, row.method);
            let path = first.paths.predictions(task.key());
            if is_there(&path) {
                systems.push(SampleAnswers { system, predictions: prediction::load(&path, *task)? });
            }
        }
        parts.push(side_by_side(task.key(), &systems, profile.samples));
    }
    Ok(parts.join("\n"))
}

/// Puts the outputs of judged tasks beside the table, and says how to have them judged where that was not done.
fn outputs(
    profile: &TableProfile,
    rows: &[RowPlan],
    done: &[Vec<CompleteRun>],
    folder: &Path,
    name: &str,
) -> Result<()> {
    let mut missing = Vec::new();
    for (row, done) in rows.iter().zip(done).flat_map(|(row, done)| done.iter().map(move |done| (row, done))) {
        for id in done.judged() {
            let from = done.paths.outputs(id.key());
            if !is_there(&from) {
                continue;
            }
            let run = format!("{name} outputs {} {} seed {}", row.model.name, row.method, done.run.record.plan.seed);
            let to = folder.join(format!("{}.json", run.replace([' ', '/'], "-")));
            let bytes = std::fs::read(&from).with_context(|| format!("{}: cannot be read", from.display()))?;
            crate::atomic::write(&to, &bytes).with_context(|| format!("{}: cannot be written", to.display()))?;
            if !done.run.win_rates.contains_key(id.key()) {
                missing.push((from, done.paths.annotations(id.key())));
            }
        }
    }
    if let Some((outputs, annotations)) = missing.first() {
        println!(
            "No judge was configured: {} of {} rows have answers but no win rate. To have them judged, for each:\n  reft judge \
             --outputs {} --reference REFERENCE.json --judge-model NAME --out {}\nthen make the table again.",
            missing.len(),
            done.iter().flatten().count() * profile.tasks.len(),
            outputs.display(),
            annotations.display()
        );
    }
    Ok(())
}

/// Every run of a profile in a line, with the number of trained parameters by formula.
fn dry_run(profile: &TableProfile, rows: &[RowPlan], models: &mut ModelDims) -> Result<()> {
    println!("{}", profile.purpose);
    for row in rows {
        for run in &row.runs {
            let dims = row.model.dims.map_or_else(|| models.of(&run.model), |dims| Ok(Some(dims)))?;
            let trained = match (&run.adapt, dims) {
                (None, _) if run.trains() => "the head alone".to_owned(),
                (None, _) => "nothing trained".to_owned(),
                (Some(adapt), _) if adapt.own_weights() => "the model's own weights".to_owned(),
                (Some(_), None) => {
                    "trained parameters: the model is not on this machine, nor are its sizes in the table's file"
                        .to_owned()
                }
                (Some(adapt), Some(dims)) => {
                    let trained = adapt.trainable(&dims)?;
                    let percent = row.model.parameters.map_or(String::new(), |all| {
                        format!(" ({:.4} % of {all})", 100.0 * trained as f64 / all as f64)
                    });
                    format!("{trained} parameters{percent}")
                }
            };
            let train: Vec<&str> = run.data.train.iter().map(|task| task.key()).collect();
            let settings = &run.train;
            println!(
                "{} ({}) · {} · seed {} · {} · train on {} {}, {} epochs, batch {}, lr {}, decay {}{} · {} on {}",
                row.model.name,
                row.model.model,
                row.method,
                run.seed,
                trained,
                run.data.source,
                train.join("+"),
                settings.epochs,
                settings.batch_size,
                settings.lr,
                settings.weight_decay,
                if settings.parity.any() { format!(", as {}", settings.parity.describe()) } else { String::new() },
                run.dtype.name(),
                String::from(run.device)
            );
        }
    }
    let runs: usize = rows.iter().map(|row| row.runs.len()).sum();
    println!("{runs} runs, every setting checked");
    Ok(())
}
