//! What was trained, read back from disk onto the model that it was trained on.

use std::path::{Path, PathBuf};

use anyhow::Result;
use reft_core::base_model::BaseModel;
use reft_models::tokenizer::TokenizerVersion;

use super::experiment::TaskScore;
use crate::config::plan::RunPlan;
use crate::data::source::DataSources;

/// The file of a head.
const HEAD: &str = "head.safetensors";

/// The files of a run.
pub struct SavedFiles {
    /// The adapter's folder; none where a head alone was trained, or nothing.
    pub adapter: Option<PathBuf>,
    /// The head's file, if one is named.
    pub head: Option<PathBuf>,
    /// The model's tokenizer; none for the plan's, or the one that the adapter was trained with.
    pub tokenizer: Option<TokenizerVersion>,
}

impl SavedFiles {
    /// The head's file: in the adapter's folder or beside it, unless another is named.
    ///
    /// # Errors
    /// When neither is there.
    pub fn head(&self) -> Result<PathBuf, OpenError> {
        let of_adapter = || {
            let folder = self.adapter.as_ref()?;
            let inside = folder.join(HEAD);
            Some(if inside.exists() { inside } else { folder.parent().unwrap_or(Path::new("")).join(HEAD) })
        };
        self.head.clone().or_else(of_adapter).ok_or(OpenError::NoHead)
    }
}

/// What was trained cannot be opened for what is asked of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither a model nor an adapter, which would name one.
    #[error("no model: name a trained adapter, or a base model such as smollm2")]
    NoModel,
    /// A head for a task without labels.
    #[error("{0} is no task that is classified: leave the classification head out, or name a GLUE task")]
    HeadWithoutLabels(&'static str),
    /// No head for a task with labels.
    #[error(
        "no classification head: name the folder `adapter` of a run, or its head.safetensors where the head alone was trained"
    )]
    NoHead,
    /// Adapters that need different texts.
    #[error(
        "{first} and {other} were trained with different chat templates: open them one at a time, or choose one of the two"
    )]
    TwoChatTemplates {
        /// The first adapter.
        first: PathBuf,
        /// One that was trained with another template.
        other: PathBuf,
    },
    /// Adapters that need different ids.
    #[error(
        "{first} and {other} were trained with different tokenizers of the model, slow and fast: open them one at a time, or \
         choose one of the two"
    )]
    TwoTokenizers {
        /// The first adapter.
        first: PathBuf,
        /// One that was trained with the other tokenizer.
        other: PathBuf,
    },
}

/// A model with what was trained on it.
pub trait SavedModel {
    /// The model below what was trained.
    fn base(&self) -> &BaseModel;

    /// Scores the tasks of a plan, one after the other, as a run of this plan would have scored them.
    ///
    /// # Errors
    /// When data is missing or damaged, a row is too long, logits are not finite, or `each` fails.
    fn score(
        self: Box<Self>,
        plan: &RunPlan,
        sources: &DataSources,
        each: &mut dyn FnMut(TaskScore) -> Result<()>,
    ) -> Result<()>;
}
