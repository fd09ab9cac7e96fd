//! Train, dev and test; and the rule that test rows are read by a chosen setting only.

use rand::seq::SliceRandom;
use reft_core::rng::Seed;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::row::Row;

/// Rows to learn from, to choose by, or to report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For training, with the dev rows left out.
    TrainWithoutDev,
    /// For training, all of them: a run whose setting is chosen already.
    Train,
    /// For choosing settings. Never part of a test set.
    Dev,
    /// For reporting. Only a [`Selection`] opens them.
    Test(Selection),
}

impl Split {
    /// The name in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Train | Self::TrainWithoutDev => "train",
            Self::Dev => "dev",
            Self::Test(_) => "test",
        }
    }
}

/// Says how a setting was chosen before it is tried on test rows. It is kept in the run's record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The dev runs or the publication the setting comes from.
    pub chosen_by: String,
}

/// Rows held out of a training file at most.
const DEV_ROWS: usize = 300;

/// The dev part of a training file, at most a tenth of it, always the same; and the rest.
pub fn hold_out(mut rows: Vec<Row>) -> (Vec<Row>, Vec<Row>) {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.shuffle(&mut Seed(0).stream("dev split", 0));
    let held: std::collections::BTreeSet<usize> = order.into_iter().take((rows.len() / 10).min(DEV_ROWS)).collect();
    let mut index = 0;
    let dev = rows.extract_if(.., |_| (held.contains(&index), index += 1).0).collect();
    (dev, rows)
}

/// Identity of some rows in their order.
pub fn fingerprint<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        for field in [&row.instruction, &row.input, &row.output, &row.answer] {
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        }
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dev_rows_are_a_fixed_tenth_and_leave_training() {
        let row = |n: usize| Row { instruction: n.to_string(), ..Row::default() };
        let rows: Vec<Row> = (0..500).map(row).collect();
        let (dev, train) = hold_out(rows.clone());
        assert_eq!((dev.len(), train.len()), (50, 450));
        assert!(dev.iter().all(|row| !train.contains(row)));
        assert_eq!(hold_out(rows.clone()).0, dev);
        assert_eq!(hold_out((0..9000).map(row).collect()).0.len(), DEV_ROWS);
        assert_ne!(fingerprint(&dev), fingerprint(&train));
    }
}
