//! Win rates of a run's answers, where a judge was asked.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::alpaca_eval::annotations;
use crate::alpaca_eval::win_rate::WinRate;
use crate::store::RunPaths;
use crate::store::record::Record;

/// By task, in percent; nothing of tasks that no judge has seen.
///
/// # Errors
/// When what a judge said cannot be read.
pub fn win_rates(record: &Record, paths: &RunPaths) -> Result<BTreeMap<String, f64>> {
    let mut rates = BTreeMap::new();
    for id in record.plan.data.eval.iter().filter(|id| id.task().judged()) {
        let path = paths.annotations(id.key());
        if path.exists() {
            let rate = WinRate::of(&annotations::read(&path)?).with_context(|| path.display().to_string())?;
            rates.insert(id.key().to_owned(), rate.win_rate);
        }
    }
    Ok(rates)
}
