//! `reft import`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use reft_core::adapter_file;
use reft_core::positions::Positions;
use reft_core::rng::Seed;
use tch::{Device, no_grad};

use crate::data::labels::{Labels, SavedLabels};
use crate::interop::ours::LoadedBase;
use crate::interop::{self, ImportSettings, ImportedAdapter};
use crate::run::saved::head_of;
use crate::run::saved_task::SavedTask;
use crate::tasks::TaskId;
use crate::tasks::labelled::LabelledTask;
use crate::train::head::ClassificationHead;
use crate::train::head_file::{self, HeadNote};

/// Arguments of `reft import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder that peft, LLM-Adapters, adapters or pyreft saved
    folder: PathBuf,
    /// The base model [default: the one that the folder names]
    #[arg(long)]
    model: Option<String>,
    /// The folder to write: `adapter/`, which --adapter takes, `head.safetensors` where there is a head, and `origin.json`
    #[arg(long)]
    out: PathBuf,
    /// The tokens that interventions edit, such as f7+l7: pyreft's folders do not say
    #[arg(long)]
    positions: Option<Positions>,
    /// The folder of the adapters library holds a DiReFT and no NoReFT: it does not say
    #[arg(long)]
    direft: bool,
    /// The GLUE task that a classification head was trained on
    #[arg(long)]
    task: Option<TaskId>,
    /// Leave out a classification head
    #[arg(long, conflicts_with = "task")]
    without_head: bool,
}

impl Args {
    /// Reads the folder and writes ours.
    ///
    /// # Errors
    /// When the folder is damaged or holds what is not computed here, or does not fit the model.
    pub fn run(self) -> Result<()> {
        let foreign = interop::read(&self.folder, ImportSettings { positions: self.positions, direft: self.direft })?;
        let kept = SavedTask::find(&self.folder)?.map(|kept| SavedTask { run: None, ..kept });
        let learned = if self.without_head { None } else { self.learned(kept.as_ref()) };
        if !foreign.head.is_empty() && learned.is_none() && !self.without_head {
            bail!(
                "{}: it holds a classification head: give --task with the GLUE task that it was trained on, or --without-head",
                self.folder.display()
            );
        }
        if foreign.head.is_empty() && learned.is_some() {
            bail!(
                "{}: labels were learned, and there is no classification head: export it with its head, or give --without-head",
                self.folder.display()
            );
        }
        if self.without_head && foreign.head.is_empty() {
            eprintln!("{}: there is no classification head to leave out", self.folder.display());
        }
        let named = self.model.clone().or_else(|| foreign.origin.base_model.clone());
        let model =
            named.with_context(|| format!("{}: no base model is named there: give --model", self.folder.display()))?;
        let base = LoadedBase::open(&model).with_context(|| match &self.model {
            Some(_) => "--model".to_owned(),
            None => format!("{}: its base model: give another by --model", self.folder.display()),
        })?;
        let adaptation = base
            .put(|lender| foreign.onto(base.dims(), lender, Device::Cpu))
            .with_context(|| self.folder.display().to_string())?;
        let base_model = base.base_model()?;
        super::fresh_folder(&self.out, |folder| {
            adapter_file::save(&folder.join("adapter"), &base_model, &foreign.spec, adaptation.as_ref())?;
            if let Some((task, labels)) = learned {
                let head = head(&foreign, base.dims().width, labels.as_ref())
                    .with_context(|| self.folder.display().to_string())?;
                let note = HeadNote { task, base_model: base_model.clone(), labels, run: None };
                head_file::save(&folder.join("head.safetensors"), &head, &note)?;
            }
            if let Some(kept) = &kept {
                kept.save(&folder.join("adapter"))?;
            }
            foreign.origin.save(folder)
        })?;
        if kept.is_none() {
            eprintln!(
                "{}: nothing there says what stood around prompts in training: they are given to the model as they are",
                self.folder.display()
            );
        }
        println!(
            "{}: {} of {}, {} trained numbers, for {model}",
            self.out.join("adapter").display(),
            foreign.spec.title(),
            foreign.origin.library,
            adaptation.params().count()
        );
        Ok(())
    }
}

impl Args {
    /// The task that a head was trained on, and its labels: the one that is named, else the one that `reft export` kept.
    fn learned(&self, kept: Option<&SavedTask>) -> Option<(String, Option<SavedLabels>)> {
        if let Some(task) = self.task {
            let labels = task.task().labelled().and_then(LabelledTask::known).map(SavedLabels::from);
            return Some((task.key().to_owned(), labels));
        }
        let kept = kept?;
        Some((kept.tasks.first()?.name(), Some(kept.labels.clone()?)))
    }
}

/// The head as ours: a layer of the model's width, then the scores.
fn head(foreign: &ImportedAdapter, width: i64, labels: Option<&SavedLabels>) -> Result<ClassificationHead> {
    let Some(scores) = foreign.head.get("out_proj.bias") else {
        bail!("its head is none of RoBERTa's form (dense, out_proj): give --without-head");
    };
    let outputs = scores.size()[0];
    if let Some(labels) = labels.map(Labels::from).filter(|labels| labels.outputs() != outputs) {
        bail!("its head has {outputs} outputs, {} are {}: name the right task", labels.describe(), labels.outputs());
    }
    let head = ClassificationHead::new(width, outputs, Seed(0), Device::Cpu);
    for named in head.named() {
        let found = foreign.head.get(&named.name).with_context(|| format!("no tensor `classifier.{}`", named.name))?;
        if found.size() != named.tensor.size() {
            bail!("tensor `classifier.{}` has the shape {:?}: give the right base model", named.name, found.size());
        }
        no_grad(|| named.tensor.shallow_clone().copy_(found));
    }
    Ok(head)
}

/// The head's tensors of a file of ours, in the adapter's folder or beside it; none where there is no file.
///
/// # Errors
/// When it is damaged.
pub(super) fn head_beside(adapter: &Path) -> Result<interop::NamedTensors> {
    let Some(path) = head_of(adapter) else { return Ok(interop::NamedTensors::new()) };
    let bare = |(name, tensor): (String, _)| (name.strip_prefix("classifier.").unwrap_or(&name).to_owned(), tensor);
    Ok(reft_models::weights::read_tensors(&path)?.into_iter().map(bare).collect())
}
