//! A trained encoder read back from disk: interventions or weights, and the head, on the base they were trained on.

use std::path::Path;

use anyhow::{Context, Result, bail};
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::adaptations::nothing::NoAdaptation;
use reft_core::adapter_file::SavedAdapter;
use reft_core::base_model::BaseModel;
use reft_core::rng::Seed;
use reft_models::encoder::Encoder;
use tch::Kind;

use super::answers::Reader;
use super::rows::{check_held, scored};
use crate::config::plan::RunPlan;
use crate::data::labels::{Labels, SavedLabels};
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::too_long::{RowUse, TooLong};
use crate::run::experiment::TaskScore;
use crate::run::saved::{SavedFiles, SavedModel};
use crate::run::saved_task::SavedTask;
use crate::run::session::{LoadedEncoder, base_as_saved, warn_of_precision};
use crate::score::scoring::ScoringKind;
use crate::tasks::labelled::LabelledTask;
use crate::train::classification::{Classification, Taken};
use crate::train::head::ClassificationHead;
use crate::train::head_file::{HeadNote, SavedHead};

/// A trained classifier.
pub struct Classifier {
    loaded: LoadedEncoder,
    adaptation: Box<dyn Adaptation>,
    head: ClassificationHead,
    labels: Labels,
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
        if let Some(adapter) = &files.adapter {
            check_run(adapter, &head_file, &saved.note, files.head.is_some())?;
        }
        if let (Some(own), Some(kept)) = (task.own(), saved.note.labels.as_ref())
            && matches!(kept, SavedLabels::Classes(_)) != (own.scoring.kind() == ScoringKind::Classes)
        {
            let (head, trained) = (head_file.display(), &saved.note.task);
            bail!(
                "{head}: the head was trained on {trained}, whose labels are of another kind: take the adapter's own head"
            );
        }
        let labels = labels(task, saved.note.labels.as_ref()).with_context(|| head_file.display().to_string())?;
        let head = saved.onto(&base, task.key(), labels.outputs(), device.0)?;
        if saved.note.task != task.key() {
            eprintln!("{}: the head was trained on {}, not on {}", head_file.display(), saved.note.task, task.key());
        }
        Ok(Self { loaded, adaptation, head, labels, task })
    }

    /// The model below it.
    pub fn base(&self) -> &BaseModel {
        &self.loaded.base
    }

    /// What its outputs stand for.
    pub fn labels(&self) -> Labels {
        self.labels
    }

    /// What rows are taken for whose labels may be unknown, in the passes that training would have scored them in; and those
    /// whose texts were cut.
    ///
    /// # Errors
    /// When a text cannot be encoded or is too long, interventions overlap, or the model's scores are not finite.
    pub fn taken(self, rows: &[Row], plan: &RunPlan) -> Result<(Vec<Taken>, Option<TooLong>)> {
        let Self { loaded, adaptation, head, labels, task } = self;
        let reader = Reader { task: task.key(), labels, loaded: &loaded, max_length: plan.data.max_length };
        let target = |row: &Row| labels.target(&row.answer).unwrap_or(labels.placeholder());
        let (encoded, too_long) = reader.encode_as(rows, RowUse::Scoring, target)?;
        let objective = objective(&loaded.encoder, head, plan);
        Ok((objective.taken(adaptation.begin(Mode::Eval).as_ref(), &encoded.rows)?, too_long))
    }
}

/// Refuses a head of another run than the adapter's; one that was named by hand is used, and it is said.
fn check_run(adapter: &Path, head: &Path, note: &HeadNote, named: bool) -> Result<()> {
    let run = SavedTask::find(adapter)?.and_then(|task| task.run).map(|run| run.to_string());
    let (Some(run), Some(other)) = (run, note.run.as_ref()) else { return Ok(()) };
    if run == *other {
        return Ok(());
    }
    let what =
        format!("{}: the head was trained by run {other}, the adapter {} by {run}", head.display(), adapter.display());
    if !named {
        bail!("{what}: copy the adapter's own head there");
    }
    eprintln!("{what}");
    Ok(())
}

/// What the outputs of a head stand for: what the task says, else what was kept with the head.
fn labels(task: &dyn LabelledTask, kept: Option<&SavedLabels>) -> Result<Labels> {
    match (task.known(), kept.map(Labels::from)) {
        (Some(known @ Labels::Classes(names)), Some(kept @ Labels::Classes(trained)))
            if names != trained && names.len() == trained.len() && task.own().is_some() =>
        {
            bail!("the head was trained on {}, not on {}: list the same", kept.describe(), known.describe())
        }
        (Some(known), _) | (None, Some(known)) => Ok(known),
        (None, None) => bail!("the head does not say which classes it was trained on: train it anew"),
    }
}

/// The head over its encoder, to be asked.
fn objective<'a>(encoder: &'a Encoder, head: ClassificationHead, plan: &RunPlan) -> Classification<'a> {
    let (label_kind, micro_tokens) = (Kind::Float, plan.train.micro_batch_tokens);
    Classification { encoder, head, model_dropout: false, label_kind, micro_tokens, watch: None }
}

impl SavedModel for Classifier {
    fn base(&self) -> &BaseModel {
        Self::base(self)
    }

    /// In the passes that training would have scored the rows in.
    fn score(
        self: Box<Self>,
        plan: &RunPlan,
        sources: &DataSources,
        each: &mut dyn FnMut(TaskScore) -> Result<()>,
    ) -> Result<()> {
        let Self { loaded, adaptation, head, labels, task } = *self;
        let validation = task.validation(plan.data.source, sources, Seed(plan.seed))?;
        check_held(plan, task, &validation)?;
        let rows = scored(plan, &validation);
        if let Some(row) = rows.iter().find(|row| labels.target(&row.answer).is_none()) {
            let (key, known) = (task.key(), labels.describe());
            bail!("{key}: the label `{}` is none of {known}, which the head was trained on", row.answer);
        }
        let objective = objective(&loaded.encoder, head, plan);
        let (task, max_length) = (task.key(), plan.data.max_length);
        let reader = Reader { task, labels, loaded: &loaded, max_length };
        each(reader.answer(plan.data.eval[0], rows, &objective, adaptation.as_ref())?)
    }
}
