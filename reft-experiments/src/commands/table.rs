//! `reft table`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::alpaca_eval::annotations;
use crate::alpaca_eval::win_rate::WinRate;
use crate::config::paths::home;
use crate::run::prediction;
use crate::run::session::Session;
use crate::run::{Claiming, Resume, Runner};
use crate::store::RunPaths;
use crate::store::record::Record;
use crate::tables::notes::notes;
use crate::tables::paper;
use crate::tables::render::FORMATS;
use crate::tables::samples::{SampleAnswers, side_by_side};
use crate::tables::spec::{RowPlan, TableProfile, TableSpec};
use crate::tables::stored::{self, RunRequest};
use crate::tables::table::{ResultsRow, ResultsTable, TableRun};
use crate::tasks::TaskId;

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
        let profile = &spec.profile(&self.profile)?.with(&self.overrides)?;
        let rows = profile.rows()?;
        if self.dry_run {
            return dry_run(profile, &rows);
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
        for format in FORMATS {
            let path = folder.join(format!("{name}.{}", format.extension()));
            write(&path, &format.render(&table))?;
            if format.extension() == "md" {
                println!("{}", format.render(&table));
            }
        }
        if profile.samples > 0 {
            write(&folder.join(format!("{name}-samples.md")), &samples(profile, &rows, &done)?)?;
        }
        judged(profile, &rows, &done, &folder, &name)
    }

    /// Name of the table's files: another one with other settings, so that no table takes the place of another.
    fn file_name(&self) -> String {
        let stem = self.spec.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let plain = |character: char| if character.is_alphanumeric() || character == '.' { character } else { '-' };
        let of_setting = |text: &String| text.chars().map(plain).collect::<String>();
        std::iter::once(stem).chain(self.overrides.iter().map(of_setting)).collect::<Vec<_>>().join("-")
    }

    /// The command that makes this table.
    fn command(&self) -> String {
        let overrides: String = self.overrides.iter().map(|text| format!(" --set '{text}'")).collect();
        let stored = if self.stored { " --stored" } else { "" };
        format!("reft table {} --profile {}{overrides}{stored}", self.spec.display(), self.profile)
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
        let (found, damaged) = stored::find(&self.runs, &wanted)?;
        for reason in damaged {
            eprintln!("left out: {reason}");
        }
        if found.iter().all(Option::is_none) {
            let (runs, table) = (self.runs.display(), self.spec.display());
            bail!(
                "{runs}: none of the {} runs of {table}, profile {}: leave --stored out to do them",
                wanted.len(),
                self.profile
            );
        }
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
        let printed = paper::read(&home(Path::new(&spec.printed)))?;
        let mut table_rows = Vec::new();
        for (row, done) in rows.iter().zip(done) {
            let runs: Vec<TableRun> = done.iter().map(|done| done.run.clone()).collect();
            table_rows.push(ResultsRow::ours(row, &runs, &profile.tasks, spec.statistic));
            let same = |printed: &&paper::PrintedRow| {
                row.model.printed_as.as_ref() == Some(&printed.model) && printed.method == row.method
            };
            table_rows.extend(
                printed.iter().find(same).map(|printed| ResultsRow::printed(printed, &profile.tasks, spec.statistic)),
            );
        }
        let tasks = profile.tasks.iter().map(|task| task.column().to_owned()).collect();
        let records: Vec<&Record> = done.iter().flatten().map(|done| &done.run.record).collect();
        let notes = notes(profile, spec.statistic, &records, &self.command());
        Ok(ResultsTable { title: format!("{}, profile {}", spec.title, self.profile), notes, tasks, rows: table_rows }
            .with_marks())
    }
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
        for id in self.judged().collect::<Vec<_>>() {
            let path = self.paths.annotations(id.key());
            if path.exists() {
                let rate = WinRate::of(&annotations::read(&path)?).with_context(|| path.display().to_string())?;
                self.run.win_rates.insert(id.key().to_owned(), rate.win_rate);
            }
        }
        Ok(())
    }
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
fn judged(
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
fn dry_run(profile: &TableProfile, rows: &[RowPlan]) -> Result<()> {
    println!("{}", profile.purpose);
    for row in rows {
        for run in &row.runs {
            let trained = match (&run.adapt, row.model.dims) {
                (None, _) if run.trains() => "the head alone".to_owned(),
                (None, _) => "nothing trained".to_owned(),
                (Some(adapt), _) if adapt.own_weights() => "the model's own weights".to_owned(),
                (Some(_), None) => "trained parameters: sizes of the model are not in the table's file".to_owned(),
                (Some(adapt), Some(dims)) => {
                    let trained = adapt.trainable(&dims)?;
                    let percent = row.model.parameters.map_or(String::new(), |all| {
                        format!(" ({:.4} % of {all})", 100.0 * trained as f64 / all as f64)
                    });
                    format!("{trained} parameters{percent}")
                }
            };
            let train: Vec<&str> = run.data.train.iter().map(|task| task.key()).collect();
            let settings = run.train;
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
