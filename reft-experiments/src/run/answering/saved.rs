//! A causal model read back from disk with adapters that were trained on it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::adapter_file::SavedAdapter;
use reft_core::base_model::BaseModel;
use reft_models::tokenizer::TokenizerVersion;

use super::answer;
use super::evaluation::Evaluator;
use super::rows::scored;
use crate::config::plan::{DeviceSpec, Dtype, RunPlan};
use crate::data::source::DataSources;
use crate::run::experiment::TaskScore;
use crate::run::saved::{OpenError, SavedFiles, SavedModel};
use crate::run::saved_task::{SavedTask, SavedTaskError};
use crate::run::session::{LoadedDecoder, base_as_saved, warn_of_precision};

/// A model with adapters.
pub struct OpenedDecoder {
    /// The model.
    pub loaded: LoadedDecoder,
    /// By the names of their folders.
    pub adapters: Vec<(String, Box<dyn Adaptation>)>,
}

/// What is opened.
pub struct DecoderRequest<'a> {
    /// Folders of adapters.
    pub adapters: &'a [PathBuf],
    /// What all adapters' interventions are multiplied by, where not as they are.
    pub strengths: &'a [f64],
    /// The model; none for the one that the first adapter was trained on.
    pub model: Option<&'a str>,
    /// The chat template; none for the one that the adapters were trained with, else the model's own.
    pub chat_template: Option<&'a str>,
    /// The model's tokenizer; none for the one that the adapters were trained with, else the fast one.
    pub tokenizer: Option<TokenizerVersion>,
    /// Type of the base weights.
    pub dtype: Dtype,
    /// Where it computes.
    pub device: DeviceSpec,
}

impl DecoderRequest<'_> {
    /// The tokenizer that is meant.
    fn tokenizer(&self) -> Result<TokenizerVersion> {
        if let Some(tokenizer) = self.tokenizer {
            return Ok(tokenizer);
        }
        let differ = |first, other| OpenError::TwoTokenizers { first, other };
        Ok(self.agreed(SavedTask::tokenizer_of, differ)?.unwrap_or(TokenizerVersion::Fast))
    }

    /// The chat template that is meant; none for the model's own.
    fn chat_template(&self) -> Result<Option<String>> {
        if let Some(template) = self.chat_template {
            return Ok(Some(template.to_owned()));
        }
        let kept = |path: &Path| Ok(SavedTask::find(path)?.and_then(|task| task.chat_template));
        let differ = |first, other| OpenError::TwoChatTemplates { first, other };
        Ok(self.agreed(kept, differ)?.flatten())
    }

    /// What all adapters were trained with; none without adapters.
    fn agreed<T: PartialEq>(
        &self,
        kept: impl Fn(&Path) -> Result<T, SavedTaskError>,
        differ: impl FnOnce(PathBuf, PathBuf) -> OpenError,
    ) -> Result<Option<T>> {
        let kept = self.adapters.iter().map(|path| kept(path)).collect::<Result<Vec<_>, _>>()?;
        if let Some(at) = kept.iter().position(|other| *other != kept[0]) {
            return Err(differ(self.adapters[0].clone(), self.adapters[at].clone()).into());
        }
        Ok(kept.into_iter().next())
    }
}

impl OpenedDecoder {
    /// The model with these adapters; without a model, the one the first was trained on.
    ///
    /// # Errors
    /// When there is no model, or a file is missing, damaged or of another model.
    pub fn new(adapters: &[PathBuf], model: Option<&str>, dtype: Dtype, device: DeviceSpec) -> Result<Self> {
        Self::open(&DecoderRequest {
            adapters,
            strengths: &[],
            model,
            chat_template: None,
            tokenizer: None,
            dtype,
            device,
        })
    }

    /// The same, by a request.
    ///
    /// # Errors
    /// As for [`OpenedDecoder::new`], or when an adapter has no strength, or other sets of interventions, or adapters were
    /// trained with different tokenizers and none is asked for.
    pub fn open(request: &DecoderRequest<'_>) -> Result<Self> {
        let DecoderRequest { adapters, strengths, model, dtype, device, .. } = *request;
        let read = |path: &PathBuf| -> Result<SavedAdapter> {
            let mut saved = SavedAdapter::read(path)?;
            if !strengths.is_empty() {
                let scaled = saved.config.adapt.with_strengths(strengths);
                saved.config.adapt = scaled.with_context(|| path.display().to_string())?;
            }
            Ok(saved)
        };
        let saved = adapters.iter().map(read).collect::<Result<Vec<_>>>()?;
        let trained_on = saved.first().map(|saved| saved.config.base_model.id.as_str());
        let Some(model) = model.or(trained_on) else {
            return Err(OpenError::NoModel.into());
        };
        let loaded = LoadedDecoder::open(model, dtype, device)?.read_by(request.tokenizer()?)?;
        let loaded = loaded.chatting_by(request.chat_template()?.as_deref());
        let named = |(path, saved): (&PathBuf, &SavedAdapter)| {
            let base = base_as_saved(&saved.config.base_model, &loaded.base)?;
            warn_of_precision(&path.display(), &base, saved.check_base(&base)?);
            Ok((path.display().to_string(), saved.onto_lent(&base, &loaded.lender(), device.0)?))
        };
        let adapters = adapters.iter().zip(&saved).map(named).collect::<Result<Vec<_>>>()?;
        Ok(Self { loaded, adapters })
    }

    /// The model of a plan's tasks: the given one, the one that the adapter was trained on, or the plan's.
    ///
    /// # Errors
    /// As for [`OpenedDecoder::new`], or when a head is named, which no task here has.
    pub fn of_plan(files: &SavedFiles, model: Option<&str>, plan: &RunPlan) -> Result<Self> {
        if files.head.is_some() {
            return Err(OpenError::HeadWithoutLabels(plan.data.eval[0].key()).into());
        }
        let model = model.or_else(|| files.adapter.is_none().then_some(plan.model.as_str()));
        let tokenizer = files.tokenizer.or_else(|| plan.asked_tokenizer());
        let (adapters, dtype, device) = (files.adapter.as_slice(), plan.dtype, plan.device);
        let chat_template = plan.data.chat_template.as_deref();
        Self::open(&DecoderRequest { adapters, strengths: &[], model, chat_template, tokenizer, dtype, device })
    }
}

impl SavedModel for OpenedDecoder {
    fn base(&self) -> &BaseModel {
        &self.loaded.base
    }

    fn score(
        self: Box<Self>,
        plan: &RunPlan,
        sources: &DataSources,
        each: &mut dyn FnMut(TaskScore) -> Result<()>,
    ) -> Result<()> {
        let step = self.adapters.first().map(|(_, adaptation)| adaptation.begin(Mode::Eval));
        let evaluator = Evaluator::new(&self.loaded, step.as_deref(), plan);
        plan.data.eval.iter().try_for_each(|&id| each(answer(&evaluator, id, &scored(plan, id, sources)?)?))
    }
}
