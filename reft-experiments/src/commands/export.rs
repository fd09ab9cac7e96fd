//! `reft export` and `reft merge`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use reft_models::hub;
use reft_models::weights::Weights;
use serde_json::{Map, Value, json};

use super::import::head_beside;
use crate::config::plan::Dtype;
use crate::data::labels::SavedLabels;
use crate::interop::merge::Merged;
use crate::interop::ours::AdapterOnBase;
use crate::interop::{AdapterOrigin, NamedTensors};
use crate::interop::{model_folder, peft_export, pyreft_export};
use crate::run::saved_task::SavedTask;

/// Arguments of `reft export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An adapter's folder, such as `adapter` of a run
    adapter: PathBuf,
    /// The library that is to load it
    #[arg(long)]
    to: Library,
    /// The folder to write
    #[arg(long)]
    out: PathBuf,
    /// The base model [default: the one that it was trained on]
    #[arg(long)]
    model: Option<String>,
}

/// A library that adapters are written for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Library {
    /// LoRA, DoRA, VeRA, IA3, prefix-tuning
    Peft,
    /// Interventions
    Pyreft,
}

impl Args {
    /// Writes the folder; a head that lies beside the adapter's goes with it.
    ///
    /// # Errors
    /// When the library has no such method, or a file cannot be read or written.
    pub fn run(self) -> Result<()> {
        let ours = AdapterOnBase::open(&self.adapter, self.model.as_deref())?;
        let head = head_beside(&self.adapter)?;
        let origin = AdapterOrigin::beside(&self.adapter)?;
        let task = SavedTask::find(&self.adapter)?;
        super::fresh_folder(&self.out, |folder| {
            let written = match self.to {
                Library::Peft => peft_export::write(&ours, &head, folder),
                Library::Pyreft => pyreft_export::write(&ours, &head, folder),
            };
            written.with_context(|| self.adapter.display().to_string())?;
            // The libraries have no place for what the adapter was trained for and read over the file: `reft import` does not.
            if let Some(task) = &task {
                task.save(folder)?;
            }
            // Nor for its origin; a card of the same fields is what they keep.
            origin.as_ref().map_or(Ok(()), |origin| origin.write_card(folder))
        })?;
        println!("{}: {} of {} tensors", self.out.display(), ours.spec.title(), ours.tensors.len());
        Ok(())
    }
}

/// Arguments of `reft merge`.
#[derive(Debug, clap::Args)]
pub struct MergeArgs {
    /// An adapter's folder, such as `adapter` of a run [default: none, which writes the model as it is: a .gguf file as a folder
    /// that transformers reads]
    adapter: Option<PathBuf>,
    /// The model's folder to write
    #[arg(long)]
    out: PathBuf,
    /// The base model [default: the one that the adapter was trained on]
    #[arg(long)]
    model: Option<String>,
    /// MiB of a file of weights at most
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    shard_mib: u32,
}

impl MergeArgs {
    /// Writes the merged model; a classification head that lies beside the adapter's folder goes into it.
    ///
    /// # Errors
    /// When the adapter cannot be merged, with the reason, or a file cannot be read or written.
    pub fn run(self) -> Result<()> {
        let shard = (self.shard_mib as usize) << 20;
        let Some(adapter) = &self.adapter else {
            let model = self.model.context("name an adapter's folder, or --model for the model as it is")?;
            let weights = Weights::open(&hub::locate(&model)?)?;
            let kind = model_folder::write(&weights, (&NamedTensors::new(), &Map::new()), &self.out, shard)?;
            let dtype = Dtype::of(kind).map_or("another type", Dtype::name);
            println!(
                "{}: {model} in {dtype}, nothing merged; adapters that were trained on {model} go on with that name",
                self.out.display()
            );
            return Ok(());
        };
        let ours = AdapterOnBase::open(adapter, self.model.as_deref())?;
        let merge = || {
            let naming = ours.base.naming()?;
            Merged::new(&ours.spec, &ours.tensors, (&ours.base.weights, naming, ours.base.dims()))
        };
        let mut tensors = merge().with_context(|| adapter.display().to_string())?.tensors();
        let head = head_beside(adapter)?;
        let settings =
            classifier(ours.base.weights.config(), &head, SavedTask::find(adapter)?.and_then(|task| task.labels));
        for (name, tensor) in head {
            tensors.insert(format!("classifier.{name}"), tensor);
        }
        model_folder::write(&ours.base.weights, (&tensors, &settings), &self.out, shard)?;
        println!(
            "{}: {} with {}, {} tensors changed",
            self.out.display(),
            ours.base.id,
            ours.spec.title(),
            tensors.len()
        );
        Ok(())
    }
}

/// What the configuration of a model with this classification head says of it by transformers' keys: its class, its outputs and what
/// they stand for; nothing of a model without a head.
fn classifier(config: &Value, head: &NamedTensors, labels: Option<SavedLabels>) -> Map<String, Value> {
    let Some(outputs) = head.get("out_proj.bias").map(|bias| bias.size()[0]) else { return Map::new() };
    let model_type = config["model_type"].as_str().unwrap_or_default();
    let names = match labels {
        Some(SavedLabels::Classes(names)) => names,
        Some(SavedLabels::Score(_) | SavedLabels::Number) | None => {
            (0..outputs).map(|at| format!("LABEL_{at}")).collect()
        }
    };
    let numbered: Map<String, Value> =
        names.iter().enumerate().map(|(at, name)| (at.to_string(), json!(name))).collect();
    let by_name: Map<String, Value> = names.iter().enumerate().map(|(at, name)| (name.clone(), json!(at))).collect();
    let mut settings =
        Map::from_iter([("id2label".to_owned(), numbered.into()), ("label2id".to_owned(), by_name.into())]);
    if outputs == 1 {
        settings.insert("problem_type".to_owned(), json!("regression"));
    }
    match model_type {
        "roberta" => settings.insert("architectures".to_owned(), json!(["RobertaForSequenceClassification"])),
        "xlm-roberta" => settings.insert("architectures".to_owned(), json!(["XLMRobertaForSequenceClassification"])),
        other => {
            eprintln!(
                "transformers has no {other} with a head of this form (dense, out_proj): it is kept as classifier.*, and a class of \
                 transformers begins another one"
            );
            None
        }
    };
    settings
}
