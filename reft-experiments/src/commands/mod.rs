//! One file per command of `reft`.

pub mod arguments;
mod as_trained;
pub mod bench;
pub mod chat;
mod chat_model;
pub mod collect;
pub mod compare;
mod conditions;
pub mod das;
pub mod eval;
pub mod export;
pub mod figure;
pub mod generate;
pub mod import;
pub mod inspect;
pub mod judge;
pub mod list;
pub mod new;
mod place;
pub mod predict;
mod processes;
mod prompts;
pub mod push;
pub mod read;
pub mod report;
pub mod results;
pub mod schema;
pub mod sweep;
pub mod table;
pub mod train;
pub mod train_data;
pub mod win_rate;

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};
use reft_core::adapt_config::SpecError;
use reft_core::adaptation::Adaptation;
use reft_models::tokenizer::TokenizerVersion;
use tch::Device;

use self::conditions::Conditions;
use crate::config::chat_template;
use crate::config::dtype::DtypeChoice;
use crate::config::plan::{DeviceSpec, RunPlan};
use crate::config::read::{resolve_at, run_tree};
use crate::run::answering::saved::{DecoderRequest, OpenedDecoder};
use crate::run::session::LoadedDecoder;
use crate::store::record::{Record, Score};
use crate::tables::stored::{self, RunRequest, StoredRun};

/// Which model.
#[derive(Debug, clap::Args)]
pub struct BaseArgs {
    /// Base model: smollm2, a Hugging Face id, a folder or a .gguf file [default: the adapter's]
    #[arg(long, value_parser = crate::config::paths::setting)]
    model: Option<String>,
    /// Type of the base weights: auto (bf16 where its products are fast, else f32), f32, bf16 or f16 [default: the
    /// configuration's where there is one, else auto]
    #[arg(long, value_parser = dtype)]
    dtype: Option<DtypeChoice>,
    /// Which of the model's two tokenizers gives the ids, fast or slow (that of the paper's scripts) [default: the one that the
    /// adapter was trained with, else the configuration's, else fast]
    #[arg(long, value_parser = tokenizer)]
    tokenizer: Option<TokenizerVersion>,
    /// File with a chat template to use in place of the model's own [default: the one that the adapter was trained with, else the
    /// model's]
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,
    /// cpu, cuda or cuda:1 [default: the configuration's where there is one, else cpu]
    #[arg(long, value_parser = device)]
    device: Option<DeviceSpec>,
}

/// Which model, and which adapter on it.
#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    /// Folder of a trained adapter
    #[arg(long)]
    adapter: Option<PathBuf>,
    #[command(flatten)]
    base: BaseArgs,
}

/// A type by its name in configurations, or `auto`.
///
/// # Errors
/// When there is no such type.
pub fn dtype(text: &str) -> Result<DtypeChoice, String> {
    text.parse()
}

fn tokenizer(text: &str) -> Result<TokenizerVersion, String> {
    match text {
        "fast" => Ok(TokenizerVersion::Fast),
        "slow" => Ok(TokenizerVersion::Slow),
        _ => Err("write fast or slow".to_owned()),
    }
}

fn device(text: &str) -> Result<DeviceSpec, String> {
    DeviceSpec::try_from(text.to_owned())
}

impl BaseArgs {
    /// The plan of a configuration, with this type and device over its own, which are then its.
    fn plan(&mut self, config: Option<&Path>, overrides: &[String]) -> Result<RunPlan> {
        let mut written = run_tree(config, overrides)?;
        if let Some(dtype) = self.dtype {
            written.tree["dtype"] = dtype.name().into();
        }
        if let Some(template) = self.chat_template()? {
            written.tree["data"]["chat_template"] = template.into();
        }
        if let Some(device) = self.device {
            written.tree["device"] = String::from(device).into();
        }
        if let Some(tokenizer) = self.tokenizer {
            written.tree["tokenizer"] = serde_json::to_value(tokenizer)?;
        }
        let plan = resolve_at(written.tree, &written.places)?;
        self.tokenizer = self.tokenizer.or_else(|| plan.asked_tokenizer());
        (self.dtype, self.device) = (Some(DtypeChoice::Fixed(plan.dtype)), Some(plan.device));
        Ok(plan)
    }

    /// Refuses a command line without --model, where no adapter names the model.
    fn check_named(&self) -> Result<()> {
        match self.model {
            Some(_) => Ok(()),
            None => bail!("--model: name the base model, such as smollm2"),
        }
    }

    /// The text of the chat template, where one is named.
    fn chat_template(&self) -> Result<Option<String>> {
        let read = |path: &PathBuf| chat_template::read(&path.display().to_string());
        self.chat_template.as_ref().map(read).transpose().map_err(|reason| anyhow!("--chat-template: {reason}"))
    }

    /// The model with these adapters; without a model, the one the first was trained on.
    fn open(&self, adapters: &[PathBuf]) -> Result<OpenedDecoder> {
        self.open_with(adapters, &[])
    }

