//! What a run of a study can be set to.

use reft_models::decode::Decoding;

use super::{EvalSplit, RunPlan};
use crate::studies::MeasureSpec;
use crate::studies::study::StudyMeasure;
use crate::tasks::TaskId;

/// What cannot be run, as the key and what to do about it. Settings that a study has no use for are refused, not ignored.
///
/// # Errors
/// The first setting that does not go with a study.
pub fn check(plan: &RunPlan) -> Result<(), (String, String)> {
    let data = &plan.data;
    let is = |id: &TaskId| id.task().study().is_some();
    if !data.train.iter().chain(&data.eval).any(is) {
        return Ok(());
    }
    let measure = |id: &TaskId| id.task().study().map(MeasureSpec::measure);
    let has_rows = data.train.iter().chain(&data.eval).filter_map(measure).all(StudyMeasure::has_rows);
    let rows = "its rows are those of the study: leave it out";
    let trained = data.train.iter().filter_map(measure).find_map(|measure| measure.check_training().err());
    let checks = [
        ("data.train", data.train.iter().all(is), "a study is trained on studies only"),
        ("data.eval", data.eval.iter().all(is), "a study is scored by studies only"),
        ("data.train", trained.is_none(), trained.unwrap_or_default()),
        (
            "data.train",
            data.train.len() < 2 || has_rows,
            "only studies with sets of rows, as questions, are trained on together, a set of refts each",
        ),
        ("data.train_rows", data.train_rows == 0 || has_rows, rows),
        ("data.eval_rows", data.eval_rows == 0 || has_rows, rows),
        ("data.eval_split", data.eval_split == EvalSplit::Dev, "a study has no test rows: leave it out"),
        ("adapt", plan.adapt.is_some(), "a study measures edits: name interventions"),
        ("train.validation", plan.train.validation.is_none(), "a study has no dev rows: leave it out"),
        ("train.objective", plan.train.objective.is_default(), "a study learns texts by cross-entropy: leave it out"),
        ("eval.by", plan.eval.by.is_default(), "a study has a measure of its own: leave it out"),
        ("eval.decoding", plan.eval.decoding == Decoding::default(), "a study decodes greedily: leave it out"),
    ];
    match checks.into_iter().find(|(_, fine, _)| !fine) {
        Some((key, _, remedy)) => Err((key.to_owned(), remedy.to_owned())),
        None => Ok(()),
    }
}
