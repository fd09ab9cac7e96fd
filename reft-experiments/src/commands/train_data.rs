//! `reft train --data FILE`: a run from flags instead of a configuration, and what it taught.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use reft_core::adaptation::Mode;
use reft_core::adapter_file::SavedAdapter;
use serde_json::{Map, Value, json};

use crate::config::plan::RunPlan;
use crate::config::read::{LocatedSettings, nest, resolve_at};
use crate::data::own::cells;
use crate::data::row::{Row, limited};
use crate::data::split::Split;
use crate::run::answering::answer;
use crate::run::answering::evaluation::Evaluator;
use crate::run::session::Session;
use crate::score::scoring::ScoringKind;
use crate::store::RunPaths;
use crate::tasks::own::OwnTask;
use crate::tasks::{Task, TaskId};

/// The common keys of a run on a file of examples. `--set` has the others.
#[derive(Debug, clap::Args)]
pub struct DataArgs {
    /// Train on this file instead of a configuration's data: JSON, JSON lines, CSV, TSV, parquet, a folder of them, or a
    /// name below configs/data
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    data: Option<String>,
    /// Base model [default: smollm2]
    #[arg(long, requires = "data", value_parser = crate::config::paths::setting)]
    model: Option<String>,
    /// What the model is given: a column, or a template such as "{{ question }}\n"
    #[arg(long, requires = "data")]
    prompt: Option<String>,
    /// What it learns to say: a column, or a template
    #[arg(long, requires = "data")]
    completion: Option<String>,
    /// The column of conversations, instead of both
    #[arg(long, requires = "data")]
    messages: Option<String>,
    /// What an answer is compared with, if that is not the completion
    #[arg(long, requires = "data")]
    answer: Option<String>,
    /// How answers are scored: exact, contains, {regex: ..}, number, letter, `words_f1`, `rouge_l`, bleu, nll, perplexity, judge
    #[arg(long, requires = "data")]
    score: Option<String>,
    /// Positions that are edited: l1, f7+l7, all, ..
    #[arg(long, requires = "data")]
    positions: Option<String>,
    /// Rank of the edits
    #[arg(long, requires = "data")]
    rank: Option<u32>,
    /// Layers that are edited: all, or [15]
    #[arg(long, requires = "data")]
    layers: Option<String>,
    /// Passes over the rows [default: by their number]
    #[arg(long, requires = "data")]
    epochs: Option<u64>,
    /// Folder for the adapter [default: the run's folder alone]
    #[arg(long, requires = "data", value_name = "DIR")]
    out: Option<PathBuf>,
    /// Show the configuration that the flags stand for, and do nothing
    #[arg(long, requires = "data")]
    print_config: bool,
}

/// Pairs of columns that are taken for prompt and completion.
const CUSTOMARY: [(&str, &str); 5] = [
    ("prompt", "completion"),
    ("question", "answer"),
    ("instruction", "output"),
    ("input", "output"),
    ("prompt", "response"),
];

impl DataArgs {
    /// Whether a run is described by flags.
    pub fn is_given(&self) -> bool {
        self.data.is_some()
    }

    /// Whether the configuration is only to be shown.
    pub fn only_shows(&self) -> bool {
        self.print_config
    }

    /// The name of the data for people who wait.
    pub fn title(&self) -> String {
        let data = self.data.as_deref().unwrap_or_default();
        Path::new(data).file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The configuration that the flags and overrides stand for.
    ///
    /// # Errors
    /// When the file cannot be used, or a value is wrong.
    pub fn written(&self, overrides: &[String], session: &Session) -> Result<LocatedSettings> {
        let data = self.data.as_deref().unwrap_or_default();
        let set = match OwnTask::named(data) {
            Some(known) if !Path::new(data).exists() => {
                known.map_err(anyhow::Error::msg)?;
                Value::String(data.to_owned())
            }
            _ => self.description(data)?,
        };
        let task: TaskId =
            serde_json::from_value(set.clone()).map_err(|error| anyhow::anyhow!("--data {data}: {error}"))?;
        let rows = task.task().rows(crate::tasks::DataKind::Real, &Split::TrainWithoutDev, &session.sources)?.len();
        let (epochs, batch) = pace(rows);
        let few = rows <= FEW;
        let mut reft = Map::from_iter([
            ("intervention".to_owned(), json!("loreft")),
            ("rank".to_owned(), json!(self.rank.unwrap_or(if few { 4 } else { 8 }))),
            (
                "positions".to_owned(),
                json!(self.positions.clone().unwrap_or(if few { "l1" } else { "f7+l7" }.to_owned())),
            ),
        ]);
        if let Some(layers) = &self.layers {
            reft.insert("layers".to_owned(), yaml_value(layers));
        }
        let tree = json!({
            "model": self.model.clone().unwrap_or_else(|| "smollm2".to_owned()),
            "adapt": {"reft": reft},
            "data": {"train": [set.clone()], "eval": [set], "eval_split": "dev"},
            "train": {"epochs": self.epochs.unwrap_or(epochs), "batch_size": batch, "lr": 4e-3},
        });
        let mut written = LocatedSettings { tree, ..LocatedSettings::nothing("the command line") };
        overrides.iter().try_for_each(|text| written.set(text))?;
        Ok(written)
    }

    /// The description of the file by the flags, or by the customary names of its columns.
    fn description(&self, data: &str) -> Result<Value> {
        let mut set = Map::from_iter([("file".to_owned(), json!(data))]);
        let flags = [
            ("prompt", &self.prompt),
            ("completion", &self.completion),
            ("messages", &self.messages),
            ("answer", &self.answer),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                // A shell leaves `\n` as it is.
                set.insert(key.to_owned(), json!(value.replace("\\n", "\n")));
            }
        }
        if let Some(score) = &self.score {
            set.insert("score".to_owned(), yaml_value(score));
        }
        if self.prompt.is_none() && self.messages.is_none() {
            let columns = columns(Path::new(data))?;
            let has = |name: &str| columns.iter().any(|column| column == name);
            let pair = CUSTOMARY.iter().find(|(prompt, completion)| has(prompt) && has(completion));
            match pair {
                _ if has("messages") => {
                    set.insert("messages".to_owned(), json!("messages"));
                }
                Some((prompt, completion)) => {
                    set.insert("prompt".to_owned(), json!(format!("{{{{ {prompt} }}}}\n")));
                    set.entry("completion").or_insert(json!(format!("{{{{ {completion} }}}}")));
                }
                None => bail!(
                    "{data}: none of its columns ({}) are customary names for prompt and completion: give --prompt and \
                     --completion, or --messages",
                    columns.join(", ")
                ),
            }
        }
        Ok(Value::Object(set))
    }

