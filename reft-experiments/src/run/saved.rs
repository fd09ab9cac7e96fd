//! What was trained, read back from disk onto the model that it was trained on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::experiment::TaskScore;
use crate::config::plan::RunPlan;
use crate::data::source::DataSources;

/// The files of a run.
pub struct SavedFiles {
    /// The adapter's folder; none where a head alone was trained, or nothing.
    pub adapter: Option<PathBuf>,
    /// The head's file, if one is named.
    pub head: Option<PathBuf>,
}

impl SavedFiles {
    /// The head's file: beside the adapter's folder unless another is named.
    ///
    /// # Errors
    /// When neither is there.
    pub fn head(&self) -> Result<PathBuf> {
        let beside = || Some(self.adapter.as_ref()?.parent().unwrap_or(Path::new("")).join("head.safetensors"));
        self.head.clone().or_else(beside).context(
            "no classification head: give --adapter with the folder `adapter` of a run, or --head with its head.safetensors \
             where the head alone was trained",
        )
    }
}

/// A model with what was trained on it.
pub trait SavedModel {
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
