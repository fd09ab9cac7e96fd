//! `reft results`.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::columns::aligned;
use crate::store::entries::{RecordSummary, entries};
use crate::store::record::Record;
use crate::store::{RunId, RunPaths, peft_benchmark};
use crate::train::observe::Metrics;

/// Arguments of `reft results`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep runs whose setting or column has this value, such as train.lr=9e-4 or split=dev; several must all hold
    #[arg(long = "where", value_name = "KEY=VALUE")]
    filters: Vec<String>,
    /// Order by a setting or column, such as train.lr or score
    #[arg(long, value_name = "KEY", default_value = "score")]
    sort: String,
    /// Largest first
    #[arg(long)]
    descending: bool,
    /// Settings shown as further columns, such as adapt.reft.rank
    #[arg(
        long,
        value_name = "KEY",
        value_delimiter = ',',
        default_value = "model,method,dtype,seed,train.lr,train.epochs"
    )]
    show: Vec<String>,
    /// Write all of it as CSV to this file; - for the screen
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a file for each run, in the format of another program, into the folder --out
    #[arg(long, requires = "out", conflicts_with = "csv")]
    format: Option<ResultsFormat>,
    /// The folder for --format
    #[arg(long, value_name = "FOLDER", requires = "format")]
    out: Option<PathBuf>,
    /// Folder of all runs
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
}

/// What another program reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum ResultsFormat {
    /// Result files of peft's method comparison, whose tables take accuracies on test rows
    PeftBenchmark,
}

/// Columns that are no settings.
const COLUMNS: [&str; 6] = ["run", "split", "task", "score", "n", "seconds"];

/// A run's figure on a task.
struct ResultLine<'a> {
    entry: &'a RecordSummary,
    /// As [`COLUMNS`].
    cells: [Value; 6],
    /// The second metric's name and percent.
    second: Option<(&'static str, Value)>,
    /// Rows whose prompts were cut.
    cut: Value,
    /// What the score is measured in.
    unit: Value,
    /// What was trained, as tables print it.
    method: Value,
}

/// The column of what was trained.
const METHOD: &str = "method";

/// The column of rows whose prompts were longer than `data.max_length`, shown where there are some.
const CUT: &str = "cut";

/// The column of what scores are measured in, shown where some are no percent.
const UNIT: &str = "unit";

impl<'a> ResultLine<'a> {
    fn all(entry: &'a RecordSummary) -> Vec<Self> {
        let line = |(task, score): (&String, &crate::store::record::Score)| {
            let cells = [
                entry.id.to_string().into(),
                entry.split.into(),
                task.clone().into(),
                score.figure().into(),
                score.n().into(),
                entry.seconds.into(),
            ];
            let second = score.second().map(|second| (second.metric.key(), (100.0 * second.value).into()));
            Self {
                entry,
                cells,
                second,
                cut: score.cut().into(),
                unit: score.unit().to_string().into(),
                method: entry.method().into(),
            }
        };
        entry.scores.iter().map(line).collect()
    }

    /// A column, a second metric or a setting; null where this run has none of that name.
    fn get(&self, key: &str) -> &Value {
        if let Some(column) = COLUMNS.iter().position(|column| *column == key) {
            return &self.cells[column];
        }
        if key == CUT {
            return &self.cut;
        }
        if key == UNIT {
            return &self.unit;
        }
        if key == METHOD {
            return &self.method;
        }
        match &self.second {
            Some((metric, value)) if *metric == key => value,
            _ => self.entry.setting(key).unwrap_or(&Value::Null),
        }
    }
}