    /// The same, with the adapters' interventions at these strengths where some are given.
    fn open_with(&self, adapters: &[PathBuf], strengths: &[f64]) -> Result<OpenedDecoder> {
        let device = self.device.unwrap_or(DeviceSpec(Device::Cpu));
        let chat_template = self.chat_template()?;
        let opened = OpenedDecoder::open(&DecoderRequest {
            chat_template: chat_template.as_deref(),
            adapters,
            strengths,
            model: self.model.as_deref(),
            tokenizer: self.tokenizer,
            dtype: self.dtype.unwrap_or_default().on(device),
            device,
        });
        let of_strengths = |error: &Error| !strengths.is_empty() && error.is::<SpecError>();
        opened.map_err(|error| if of_strengths(&error) { error.context("--strength") } else { error })
    }
}

impl ModelArgs {
    /// The model with its adapter, if one is given.
    fn open(&self) -> Result<(LoadedDecoder, Option<Box<dyn Adaptation>>)> {
        let OpenedDecoder { loaded, mut adapters } = self.base.open(self.adapter.as_slice())?;
        Ok((loaded, adapters.pop().map(|(_, adaptation)| adaptation)))
    }
}

/// A template from a command line: a shell leaves `\n` as it is.
fn unescaped(template: &str) -> String {
    template.replace("\\n", "\n")
}

/// Fills a new folder, which is there completely or not at all.
///
/// # Errors
/// When it is there already, cannot be made, or what fills it fails.
fn fresh_folder(out: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if out.exists() {
        bail!("{}: is there already: name another folder", out.display());
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let fresh = tempfile::Builder::new().prefix(".reft-").tempdir_in(parent);
    let fresh =
        fresh.map_err(|error| anyhow!("{}: cannot be made ({}): name another folder", out.display(), error.kind()))?;
    fill(fresh.path())?;
    std::fs::rename(fresh.keep(), out).with_context(|| out.display().to_string())
}

/// A task's score with everything that makes it comparable.
fn score_line(task: &str, score: Score) -> String {
    let cut = match score.cut() {
        0 => String::new(),
        cut => format!("; {cut} of {} rows were cut to data.max_length", score.n()),
    };
    let rows = |n: usize| if n == 1 { "1 row".to_owned() } else { format!("{n} rows") };
    match score {
        Score::Counts { correct, n, .. } => format!("{task}: {:.1} % ({correct} of {n}){cut}", score.figure()),
        Score::Timed { added_ms, quartiles_ms: [low, high], plain_ms, n } => {
            format!(
                "{task}: {added_ms:+.2} ms ({low:+.2} to {high:+.2}) of {plain_ms:.0} ms, median and quartiles of {n} pairs"
            )
        }
        Score::Graded { grade, value, n, .. } if grade.is_loss() => {
            format!("{task}: {value:.4} {grade} on {}{cut}", rows(n))
        }
        Score::Graded { grade, n, second, .. } => {
            let also = second.map_or(String::new(), |also| format!(", {:.2} % {}", 100.0 * also.value, also.grade));
            format!("{task}: {:.2} % {grade}{also} on {}{cut}", score.figure(), rows(n))
        }
        Score::Measured { metric, n, second, .. } => {
            let also = second.map_or(String::new(), |also| format!(", {:.1} % {}", 100.0 * also.value, also.metric));
            format!("{task}: {:.1} % {metric}{also} on {}{cut}", score.figure(), rows(n))
        }
    }
}

fn print_score(task: &str, score: Score) {
    println!("{}", score_line(task, score));
}

/// A record's scores and cost.
fn print_record(record: &Record) {
    println!("{}", Conditions::of(record));
    record.scores.iter().for_each(|(task, &score)| print_score(task, score));
    let cost = record.cost;
    println!(
        "trained {} parameters ({:.4} %) in {:.0} s, scored in {:.0} s, at most {} MiB",
        record.parameters.trainable,
        record.parameters.percent(),
        cost.train_seconds,
        cost.eval_seconds,
        cost.peak_memory_mib
    );
}

/// The runs that the store has, of those that a profile of a table's or a figure's file asks for; damaged records are named.
///
/// # Errors
/// When the store cannot be read, or has none of them.
fn stored_runs(
    runs: &Path,
    wanted: &[RunRequest<'_>],
    (spec, profile): (&Path, &str),
) -> Result<Vec<Option<StoredRun>>> {
    let (found, damaged) = stored::find(runs, wanted)?;
    for reason in damaged {
        eprintln!("left out: {reason}");
    }
    if found.iter().all(Option::is_none) {
        let (runs, spec, count) = (runs.display(), spec.display(), wanted.len());
        bail!("{runs}: none of the {count} runs of {spec}, profile {profile}: leave --stored out to do them");
    }
    Ok(found)
}
