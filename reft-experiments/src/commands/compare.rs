//! `reft compare`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::columns::aligned;
use crate::evaluate::{self, Prediction};
use crate::store::record::Record;
use crate::tables::paired::{Paired, holm};

/// Arguments of `reft compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run: its name or its folder
    a: PathBuf,
    /// Another run that answered the same rows
    b: PathBuf,
    /// Folder of all runs
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
}

impl Args {
    /// Compares the two runs on every task that both scored.
    ///
    /// # Errors
    /// When a run is missing, or they did not answer the same rows.
    pub fn run(self) -> Result<()> {
        let (a, b) = (folder(&self.runs, &self.a), folder(&self.runs, &self.b));
        let (first, second) = (record(&a)?, record(&b)?);
        let tasks: Vec<&String> = first.scores.keys().filter(|task| second.scores.contains_key(*task)).collect();
        if tasks.is_empty() {
            bail!("{} and {}: no task that both scored", a.display(), b.display());
        }
        let paired = tasks.iter().map(|task| paired(&a, &b, task)).collect::<Result<Vec<_>>>()?;
        let probabilities: Vec<f64> = paired.iter().map(Paired::mcnemar).collect();
        let corrected = holm(&probabilities);
        let heads = ["task", "n", "A", "B", "A - B", "95 % interval", "only A", "only B", "p", "p (Holm)"];
        let mut rows = vec![heads.map(str::to_owned).to_vec()];
        for (index, (task, paired)) in tasks.iter().zip(&paired).enumerate() {
            let ((low, high), (only_a, only_b)) = (paired.bootstrap(), paired.discordant());
            rows.push(vec![
                (*task).clone(),
                paired.0.len().to_string(),
                format!("{:.2}", first.scores[*task].percent()),
                format!("{:.2}", second.scores[*task].percent()),
                format!("{:+.2}", paired.difference()),
                format!("{low:+.2} to {high:+.2}"),
                only_a.to_string(),
                only_b.to_string(),
                format!("{:.4}", probabilities[index]),
                format!("{:.4}", corrected[index]),
            ]);
        }
        println!("A {}\nB {}", a.display(), b.display());
        print!("{}", aligned(&rows));
        println!(
            "interval: paired bootstrap over rows, 10,000 resamples; p: McNemar's exact test, corrected over tasks"
        );
        Ok(())
    }
}

/// A run's folder by its path or its name.
fn folder(runs: &Path, run: &Path) -> PathBuf {
    if run.is_dir() { run.to_owned() } else { runs.join(run) }
}

fn record(run: &Path) -> Result<Record> {
    let path = run.join("record.json");
    Record::find(&path)?.with_context(|| format!("{}: no complete run: see `reft results`", path.display()))
}

fn paired(a: &Path, b: &Path, task: &str) -> Result<Paired> {
    let load = |run: &Path| evaluate::load(&run.join(format!("predictions-{task}.jsonl")));
    let (first, second) = (load(a)?, load(b)?);
    let same = |(a, b): (&Prediction, &Prediction)| a.instruction == b.instruction && a.expected == b.expected;
    if first.len() != second.len() || !first.iter().zip(&second).all(same) {
        bail!(
            "{task}: {} and {} did not answer the same rows: compare runs on the same split and rows",
            a.display(),
            b.display()
        );
    }
    Ok(Paired(first.iter().zip(&second).map(|(a, b)| (a.correct, b.correct)).collect()))
}
