//! What an encoder's run comes to when it was trained in part.
//!
//! A whole run is as good as the best of its epochs on the watched rows. So is a part of it: its score is the best of the
//! epochs that are over and, where it ends within an epoch, of the parameters as they are there. That depends on the updates
//! done and on nothing else, such as where earlier rungs were or how often the run was interrupted. The held rows stay closed.

use std::collections::BTreeMap;

use anyhow::Result;
use reft_core::adaptation::Adaptation;

use super::Started;
use crate::store::record::{Rung, Score};
use crate::tasks::Task;
use crate::train::classification::Classification;

impl Started<'_> {
    /// The score after `update` of `total` updates; 0 where the metric was undefined all the time, as in a record.
    pub(super) fn rung(
        &self,
        objective: &Classification<'_>,
        adaptation: &dyn Adaptation,
        update: u64,
        total: u64,
    ) -> Result<Rung> {
        let over = objective.watch.as_ref().and_then(|watch| watch.best.epoch()).and_then(|epoch| epoch.value);
        let per_epoch = total / self.named.plan.train.epochs;
        let here = if update.is_multiple_of(per_epoch) { None } else { objective.watched(adaptation)? };
        let value = over.into_iter().chain(here).reduce(f64::max).unwrap_or(0.0);
        let score = Score::Measured { metric: self.glue.metric, value, n: self.watched().len(), cut: 0, second: None };
        let (label, key) = (self.runner.label(), self.glue.key());
        eprintln!("{label}: {key} {:.1} % of {} watched after update {update}", score.percent(), score.n());
        let scores = BTreeMap::from([(key.to_owned(), score)]);
        Ok(Rung { part: self.part, update, total, scores })
    }
}