    /// Says what was learned: the dev loss before and after, and three dev prompts answered by the base model and the adapter;
    /// copies the adapter to `--out`.
    ///
    /// # Errors
    /// When the adapter cannot be read or copied, or answering fails.
    pub fn show(&self, plan: &RunPlan, paths: &RunPaths, session: &mut Session) -> Result<()> {
        let loaded = session.load(plan)?;
        let Some(id) = plan.data.eval.first() else { return Ok(()) };
        let (task, adapter) = (id.task(), SavedAdapter::read(&paths.adapter())?);
        let adaptation = adapter.onto(&loaded.base, plan.device.0)?;
        let step = adaptation.begin(Mode::Eval);
        let evaluators = [Evaluator::new(&loaded, None, plan), Evaluator::new(&loaded, Some(step.as_ref()), plan)];
        let rows = task.rows(plan.data.source, &plan.data.eval_split.scored(), &session.sources)?;
        let [before, after] = [&evaluators[0], &evaluators[1]].map(|evaluator| loss(evaluator, task, &rows));
        println!("dev loss: {:.4} before, {:.4} after ({} rows)", before?, after?, rows.len());
        if task.own().is_some_and(|set| set.scoring.kind() != ScoringKind::Likelihood) && !task.judged() {
            let base = answer(&evaluators[0], *id, &rows[..limited(rows.len(), BASE_ROWS)])?;
            println!("the base model, for comparison:");
            if let Some(score) = base.score {
                super::print_score(id.key(), score);
            }
        }
        let shown = &rows[..rows.len().min(3)];
        let [base, adapted] = [&evaluators[0], &evaluators[1]].map(|evaluator| evaluator.generate(task, shown));
        for ((row, base), adapted) in shown.iter().zip(base?.predictions).zip(adapted?.predictions) {
            let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            println!(
                "\nprompt:   {}\n  base:   {}\n  reft:   {}\n  wanted: {}",
                line(&row.instruction),
                line(&base.said),
                line(&adapted.said),
                line(&row.output)
            );
        }
        if let Some(out) = &self.out {
            copy(&paths.adapter(), out)?;
            println!("\nadapter {}: reft generate --adapter {0} \"…\"", out.display());
        }
        Ok(())
    }
}

/// Dev rows that the base model is scored on at most.
const BASE_ROWS: usize = 200;

/// At most so many rows are few: they are seen often, and edited in one position.
const FEW: usize = 50;

/// Epochs and rows of an update for so many rows: about a hundred updates of a few, an epoch of many.
fn pace(rows: usize) -> (u64, usize) {
    match rows {
        0..=FEW => (40, 8),
        51..=500 => (10, 16),
        501..=5000 => (3, 16),
        _ => (1, 32),
    }
}

/// A value as YAML reads it; what is none is a text.
fn yaml_value(text: &str) -> Value {
    let mut written = LocatedSettings::nothing("--set");
    match written.set(&format!("value={text}")) {
        Ok(()) => written.tree["value"].take(),
        Err(_) => nest("value", Value::String(text.to_owned()))["value"].take(),
    }
}

/// The columns of a file, or of the first file of a folder.
fn columns(path: &Path) -> Result<Vec<String>> {
    Ok(cells::columns(&crate::data::own::folder_rows(path)?))
}

/// Mean negative log-likelihood of a completion's token.
fn loss(evaluator: &Evaluator<'_>, task: &dyn Task, rows: &[Row]) -> Result<f64> {
    let answered = evaluator.completions(task, rows)?;
    let by = || answered.predictions.iter().filter_map(|one| one.likelihood.as_ref());
    let tokens: usize = by().map(|by| by.tokens).sum();
    Ok(-by().flat_map(|by| &by.logs).sum::<f64>() / tokens.max(1) as f64)
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let place = to.join(path.file_name().unwrap_or_default());
        crate::atomic::write(&place, &bytes).with_context(|| format!("{}: cannot be written", place.display()))?;
    }
    Ok(())
}

/// The resolved plan of a written configuration.
///
/// # Errors
/// When a value is wrong.
pub fn plan(written: LocatedSettings) -> Result<RunPlan> {
    Ok(resolve_at(written.tree, &written.places)?)
}
