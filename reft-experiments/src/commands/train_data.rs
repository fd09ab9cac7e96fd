//! `reft train --data FILE`: a run from flags instead of a configuration, and what it taught.

mod described;
mod out;
mod shown;

pub use self::out::OutArgs;
pub use self::shown::hint;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use reft_core::interventions::low_rank::{EditStart, LOREFT, LowRank};
use reft_core::suggest::did_you_mean;
use serde_json::{Map, Value, json};

use crate::config::plan::RunPlan;
use crate::config::read::{LocatedSettings, nest, resolve_at};
use crate::data::own::cells::Format;
use crate::data::own::set::{OwnSet, SplitSizes};
use crate::data::source::DataSources;
use crate::data::split::Split;
use crate::run::session::Session;
use crate::tasks::own::OwnTask;
use crate::tasks::{DataKind, TaskId};

/// The common keys of a run on a file of examples. `--set` has the others.
#[derive(Debug, clap::Args)]
pub struct DataArgs {
    /// Train on this file instead of a configuration's data: JSON, JSON lines, CSV, TSV, parquet, a folder of them, or a
    /// name below configs/data
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
    /// Base model [default: smollm2; minilm for rows with labels]
    #[arg(long, value_parser = crate::config::paths::setting)]
    model: Option<String>,
    /// What the model is given: a column, or a template such as "{{ question }}\n"
    #[arg(long)]
    prompt: Option<String>,
    /// What it learns to say: a column, or a template
    #[arg(long)]
    completion: Option<String>,
    /// The column of conversations, instead of both
    #[arg(long)]
    messages: Option<String>,
    /// What an answer is compared with, if that is not the completion
    #[arg(long)]
    answer: Option<String>,
    /// What an encoder reads: a column, or a template
    #[arg(long)]
    text: Option<String>,
    /// The second of two texts
    #[arg(long)]
    pair: Option<String>,
    /// The column of labels: classes, or numbers with --score pearson
    #[arg(long)]
    label: Option<String>,
    /// The classes, separated by commas [default: those of the training rows]
    #[arg(long, value_delimiter = ',')]
    classes: Vec<String>,
    /// What there is to choose from: a column that holds a list; or a template for each, given several times
    #[arg(long)]
    choices: Vec<String>,
    /// File with the chat template of conversations, in place of the model's own
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,
    /// Which turns of conversations are trained on [default: last]
    #[arg(long, value_parser = ["last", "all"])]
    turns: Option<String>,
    /// Rows that are held out, such as dev=0.1,test=200: a part, a number of rows, or the file [default: dev=0.1]
    #[arg(long, value_delimiter = ',', value_name = "SPLIT=ROWS")]
    split: Vec<String>,
    /// How answers are scored: exact, contains, {regex: ..}, {after: ..}, number, letter, choices, `words_f1`, `rouge_l`, bleu,
    /// nll, perplexity, judge; labels: accuracy, `f1_macro`, `f1_micro`, matthews, pearson, spearman
    #[arg(long)]
    score: Option<String>,
    /// Positions that are edited: l1, f7+l7, all, ..
    #[arg(long)]
    positions: Option<String>,
    /// Rank of the edits
    #[arg(long, allow_negative_numbers = true)]
    rank: Option<u32>,
    /// Layers that are edited: all, or [15]
    #[arg(long)]
    layers: Option<String>,
    /// Passes over the rows [default: by their number]
    #[arg(long, allow_negative_numbers = true)]
    epochs: Option<u64>,
    /// Show the configuration that the flags stand for, once its rows are looked at, and train nothing
    #[arg(long)]
    print_config: bool,
}

impl DataArgs {
    /// Whether a run is described by flags.
    pub fn is_given(&self) -> bool {
        self.data.is_some()
    }

