//! A trained encoder read back from disk: interventions or weights, and the head, on the base they were trained on.

use anyhow::Result;
use reft_core::adaptation::Adaptation;
use reft_core::adaptations::nothing::NoAdaptation;
use reft_core::adapter_file::SavedAdapter;
use reft_core::rng::Seed;
use tch::Kind;

use super::answers::ClassificationBatch;
use super::rows::scored;
use crate::config::plan::RunPlan;
use crate::data::source::DataSources;
use crate::run::experiment::TaskScore;
use crate::run::saved::{SavedFiles, SavedModel};
use crate::run::session::{LoadedEncoder, base_as_saved, warn_of_precision};
use crate::tasks::labelled::LabelledTask;
use crate::train::classification::Classification;
use crate::train::head::ClassificationHead;
use crate::train::head_file::SavedHead;

/// A trained classifier.
pub struct Classifier {
    loaded: LoadedEncoder,
    adaptation: Box<dyn Adaptation>,
    head: ClassificationHead,
    task: &'static dyn LabelledTask,
}

impl Classifier {
    /// Reads the files onto a model: the given one, or the one that they were trained on.
    ///
    /// # Errors
    /// When a file is missing or damaged, belongs to another model, or the task has another number of classes.
    pub fn open(
        files: &SavedFiles,
        model: Option<&str>,
        plan: &RunPlan,
        task: &'static dyn LabelledTask,
    ) -> Result<Self> {
        let (head_file, device) = (files.head()?, plan.device);
        let adapter = files.adapter.as_deref().map(SavedAdapter::read).transpose()?;
        let saved = SavedHead::read(&head_file)?;
        let loaded = LoadedEncoder::open(model.unwrap_or(&saved.note.base_model.id), plan.dtype, device)?;
        let base = base_as_saved(&saved.note.base_model, &loaded.base)?;
        warn_of_precision(&head_file.display(), &base, saved.check_base(&base)?);
        let adaptation: Box<dyn Adaptation> = match &adapter {
            None => Box::new(NoAdaptation::new(device.0)),
            Some(adapter) => adapter.onto_lent(&base, &loaded.lender(), device.0)?,
        };
        let head = saved.onto(&base, task.key(), task.labels().outputs(), device.0)?;
        if saved.note.task != task.key() {
            eprintln!("{}: the head was trained on {}, not on {}", head_file.display(), saved.note.task, task.key());
        }
        Ok(Self { loaded, adaptation, head, task })
    }
}

impl SavedModel for Classifier {
    /// In the passes that training would have scored the rows in.
    fn score(
        self: Box<Self>,
        plan: &RunPlan,
        sources: &DataSources,
        each: &mut dyn FnMut(TaskScore) -> Result<()>,
    ) -> Result<()> {
        let Self { loaded, adaptation, head, task } = *self;
        let validation = task.validation(plan.data.source, sources, Seed(plan.seed))?;
        let objective = Classification {
            encoder: &loaded.encoder,
            head,
            model_dropout: false,
            label_kind: Kind::Float,
            micro_tokens: plan.train.micro_batch_tokens,
            watch: None,
        };
        let questions = ClassificationBatch { rows: scored(plan, &validation), task, loaded: &loaded, plan };
        each(questions.answer(&objective, adaptation.as_ref())?)
    }
}
