//! Tasks whose rows have a label from a fixed set, or a score: what an encoder's head is trained on, and what a causal model
//! can learn to say in words.

use reft_core::rng::Seed;

use super::{DataKind, Task};
use crate::data::error::DataError;
use crate::data::halves::ValidationHalves;
use crate::data::labels::Labels;
use crate::data::left_out::LeftOut;
use crate::data::own::spec::DataSpec;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::score::metric::Metric;

/// A task whose rows have labels.
pub trait LabelledTask: Task {
    /// The labels, where they are known without the rows.
    fn known(&self) -> Option<Labels>;

    /// The labels, of which these training rows have some.
    ///
    /// # Errors
    /// When they are to be found in the rows and are too few, or too many.
    fn labels(&self, training: &[Row]) -> Result<Labels, DataError>;

    /// Whether rows are classified, not scored.
    fn has_classes(&self) -> bool;

    /// What the task's own protocol reports beside [`Task::metric`].
    fn second(&self) -> Option<Metric> {
        None
    }

    /// Whether validation rows are split by a run's seed; else they are the same for every seed.
    fn splits_by_seed(&self) -> bool {
        true
    }

    /// The task over these columns as a configuration describes it.
    fn as_labelled(&self) -> DataSpec;

    /// The rows to learn from.
    ///
    /// # Errors
    /// When the data is not to be had, or damaged.
    fn training(&self, kind: DataKind, sources: &DataSources) -> Result<Vec<Row>, DataError>;

    /// The validation rows: those that epochs and settings are chosen by, and those that are reported.
    ///
    /// # Errors
    /// When the data is not to be had or damaged, or one part would be empty.
    fn validation(&self, kind: DataKind, sources: &DataSources, seed: Seed) -> Result<ValidationHalves, DataError>;

    /// Lines of the published files that are known to be broken and were left out.
    ///
    /// # Errors
    /// When the data is not to be had, or damaged.
    fn left_out(&self, _kind: DataKind, _sources: &DataSources) -> Result<Vec<LeftOut>, DataError> {
        Ok(Vec::new())
    }
}