impl Args {
    /// Lists complete runs, a line for each task they scored.
    ///
    /// # Errors
    /// When the folder cannot be read, a key is unknown to every run, or the file cannot be written.
    pub fn run(self) -> Result<()> {
        let (all, damaged) = entries(&self.runs)?;
        for reason in &damaged {
            eprintln!("left out: {reason}");
        }
        let mut lines: Vec<ResultLine<'_>> = all.iter().flat_map(ResultLine::all).collect();
        if lines.is_empty() {
            bail!("{}: no complete run with a score: begin with `reft train` or `reft sweep run`", self.runs.display());
        }
        for filter in &self.filters {
            let Some((key, value)) = filter.split_once('=') else { bail!("--where {filter}: write key=value") };
            known(&lines, key)?;
            lines.retain(|line| same(line.get(key), value));
        }
        known(&lines, &self.sort)?;
        lines.sort_by(|a, b| compare(a.get(&self.sort), b.get(&self.sort)).then(compare(&a.cells[0], &b.cells[0])));
        if self.descending {
            lines.reverse();
        }
        if let (Some(ResultsFormat::PeftBenchmark), Some(out)) = (self.format, &self.out) {
            return peft_benchmark(&self.runs, &lines, out);
        }
        let cut = lines.iter().any(|line| line.cut != 0);
        let second: BTreeSet<&str> = lines.iter().filter_map(|line| Some(line.second.as_ref()?.0)).collect();
        let keys: Vec<&str> = COLUMNS
            .into_iter()
            .chain(lines.iter().any(|line| line.unit != "%").then_some(UNIT))
            .chain(cut.then_some(CUT))
            .chain(second.clone())
            .chain(self.show.iter().map(String::as_str))
            .collect();
        for key in &keys {
            known(&lines, key)?;
        }
        match self.csv {
            None => {
                print!("{}", table(&keys, &second, &lines));
                if cut {
                    println!("cut: rows among n whose prompts were longer than data.max_length and lost their ends");
                }
            }
            Some(path) => {
                let bytes = csv(&keys, &lines)?;
                if path.as_os_str() == "-" {
                    std::io::Write::write_all(&mut std::io::stdout(), &bytes)?;
                } else {
                    crate::atomic::write(&path, &bytes)
                        .with_context(|| format!("{}: cannot be written", path.display()))?;
                }
            }
        }
        Ok(())
    }
}

/// Writes a result file of peft's method comparison for each run that is listed.
fn peft_benchmark(runs: &Path, lines: &[ResultLine<'_>], out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("{}: cannot be created", out.display()))?;
    let ids: BTreeSet<&RunId> = lines.iter().map(|line| &line.entry.id).collect();
    for id in &ids {
        let paths = RunPaths::new(runs, id);
        let Some(record) = Record::find(&paths.record())? else { continue };
        let done = std::fs::metadata(paths.record())?.modified()?;
        let result = peft_benchmark::result(&record, &Metrics::kept(&paths.metrics(), u64::MAX), done);
        let file = out.join(format!("{}.json", peft_benchmark::name(&record).replace('/', "--")));
        let json = serde_json::to_vec_pretty(&result)?;
        if std::fs::read(&file).is_ok_and(|there| there != json) {
            bail!("{}: another file is there: name another folder", file.display());
        }
        crate::atomic::write(&file, &json).with_context(|| format!("{}: cannot be written", file.display()))?;
    }
    println!("{}: {} result files of the runs that were scored", out.display(), ids.len());
    Ok(())
}

/// Refuses a key that no line has; of no lines nothing can be said.
fn known(lines: &[ResultLine<'_>], key: &str) -> Result<()> {
    if lines.is_empty() || COLUMNS.contains(&key) || lines.iter().any(|line| !line.get(key).is_null()) {
        return Ok(());
    }
    bail!("{key}: no run has such a setting: there is {}, and settings such as train.lr", COLUMNS.join(", "))
}

/// Whether a value is the one that a person wrote: 9e-4 is 0.0009.
fn same(value: &Value, written: &str) -> bool {
    match (value.as_f64(), written.parse::<f64>()) {
        (Some(value), Ok(written)) => (value - written).abs() <= 1e-12 * value.abs(),
        _ => text(value) == written,
    }
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => match (a.as_str(), b.as_str()) {
            (Some(a), Some(b)) => a.cmp(b),
            _ => text(a).cmp(&text(b)),
        },
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn table(keys: &[&str], percents: &BTreeSet<&str>, lines: &[ResultLine<'_>]) -> String {
    let heads: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    let cell = |line: &ResultLine<'_>, key: &&str| match (*key, line.get(key).as_f64()) {
        (key, Some(percent)) if key == "score" || percents.contains(key) => format!("{percent:.2}"),
        ("seconds", Some(seconds)) => format!("{seconds:.0}"),
        _ => text(line.get(key)),
    };
    let rows = lines.iter().map(|line| keys.iter().map(|key| cell(line, key)).collect());
    aligned(&std::iter::once(heads).chain(rows).collect::<Vec<_>>())
}

fn csv(keys: &[&str], lines: &[ResultLine<'_>]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(keys)?;
    for line in lines {
        writer.write_record(keys.iter().map(|key| text(line.get(key))))?;
    }
    writer.into_inner().context("the table cannot be put together")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert!(same(&json!(0.0009), "9e-4") && same(&json!(8), "8.0") && same(&json!("f7+l7"), "f7+l7"));
        assert!(!same(&json!(0.0009), "9e-3") && !same(&json!("8a"), "8"));
        assert_eq!(compare(&json!(10), &json!(9.5)), Ordering::Greater);
        assert_eq!(compare(&json!("a"), &json!("b")), Ordering::Less);
    }
}