    /// Refuses flags of a file of examples beside a configuration, which has keys for them.
    ///
    /// # Errors
    /// With the first of them, and what to write instead.
    pub fn check_beside(&self, config: &Path) -> Result<()> {
        let described = self.described()?;
        let config = config.display();
        if self.data.is_some() {
            bail!("--data and {config} both say what is trained: leave one of them out");
        }
        if self.print_config {
            bail!("--print-config shows what --data and its flags stand for: {config} says it itself");
        }
        match self.with_keys().first() {
            Some((flag, key)) if key.starts_with("adapt.") => bail!(
                "{flag} goes with --data: {config} says what is trained; override it by its key, such as --set {key}=.."
            ),
            Some((flag, key)) => {
                bail!("{flag} goes with --data: {config} says {key}; write --set {key}=.. to override it")
            }
            None => match described.keys().next() {
                Some(key) => bail!("--{key} goes with --data: in {config} the entries of data.train say it"),
                None => Ok(()),
            },
        }
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
                self.check_named(data)?;
                Value::String(data.to_owned())
            }
            None if !is_place(data, &session.sources) => bail!(
                "--data {data}: there is no such file or folder, here or in REFT_DATA, and no configs/data/{data}.yaml{}",
                did_you_mean(data, OwnTask::names().iter().map(String::as_str))
            ),
            _ => self.description(data, &session.sources)?,
        };
        let task: TaskId =
            serde_json::from_value(set.clone()).map_err(|error| anyhow::anyhow!("--data {data}: {error}"))?;
        let rows = task.task().rows(DataKind::Real, &Split::TrainWithoutDev, &session.sources)?.len();
        let sizes = task.task().own().map(|set| set.sizes(&session.sources)).transpose()?;
        if let Some(set) = task.task().own() {
            self.check_split(set, &session.sources)?;
        }
        let setting = if task.task().labelled().is_some() { labelled(rows) } else { answered(rows) };
        let scored = if holds_out(task, sizes.as_ref()) { vec![&set] } else { Vec::new() };
        let mut reft = Map::from_iter([
            ("intervention".to_owned(), setting.intervention()),
            ("rank".to_owned(), json!(self.rank.unwrap_or(setting.rank))),
            ("positions".to_owned(), json!(self.positions.as_deref().unwrap_or(setting.positions))),
        ]);
        if let Some(layers) = &self.layers {
            reft.insert("layers".to_owned(), yaml_value(layers));
        }
        let mut train = json!({
            "epochs": self.epochs.unwrap_or(setting.epochs), "batch_size": setting.batch_size, "lr": setting.lr,
        });
        if task.task().labelled().is_some() {
            train["model_dropout"] = json!(false);
        } else if setting.begins_at_base && !scored.is_empty() {
            train["validation"] = json!({"rows": VALIDATED});
        }
        let mut tree = json!({
            "model": self.model.as_deref().unwrap_or(setting.model),
            "adapt": {"reft": reft},
            "data": {"train": [&set], "eval": scored, "eval_split": "dev"},
            "train": train,
        });
        if let Some(template) = &self.chat_template {
            tree["data"]["chat_template"] = json!(template);
        }
        let mut written = LocatedSettings { tree, ..LocatedSettings::nothing("the command line") };
        let by_flags = written.tree.clone();
        overrides.iter().try_for_each(|text| written.set(text))?;
        self.check_overrides(&by_flags, &written.tree)?;
        if let Some(sizes) = &sizes {
            let most =
                written.tree["data"]["train_rows"].as_u64().filter(|&most| most > 0 && most < sizes.train as u64);
            let limited = most.map_or(String::new(), |most| format!("; data.train_rows takes the first {most}"));
            eprintln!("{}: {sizes}{limited}", task.key());
        }
        Ok(written)
    }

    /// Refuses numbers of rows for splits that files of the folder are by their names.
    fn check_split(&self, set: &OwnSet, sources: &DataSources) -> Result<()> {
        let by_files = set.held_by_files(sources)?;
        let given = |split: &str| self.split.iter().any(|text| text.split('=').next().map(str::trim) == Some(split));
        match by_files.into_iter().find(|split| given(split)) {
            Some(split) => bail!(
                "--split {}: files of {} are its {split} rows by their names: leave {split} out, or rename them",
                self.split.join(","),
                set.spec.file
            ),
            None => Ok(()),
        }
    }

    /// The flags that are given and stand for one key each, with these keys.
    fn with_keys(&self) -> Vec<(&'static str, &'static str)> {
        let flags = [
            ("--model", self.model.is_some(), "model"),
            ("--positions", self.positions.is_some(), "adapt.reft.positions"),
            ("--rank", self.rank.is_some(), "adapt.reft.rank"),
            ("--layers", self.layers.is_some(), "adapt.reft.layers"),
            ("--epochs", self.epochs.is_some(), "train.epochs"),
            ("--chat-template", self.chat_template.is_some(), "data.chat_template"),
        ];
        flags.into_iter().filter(|(_, given, _)| *given).map(|(flag, _, key)| (flag, key)).collect()
    }

    /// Refuses overrides of what a flag says: both cannot be meant.
    fn check_overrides(&self, by_flags: &Value, overridden: &Value) -> Result<()> {
        let value = |settings: &Value, key: &str| settings.pointer(&format!("/{}", key.replace('.', "/"))).cloned();
        let mut flags = self.with_keys();
        flags.push(("--data", "data.train"));
        let lost = flags.iter().find(|(_, key)| value(by_flags, key) != value(overridden, key));
        let Some((flag, key)) = lost else { return Ok(()) };
        let method = overridden["adapt"].as_object().and_then(|adapt| adapt.keys().next());
        match method.filter(|method| key.starts_with("adapt.") && *method != "reft") {
            Some(method) => bail!(
                "{flag} is {key}, and --set chooses {method} instead: leave out {flag}, and set what {method} has"
            ),
            None => bail!("{flag} and --set both say {key}: leave one of them out"),
        }
    }
}

