//! `reft table`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::Runner;
use crate::session::Session;
use crate::store::record::Record;
use crate::tables::paper;
use crate::tables::render::FORMATS;
use crate::tables::spec::{Profile, RowPlan, TableSpec};
use crate::tables::table::{Row, Table};

/// Arguments of `reft table`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The table's file
    spec: PathBuf,
    /// Which of its profiles
    #[arg(long, default_value = "quick")]
    profile: String,
    /// List the runs and check them; run nothing
    #[arg(long)]
    dry_run: bool,
    /// Folder of all runs
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Folder of the tables
    #[arg(long, default_value = "results")]
    results: PathBuf,
}

impl Args {
    /// Does the runs that are missing, then writes the table in every format.
    ///
    /// # Errors
    /// When the table's file is wrong or a run fails; runs that are complete are kept.
    pub fn run(self) -> Result<()> {
        let place = self.spec.display().to_string();
        let spec = TableSpec::read(&self.spec)?;
        let profile = spec.profile(&self.profile, &place)?;
        let rows = profile.rows(&place)?;
        if self.dry_run {
            return dry_run(profile, &rows);
        }
        let name = self.spec.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = self.results.join(&self.profile);
        // Created first: a folder that cannot be written should not be noticed after hours of training.
        std::fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be created", folder.display()))?;
        let table = self.table(&spec, profile, &rows)?;
        for format in FORMATS {
            let path = folder.join(format!("{name}.{}", format.extension()));
            crate::atomic::write(&path, format.render(&table).as_bytes())
                .with_context(|| format!("{}: cannot be written", path.display()))?;
            if format.extension() == "md" {
                println!("{}", format.render(&table));
            }
            eprintln!("wrote {}", path.display());
        }
        Ok(())
    }

    fn table(&self, spec: &TableSpec, profile: &Profile, rows: &[RowPlan]) -> Result<Table> {
        let printed = paper::read(Path::new(&spec.printed))?;
        let mut session = Session::from_env();
        let (mut table_rows, mut all) = (Vec::new(), Vec::new());
        let total: usize = rows.iter().map(|row| row.runs.len()).sum();
        for row in rows {
            let mut records = Vec::new();
            for run in &row.runs {
                let number = all.len() + records.len() + 1;
                let title = format!("[{number}/{total}] {} {} seed {}", row.model.name, row.method, run.seed);
                let (record, _) = Runner { root: &self.runs, resume: true, title }.execute(run, &mut session)?;
                records.push(record);
            }
            table_rows.push(Row::ours(row, &records, &profile.tasks));
            let same = |printed: &&paper::PrintedRow| {
                row.model.printed_as.as_ref() == Some(&printed.model) && printed.method == row.method
            };
            table_rows.extend(printed.iter().find(same).map(|printed| Row::printed(printed, &profile.tasks)));
            all.extend(records);
        }
        let tasks = profile.tasks.iter().map(|task| task.key().to_owned()).collect();
        let notes = self.notes(profile, &all);
        Ok(Table { title: format!("{}, profile {}", spec.title, self.profile), notes, tasks, rows: table_rows }
            .with_marks())
    }

    /// What the figures depend on.
    fn notes(&self, profile: &Profile, records: &[Record]) -> Vec<String> {
        let Some(record) = records.last() else { return Vec::new() };
        let plan = &record.plan;
        let counts: Vec<String> = record.scores.iter().map(|(task, score)| format!("{task} {}", score.n)).collect();
        let seeds = profile.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let seconds: f64 = records.iter().map(|record| record.cost.train_seconds + record.cost.eval_seconds).sum();
        let device = String::from(plan.device);
        vec![
            format!("{}; accuracy in %, mean ± sample standard deviation over n seeds ({seeds})", profile.purpose),
            format!("{} rows scored: {}", plan.data.source, counts.join(", ")),
            format!(
                "base weights {}, interventions f32, device {device}, {} threads; runs took {:.0} s together",
                plan.dtype.name(),
                record.environment.threads,
                seconds
            ),
            format!(
                "code {} (git {}), data {}, weights {}",
                record.environment.code_hash,
                record.environment.git_revision,
                record.environment.data_fingerprint,
                record.environment.weights_fingerprint
            ),
            format!("made by `reft table {} --profile {}`", self.spec.display(), self.profile),
        ]
    }
}

/// Every run of a profile in a line, with the number of trained parameters by formula.
fn dry_run(profile: &Profile, rows: &[RowPlan]) -> Result<()> {
    println!("{}", profile.purpose);
    for row in rows {
        for run in &row.runs {
            let trained = match (&run.adapt, row.model.dims) {
                (None, _) => "nothing trained".to_owned(),
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
                "{} ({}) · {} · seed {} · {} · train on {} {}, {} epochs, batch {}, lr {} · {} on {}",
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
                run.dtype.name(),
                String::from(run.device)
            );
        }
    }
    let runs: usize = rows.iter().map(|row| row.runs.len()).sum();
    println!("{runs} runs, every setting checked");
    Ok(())
}
