//! Train, dev and test; and the rule that test rows are read by a chosen setting only.

use std::collections::{HashMap, HashSet};

use rand::seq::SliceRandom;
use reft_core::rng::Seed;
use schemars::JsonSchema;
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, try_from = "WrittenSelection")]
#[schemars(!try_from)]
pub struct Selection {
    /// The dev runs or the publication the setting comes from.
    pub chosen_by: String,
}

/// A [`Selection`] as configurations have it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSelection {
    chosen_by: Option<String>,
}

impl TryFrom<WrittenSelection> for Selection {
    type Error = &'static str;

    fn try_from(written: WrittenSelection) -> Result<Self, Self::Error> {
        let missing = "say how the setting was chosen, since test rows are for a chosen one: {test: {chosen_by: runs on dev rows}}";
        written.chosen_by.map(|chosen_by| Self { chosen_by }).ok_or(missing)
    }
}

/// Rows held out of a training file at most.
const DEV_ROWS: usize = 300;

/// The dev part of a training file, at most a tenth of it, always the same; and the rest.
///
/// Public training files repeat questions (WinoGrande's is five nested sets one after the other), so questions are held
/// out, not rows: every copy of one goes to the same side.
pub fn hold_out(rows: Vec<Row>) -> (Vec<Row>, Vec<Row>) {
    let mut copies: HashMap<&str, usize> = HashMap::new();
    let mut questions: Vec<&str> = Vec::new();
    for row in &rows {
        let seen = copies.entry(&row.instruction).or_default();
        if *seen == 0 {
            questions.push(&row.instruction);
        }
        *seen += 1;
    }
    questions.shuffle(&mut Seed(0).stream("dev split", 0));
    let mut room = (rows.len() / 10).min(DEV_ROWS);
    let mut held: HashSet<String> = HashSet::new();
    for question in questions {
        if let Some(left) = room.checked_sub(copies[question]) {
            room = left;
            held.insert(question.to_owned());
        }
    }
    rows.into_iter().partition(|row| held.contains(&row.instruction))
}

/// Identity of some rows in their order.
pub fn fingerprint<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        for field in [&row.instruction, &row.input, &row.output, &row.answer] {
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        }
        // Nothing for rows without them, whose fingerprints are older.
        for field in row.choices.iter().chain([&row.conversation]).filter(|field| !field.is_empty()) {
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        }
    }
    format!("{:.32x}", hash.finalize())
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

    #[test]
    fn every_copy_of_a_question_is_on_one_side() {
        let row = |n: usize| Row { instruction: (n % 300).to_string(), input: n.to_string(), ..Row::default() };
        let (dev, train) = hold_out((0..900).map(row).collect());
        assert_eq!((dev.len(), train.len()), (90, 810));
        let asked: HashSet<&str> = train.iter().map(|row| row.instruction.as_str()).collect();
        assert!(dev.iter().all(|row| !asked.contains(row.instruction.as_str())));
    }
}
