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
        if let Some(head) = &self.head {
            return Ok(head.clone());
        }
        let folder = self.adapter.as_deref().ok_or(OpenError::NoHead)?;
        head_of(folder).ok_or_else(|| OpenError::NoHeadThere(folder.to_owned()))
    }
}

/// The file of the head that goes with an adapter: in the adapter's folder, else beside it; none where neither is there.
pub fn head_of(adapter: &Path) -> Option<PathBuf> {
    let places = [adapter, adapter.parent().unwrap_or(Path::new(""))].map(|place| place.join(HEAD));
    places.into_iter().find(|place| place.exists())
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
    /// No head in an adapter's folder.
    #[error(
        "{path}: no classification head ({HEAD}) is in this folder or beside it: a causal model's adapter has none; name an encoder's adapter, or \
         copy its head there", path = .0.display()
    )]
    NoHeadThere(PathBuf),
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
