//! Which kind of run a plan describes: the one place where the implementations are named.

use anyhow::{Result, bail};

use super::answering::CausalRows;
use super::answering::saved::OpenedDecoder;
use super::classifying::ClassificationRows;
use super::classifying::saved::Classifier;
use super::experiment::RunRows;
use super::saved::{SavedFiles, SavedModel};
use super::session::Session;
use super::studying::StudyRows;
use crate::config::plan::{RunKind, RunPlan};
use crate::data::source::DataSources;

/// The rows of a plan, of the kind of run that it describes.
///
/// # Errors
/// When data is missing or damaged.
pub fn rows(plan: &RunPlan, sources: &DataSources) -> Result<Box<dyn RunRows>> {
    Ok(match plan.kind() {
        RunKind::Causal => Box::new(CausalRows::read(plan, sources)?),
        RunKind::Encoder(task) => Box::new(ClassificationRows::read(plan, task, sources)?),
        RunKind::Study => Box::new(StudyRows::read(plan, sources)?),
    })
}

/// What was trained, read back for the tasks of a plan onto a model: the given one, or the one that it was trained on.
///
/// # Errors
/// When a file is missing or damaged, or belongs to another model.
pub fn open(plan: &RunPlan, files: &SavedFiles, model: Option<&str>) -> Result<Box<dyn SavedModel>> {
    Ok(match plan.kind() {
        RunKind::Causal => Box::new(OpenedDecoder::of_plan(files, model, plan)?),
        RunKind::Encoder(task) => Box::new(Classifier::open(files, model, plan, task)?),
        RunKind::Study => bail!("a study is measured when its run is done, and its record has the result: train it"),
    })
}

/// Identity of the rows that a plan trains on and scores.
///
/// # Errors
/// When data is missing.
pub fn data_fingerprint(plan: &RunPlan, sources: &DataSources) -> Result<String> {
    Ok(rows(plan, sources)?.fingerprint())
}

/// Looks at a plan's rows, and whether they and its settings fit its model, which is loaded for it.
///
/// # Errors
/// When they do not, or something is missing.
pub fn check(plan: &RunPlan, session: &mut Session) -> Result<()> {
    rows(plan, &session.sources)?.load(session)?.check(plan)
}

/// What a score of a plan's rows does not tell, in words: see [`RunRows::warnings`].
///
/// # Errors
/// When data is missing.
pub fn warnings(plan: &RunPlan, sources: &DataSources) -> Result<Vec<String>> {
    Ok(rows(plan, sources)?.warnings())
}
