//! `reft compare`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::columns::aligned;
use crate::run::prediction::{self, Prediction};
use crate::score::metric::{LabelledPredictions, Metric};
use crate::store::record::{Record, Score};
use crate::tables::paired::{Paired, bootstrap_of, holm};
use crate::tasks::TaskId;
use crate::tasks::labelled::LabelledTask;

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
        let both = first.scores.iter().filter_map(|(task, score)| Some((task, [*score, *second.scores.get(task)?])));
        let compared = both.map(|(task, scores)| Compared::new(&a, &b, task, scores)).collect::<Result<Vec<_>>>()?;
        if compared.is_empty() {
            bail!("{} and {}: no task that both scored", a.display(), b.display());
        }
        let probabilities: Vec<f64> = compared.iter().filter_map(Compared::probability).collect();
        let mut corrected = holm(&probabilities).into_iter();
        let heads = ["task", "n", "A", "B", "A - B", "95 % interval", "only A", "only B", "p", "p (Holm)"];
        let mut rows = vec![heads.map(str::to_owned).to_vec()];
        for task in &compared {
            let corrected = task.probability().and_then(|_| corrected.next());
            rows.push(task.cells(corrected));
        }
        println!("A {}\nB {}", a.display(), b.display());
        print!("{}", aligned(&rows));
        println!(
            "interval: paired bootstrap over rows, 10,000 resamples; p: McNemar's exact test, corrected over tasks"
        );
        for task in compared.iter().filter(|task| task.metric != Metric::Accuracy) {
            println!(
                "{}: A, B and the interval are of {}; p and only are of rows answered rightly",
                task.task, task.metric
            );
        }
        Ok(())
    }
}

/// Two runs on a task.
struct Compared {
    task: String,
    metric: Metric,
    /// A's score and B's.
    scores: [Score; 2],
    /// Rows scored.
    n: usize,
    /// The difference of the metric and its interval, in percent.
    difference: f64,
    interval: (f64, f64),
    /// Right and wrong answers row by row; none where answers are scores.
    paired: Option<Paired>,
}

impl Compared {
    fn new(a: &Path, b: &Path, task: &str, scores: [Score; 2]) -> Result<Self> {
        let id: TaskId = task.parse()?;
        let [first, second] = same_rows(a, b, id)?;
        let verdict = |pair: (&Prediction, &Prediction)| Some((pair.0.correct?, pair.1.correct?));
        let paired: Option<Vec<_>> = first.iter().zip(&second).map(verdict).collect();
        let (n, paired) = (first.len(), paired.map(Paired));
        let metric = id.task().metric();
        let (difference, interval) = match (&paired, id.task().labelled()) {
            (Some(paired), _) if metric == Metric::Accuracy => (paired.difference(), paired.bootstrap()),
            (_, Some(labelled)) => {
                let (first, second) = (answers(labelled, &first, a)?, answers(labelled, &second, b)?);
                let [one, other] = scores.map(Score::percent);
                (one - other, bootstrap_of(metric, &first, &second))
            }
            (_, None) => bail!("{task}: the predictions do not say which answers are right: repeat the runs"),
        };
        Ok(Self { task: task.to_owned(), metric, scores, n, difference, interval, paired })
    }

    fn probability(&self) -> Option<f64> {
        self.paired.as_ref().map(Paired::mcnemar)
    }

    fn cells(&self, corrected: Option<f64>) -> Vec<String> {
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
        let discordant = self.paired.as_ref().map(Paired::discordant);
        let count = |value: Option<u64>| value.map_or("–".to_owned(), |value| value.to_string());
        vec![
            self.task.clone(),
            self.n.to_string(),
            format!("{:.2}", self.scores[0].percent()),
            format!("{:.2}", self.scores[1].percent()),
            format!("{:+.2}", self.difference),
            format!("{:+.2} to {:+.2}", self.interval.0, self.interval.1),
            count(discordant.map(|both| both.0)),
            count(discordant.map(|both| both.1)),
            number(self.probability()),
            number(corrected),
        ]
    }
}

/// What labelled rows are and what they were taken for.
fn answers(task: &dyn LabelledTask, predictions: &[Prediction], run: &Path) -> Result<LabelledPredictions> {
    let pair = |prediction: &Prediction| {
        let known = |name: &str| {
            task.labels()
                .named(name)
                .with_context(|| format!("{}: `{name}` is no label of {}: repeat the run", run.display(), task.key()))
        };
        let right = known(&prediction.expected)?;
        Ok((right, task.labels().taken(&prediction.answer, right)))
    };
    Ok(LabelledPredictions { pairs: predictions.iter().map(pair).collect::<Result<_>>()? })
}

/// A run's folder by its path or its name.
fn folder(runs: &Path, run: &Path) -> PathBuf {
    if run.is_dir() { run.to_owned() } else { runs.join(run) }
}

fn record(run: &Path) -> Result<Record> {
    let path = run.join("record.json");
    Record::find(&path)?.with_context(|| format!("{}: no complete run: see `reft results`", path.display()))
}

/// Both runs' predictions, if they are of the same rows.
fn same_rows(a: &Path, b: &Path, id: TaskId) -> Result<[Vec<Prediction>; 2]> {
    let load = |run: &Path| prediction::load(&run.join(format!("predictions-{}.jsonl", id.key())), id);
    let (first, second) = (load(a)?, load(b)?);
    // Older language models' lines have no `input`.
    let input = |(a, b): (&Prediction, &Prediction)| a.input == b.input || a.input.is_empty() || b.input.is_empty();
    let same = |(a, b): (&Prediction, &Prediction)| {
        a.instruction == b.instruction && a.expected == b.expected && input((a, b))
    };
    if first.len() != second.len() || !first.iter().zip(&second).all(same) {
        bail!(
            "{}: {} and {} did not answer the same rows: compare runs on the same split and rows",
            id.key(),
            a.display(),
            b.display()
        );
    }
    Ok([first, second])
}