/// Whether some rows of a task are held out of training. An encoder needs some: its epochs are chosen by them.
fn holds_out(task: TaskId, sizes: Option<&SplitSizes>) -> bool {
    let none = |set: &OwnSet| set.spec.split.dev.is_none() && sizes.is_some_and(|sizes| sizes.dev == 0);
    task.task().labelled().is_some() || !task.task().own().is_some_and(none)
}

/// Whether a name may be that of rows: it is there, or says of which kind it is, by its ending or as an id of the hub.
fn is_place(data: &str, sources: &DataSources) -> bool {
    let there = |folder: &Path| folder.join(data).exists();
    data.contains('/')
        || Format::of(Path::new(data)).is_some()
        || there(Path::new(""))
        || sources.folders().into_iter().any(there)
}

/// What a run has where nothing else is said.
struct Setting {
    model: &'static str,
    rank: u32,
    positions: &'static str,
    epochs: u64,
    batch_size: usize,
    lr: f64,
    /// Whether the edits begin at none instead of random ones.
    begins_at_base: bool,
}

impl Setting {
    /// LoReFT.
    fn intervention(&self) -> Value {
        let start = EditStart::Identity;
        if self.begins_at_base { json!({"low_rank": LowRank { start, ..LOREFT }}) } else { json!("loreft") }
    }
}

/// Of a causal model that learns so many rows. A few teach a style by the last token of the prompt, and are seen often enough to undo
/// random edits. Of many, answers may be long, and what edits of a prompt do fades along them: all tokens are edited, and training
/// begins at the base model, which is hard to come back to in so few updates.
fn answered(rows: usize) -> Setting {
    let (epochs, batch_size) = pace(rows);
    let few = rows <= FEW;
    let (rank, positions, lr) = if few { (4, "l1", 4e-3) } else { (8, "all", 1e-3) };
    Setting { model: "smollm2", rank, positions, epochs, batch_size, lr, begins_at_base: !few }
}

/// Of an encoder that learns so many labels: the setting of table 4 for a small encoder.
fn labelled(rows: usize) -> Setting {
    let (epochs, batch_size) = pace(rows);
    Setting { model: "minilm", rank: 8, positions: "prompt", epochs, batch_size, lr: 5e-3, begins_at_base: false }
}

/// At most so many rows are few: they are seen often, and edited in one position.
const FEW: usize = 50;

/// Dev rows that training is validated on after every epoch, at most.
const VALIDATED: usize = 100;

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

/// The resolved plan of a written configuration.
///
/// # Errors
/// When a value is wrong.
pub fn plan(written: LocatedSettings) -> Result<RunPlan> {
    Ok(resolve_at(written.tree, &written.places)?)
}
