//! What names an encoder's run, and which of the rows that it looks at it also trains on. Neither needs a model.

use super::{Data, first};
use crate::config::plan::{EvalSplit, RunPlan};
use crate::data::overlap::Overlap;
use crate::data::row::Row;
use crate::data::source::{DataError, Sources};
use crate::tasks::Task;
use crate::tasks::glue::Glue;

/// Identity of the rows that a plan trains on, watches and holds back. The held ones enter by their fingerprint.
///
/// # Errors
/// When data is missing.
pub fn data_fingerprint(plan: &RunPlan, glue: &Glue, sources: &Sources) -> Result<String, DataError> {
    Data::read(plan, glue, sources).map(|data| data.fingerprint())
}

/// Which rows that a plan watches or reports it also trains on, in words; nothing when none are.
///
/// # Errors
/// When data is missing.
pub fn overlaps(plan: &RunPlan, glue: &Glue, sources: &Sources) -> Result<Vec<String>, DataError> {
    Data::read(plan, glue, sources).map(|data| data.overlaps(plan, glue))
}

impl Data {
    /// The same of rows that are read already. Held rows are compared for a run that reports them only.
    pub(super) fn overlaps(&self, plan: &RunPlan, glue: &Glue) -> Vec<String> {
        let of = |rows: &[Row], part: &str| {
            Overlap::new(first(rows, plan.data.eval_rows), &self.train).describe(glue.key(), part)
        };
        let held = match &plan.data.eval_split {
            EvalSplit::Dev => None,
            EvalSplit::Test(selection) => of(self.validation.held.open(selection), "held"),
        };
        of(&self.validation.watched, "watched").into_iter().chain(held).collect()
    }
}
