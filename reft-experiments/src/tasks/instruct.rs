//! Instruction following (table 3): answers are judged by another model, by preference over a reference's.

use super::described::{Described, Dev, File, Made, Sample};
use super::description::{AnswerForm, Description};
use super::embedded;
use super::phrase::{Phrase, PhrasePiece};
use crate::data::need::Need;
use crate::score::scoring::Scoring;

/// The Alpaca template, with its second form for rows that have an input.
pub const ALPACA: Phrase = Phrase(&[
    PhrasePiece::Text("Below is an instruction that describes a task"),
    PhrasePiece::IfInput(&[PhrasePiece::Text(", paired with an input that provides further context")]),
    PhrasePiece::Text(". Write a response that appropriately completes the request.\n\n### Instruction:\n"),
    PhrasePiece::Instruction,
    PhrasePiece::Text("\n\n"),
    PhrasePiece::IfInput(&[PhrasePiece::Text("### Input:\n"), PhrasePiece::Input, PhrasePiece::Text("\n\n")]),
    PhrasePiece::Text("### Response:\n"),
]);

/// What rows that are trained on teach.
pub const OUTPUT: Phrase = Phrase(&[PhrasePiece::Output]);

/// The column of what the judge's verdicts come to.
const WIN_RATE: &str = "win_rate";

/// A row of a set of instructions.
const SAMPLE: Sample = Sample {
    instruction: "Write a haiku about rain.",
    input: "",
    output: "Rain on the tin roof,\na slow drum for the garden;\nthe snail keeps its time.",
    answer: "",
};

/// `instruct`: the 1K subset of Ultrafeedback, and the 805 prompts of AlpacaEval.
pub static INSTRUCT: Described = Described {
    key: "instruct",
    description: Description {
        title: "AlpacaEval",
        column: WIN_RATE,
        about: "instructions of any kind; answers are compared with a reference's by a judge",
        origin: "1,000 rows of UltraFeedback; AlpacaEval's 805 prompts",
        form: AnswerForm::Text,
    },
    prompt: ALPACA,
    completion: OUTPUT,
    scoring: Scoring::Judge,
    train: Some(File { path: "instruct/ultrafeedback_1k.json", need: Need::Output }),
    dev: Dev::HeldOut,
    dev_need: Need::Question,
    test: Some(File { path: "instruct/alpaca_eval/text_davinci_003/model_outputs.json", need: Need::Question }),
    remedy: "",
    made: Made::By(embedded::instructions::request),
};

macro_rules! training_sets {
    ($($name:ident = $key:literal, $title:literal, $about:literal;)*) => {
        $(
            #[doc = concat!("`", $key, "`: ", $about, ".")]
            pub static $name: Described = Described {
                key: $key,
                description: Description {
                    title: $title,
                    column: WIN_RATE,
                    about: $about,
                    origin: concat!("instruct/", $key, ".json"),
                    form: AnswerForm::Text,
                },
                prompt: ALPACA,
                completion: OUTPUT,
                scoring: Scoring::Judge,
                train: Some(File { path: concat!("instruct/", $key, ".json"), need: Need::Output }),
                dev: Dev::HeldOut,
                dev_need: Need::Question,
                test: None,
                remedy: "it is a training set only; test on instruct",
                made: Made::Not(SAMPLE),
            };
        )*
    };
}

training_sets! {
    ULTRAFEEDBACK = "ultrafeedback", "UltraFeedback", "instructions with answers, all of UltraFeedback";
    ALPACA_2K = "alpaca_2k", "Alpaca-2K", "a sample of Alpaca-52K, on which the paper tuned";
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::row::Row;
    use crate::data::source::DataSources;
    use crate::data::split::{Selection, Split};
    use crate::tasks::{DataKind, Task};

    #[test]
    fn what_is_answered_is_read_from_a_file_of_model_outputs() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(INSTRUCT.test.expect("test rows").path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        let row = json!([{"dataset": "koala", "instruction": "Say hi", "output": "", "generator": "a model"}]);
        std::fs::write(path, row.to_string()).expect("writable");
        let (sources, test) =
            (DataSources::local(folder.path()), Split::Test(Selection { chosen_by: "a test".to_owned() }));
        let rows = INSTRUCT.rows(DataKind::Real, &test, &sources).expect("rows");
        assert_eq!(rows, [Row { instruction: "Say hi".to_owned(), ..Row::default() }]);
        let error = ALPACA_2K.rows(DataKind::Real, &test, &sources).expect_err("no test rows").to_string();
        assert!(error.contains("test on instruct"), "{error}");
    }
}
