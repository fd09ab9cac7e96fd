//! The eight commonsense tasks of table 1, in the format of LLM-Adapters: the instruction carries the choices and the
//! answer format, the model says `the correct answer is X`, and X must be the answer exactly.

use super::{DataKind, Task, embedded};
use crate::data::error::DataError;
use crate::data::need::{AnswerNeed, Need};
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::{Split, hold_out};
use crate::score::answers;
use crate::score::verdict::ExpectedAnswer;

/// What an answer begins with.
const TRIGGER: &str = "the correct answer is ";

/// The answer is learnt, and compared with what is said.
const NEED: Need = Need::Answer(AnswerNeed::Text);

/// One task.
pub struct Commonsense {
    key: &'static str,
    /// Its folder in LLM-Adapters.
    folder: &'static str,
    /// Makes rows in its format.
    embedded: embedded::Generate,
}

macro_rules! tasks {
    ($($name:ident = $key:literal, $folder:literal, $embedded:expr;)*) => {
        $(
            #[doc = concat!("`", $key, "`: ", $folder, ".")]
            pub static $name: Commonsense = Commonsense { key: $key, folder: $folder, embedded: $embedded };
        )*
    };
}

tasks! {
    BOOLQ = "boolq", "boolq", embedded::yes_no;
    PIQA = "piqa", "piqa", embedded::two_solutions;
    SIQA = "siqa", "social_i_qa", embedded::three_feelings;
    HELLASWAG = "hellaswag", "hellaswag", embedded::four_endings;
    WINOGRANDE = "winogrande", "winogrande", embedded::two_options;
    ARC_E = "arc_e", "ARC-Easy", embedded::which_is;
    ARC_C = "arc_c", "ARC-Challenge", embedded::which_is_not;
    OBQA = "obqa", "openbookqa", embedded::completions;
}

impl Task for Commonsense {
    fn key(&self) -> &'static str {
        self.key
    }

    fn rows(&self, kind: DataKind, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        let file = |name: &str| sources.rows(&format!("dataset/{}/{name}.json", self.folder), NEED);
        match (kind, split) {
            (DataKind::Embedded, split) => Ok(embedded::rows(self.key, self.embedded, split)),
            (DataKind::Real, Split::Train) => file("train"),
            (DataKind::Real, Split::TrainWithoutDev) => Ok(hold_out(file("train")?).1),
            (DataKind::Real, Split::Dev) => Ok(hold_out(file("train")?).0),
            (DataKind::Real, Split::Test(_)) => file("test"),
        }
    }

    fn prompt(&self, row: &Row) -> String {
        format!("{}\n", row.instruction)
    }

    fn completion(&self, row: &Row) -> String {
        format!("{TRIGGER}{}", row.answer)
    }

    fn extract(&self, said: &str) -> String {
        answers::after(said, TRIGGER).trim().to_owned()
    }

    fn sought<'a>(&self, row: &'a Row) -> Option<ExpectedAnswer<'a>> {
        Some(ExpectedAnswer { trigger: TRIGGER, answer: row.answer.trim() })
    }
}

/// COMMONSENSE170K: the eight training sets in one file, as the paper trained on it.
pub struct Joint;

/// `commonsense_170k`.
pub static JOINT: Joint = Joint;

impl Task for Joint {
    fn key(&self) -> &'static str {
        "commonsense_170k"
    }

    fn rows(&self, kind: DataKind, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        let task = self.key();
        let none = |split, remedy| Err(DataError::NoRows { task, split, remedy });
        match (kind, split) {
            (DataKind::Embedded, split) => none(split.name(), "it is a real data set; set data.source: real"),
            (DataKind::Real, Split::Train) => sources.rows("ft-training_set/commonsense_170k.json", NEED),
            (DataKind::Real, Split::TrainWithoutDev | Split::Dev | Split::Test(_)) => {
                none(split.name(), "it is a training set only; evaluate on the eight tasks")
            }
        }
    }

    fn prompt(&self, row: &Row) -> String {
        BOOLQ.prompt(row)
    }

    fn completion(&self, row: &Row) -> String {
        BOOLQ.completion(row)
    }

    fn extract(&self, said: &str) -> String {
        BOOLQ.extract(said)
    }

    fn sought<'a>(&self, row: &'a Row) -> Option<ExpectedAnswer<'a>> {
        BOOLQ.sought(row)
    }
}
