//! Which files of a user's folders a run reads, by their names.

use crate::config::plan::RunPlan;
use crate::data::error::DataError;
use crate::data::source::DataSources;

/// A line for each folder of a plan of which some files are a split's by their names, or are not read.
///
/// # Errors
/// When a folder is not to be had.
pub(super) fn split_files(plan: &RunPlan, sources: &DataSources) -> Result<Vec<String>, DataError> {
    let mut sets: Vec<_> = plan.data.train.iter().chain(&plan.data.eval).filter_map(|id| id.task().own()).collect();
    sets.dedup_by_key(|set| std::ptr::from_ref(*set));
    let lines = sets.into_iter().map(|set| set.split_files(sources)).collect::<Result<Vec<_>, _>>()?;
    let mut lines: Vec<String> = lines.into_iter().flatten().collect();
    lines.dedup();
    Ok(lines)
}
