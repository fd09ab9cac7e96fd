//! A trained encoder read back from disk: interventions or weights, and the head, on the base they were trained on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::adaptations::nothing::Nothing;
use reft_core::adapter_file::SavedAdapter;
use reft_core::rng::Seed;
use tch::Kind;

use crate::classify;
use crate::config::plan::{DeviceSpec, Dtype, RunPlan};
use crate::data::labelled;
use crate::data::source::Sources;
use crate::data::too_long::Use;
use crate::session::{LoadedEncoder, base_as_saved, warn_of_precision};
use crate::store::record::Score;
use crate::tasks::Task;
use crate::tasks::glue::Glue;
use crate::train::classification::Classification;
use crate::train::head::Head;
use crate::train::head_file::SavedHead;

/// The files of a trained classifier.
pub struct Files {
    /// The adapter's folder; none where the head alone was trained.
    pub adapter: Option<PathBuf>,
    /// The head's file.
    pub head: PathBuf,
}

impl Files {
    /// The adapter and the head, which lies beside its folder unless a path is given.
    ///
    /// # Errors
    /// When there is nothing to load.
    pub fn new(adapter: Option<PathBuf>, head: Option<PathBuf>) -> Result<Self> {
        let beside = || Some(adapter.as_ref()?.parent().unwrap_or(Path::new("")).join("head.safetensors"));
        let head = head.or_else(beside).context(
            "no classification head: give --adapter with the folder `adapter` of a run, or --head with its head.safetensors \
             where the head alone was trained",
        )?;
        Ok(Self { adapter, head })
    }
}

/// A trained classifier.
pub struct Classifier {
    loaded: LoadedEncoder,
    adaptation: Box<dyn Adaptation>,
    head: Head,
    glue: &'static Glue,
}

impl Classifier {
    /// Reads the files onto a model: the given one, or the one that they were trained on.
    ///
    /// # Errors
    /// When a file is missing or damaged, belongs to another model, or the task has another number of classes.
    pub fn open(
        files: &Files,
        model: Option<&str>,
        (dtype, device): (Dtype, DeviceSpec),
        glue: &'static Glue,
    ) -> Result<Self> {
        let adapter = files.adapter.as_deref().map(SavedAdapter::read).transpose()?;
        let saved = SavedHead::read(&files.head)?;
        let loaded = LoadedEncoder::open(model.unwrap_or(&saved.note.base_model.id), dtype, device)?;
        let base = base_as_saved(&saved.note.base_model, &loaded.base)?;
        warn_of_precision(&files.head.display(), &base, saved.check_base(&base)?);
        let adaptation: Box<dyn Adaptation> = match &adapter {
            None => Box::new(Nothing::new(device.0)),
            Some(adapter) => adapter.onto_lent(&base, &loaded.lender(), device.0)?,
        };
        let head = saved.onto(&base, glue.key(), glue.labels.outputs(), device.0)?;
        if saved.note.task != glue.key() {
            eprintln!("{}: the head was trained on {}, not on {}", files.head.display(), saved.note.task, glue.key());
        }
        Ok(Self { loaded, adaptation, head, glue })
    }

    /// Scores the validation rows that the plan names, in the passes that training would have scored them in; keeps the
    /// answers in a file, if one is given.
    ///
    /// # Errors
    /// When data is missing or damaged, rows may be too long, or the file cannot be written.
    pub fn score(self, plan: &RunPlan, sources: &Sources, out: Option<&Path>) -> Result<Score> {
        let Self { loaded, adaptation, head, glue } = self;
        classify::check_length(plan, &loaded)?;
        let validation = glue.validation(plan.data.source, sources, Seed(plan.seed))?;
        let rows = classify::scored(plan, &validation);
        let target = |row: &_| glue.target(row);
        let max_length = plan.data.max_length;
        let encoded = labelled::encode(rows, glue.key(), target, &loaded.tokenizer, max_length)?;
        if let Some(cut) = classify::cut(glue, Use::Scoring, &encoded, max_length) {
            eprintln!("{cut}");
        }
        let objective = Classification {
            encoder: &loaded.encoder,
            head,
            model_dropout: false,
            label_kind: Kind::Float,
            micro_tokens: plan.train.micro_batch_tokens,
            watch: None,
        };
        let answers = objective.answers(adaptation.begin(Mode::Eval).as_ref(), &encoded.rows)?;
        if let Some(out) = out {
            classify::keep_answers(glue, rows, &answers, out)?;
        }
        Ok(Score::measured(glue.metric, glue.second, &answers, encoded.cut))
    }
}
