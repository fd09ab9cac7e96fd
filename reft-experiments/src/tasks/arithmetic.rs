//! Arithmetic with a chain of thought: the last number counts, or the first letter (tables 2, 15, 17; tuning on GSM8K).
//! Prompts in the Alpaca template, but for `gsm8k`. The `output` of test rows is some model's attempt: `answer` counts.

use super::described::{Described, Dev, File, Made, Sample};
use super::description::{AnswerForm, Description};
use super::embedded;
use super::instruct::{ALPACA, OUTPUT};
use super::phrase::{Phrase, PhrasePiece};
use crate::data::need::{AnswerNeed, Need};
use crate::score::scoring::Scoring;

/// Training rows of GSM8K that are the dev set.
const DEV_ROWS: usize = 300;

/// A solution that ends with `####` and the number, for training and for scoring.
const SOLVED: Need = Need::Answer(AnswerNeed::FinalNumber);

macro_rules! training_sets {
    ($($name:ident = $key:literal, $title:literal, $path:literal, $about:literal;)*) => {
        $(
            #[doc = concat!("`", $key, "`: ", $about, "; for training only.")]
            pub static $name: Described = Described {
                key: $key,
                description: Description {
                    title: $title,
                    column: $key,
                    about: $about,
                    origin: concat!("LLM-Adapters, ", $path),
                    form: AnswerForm::Number,
                },
                prompt: ALPACA,
                completion: OUTPUT,
                scoring: Scoring::Number,
                train: Some(File { path: $path, need: Need::Output }),
                // Questions of GSM8K are among the rows, those of its dev set too.
                dev: Dev::Of("gsm8k"),
                dev_need: SOLVED,
                test: None,
                remedy: "it is a training set only; tune on gsm8k, test on aqua, gsm8k_alpaca, mawps and svamp",
                made: Made::Not(Sample {
                    instruction: "Ann has 3 eggs and buys 4 more. How many has she?",
                    input: "",
                    output: "Ann has 3 + 4 = 7 eggs. The answer is 7.",
                    answer: "7",
                }),
            };
        )*
    };
}

training_sets! {
    MATH = "math", "Math10K", "ft-training_set/math_10k.json",
        "problems with a chain of thought, as the paper trained on them";
    MATH_PART = "math_part", "Math10K (part)", "ft-training_set/math_10k_part.json",
        "the part of math that pyreft's history holds";
}

/// `gsm8k`: grade-school problems with a prompt of their own, on whose last 300 training rows the paper tuned.
pub static GSM8K: Described = Described {
    key: "gsm8k",
    description: Description {
        title: "GSM8K",
        column: "gsm8k",
        about: "grade-school problems, solved step by step",
        origin: "OpenAI, grade_school_math",
        form: AnswerForm::Number,
    },
    prompt: Phrase(&[
        PhrasePiece::Instruction,
        PhrasePiece::Text("\nAnswer the above question. First think step by step and then answer the final number.\n"),
    ]),
    completion: Phrase(&[PhrasePiece::AnswerWith("####", "The final answer is: ")]),
    scoring: Scoring::Number,
    train: Some(File { path: "grade_school_math/train.jsonl", need: SOLVED }),
    dev: Dev::Last(DEV_ROWS),
    dev_need: SOLVED,
    test: Some(File { path: "grade_school_math/test.jsonl", need: SOLVED }),
    remedy: "",
    made: Made::Not(Sample {
        instruction: "Ann has 3 eggs and buys 4 more. How many has she?",
        input: "",
        output: "",
        answer: "Ann has 3 + 4 = 7 eggs.\n#### 7",
    }),
};

macro_rules! test_sets {
    ($($name:ident = $key:literal, $column:literal, $title:literal, $folder:literal, $form:expr, $scoring:expr, $need:expr,
       $made:expr, $about:literal;)*) => {
        $(
            #[doc = concat!("`", $key, "`: ", $about, ".")]
            pub static $name: Described = Described {
                key: $key,
                description: Description {
                    title: $title,
                    column: $column,
                    about: $about,
                    origin: concat!("LLM-Adapters, dataset/", $folder),
                    form: $form,
                },
                prompt: ALPACA,
                completion: OUTPUT,
                scoring: $scoring,
                train: None,
                dev: Dev::Nowhere,
                dev_need: Need::Answer($need),
                test: Some(File {
                    path: concat!("dataset/", $folder, "/test.json"),
                    need: Need::Answer($need),
                }),
                remedy: "it is a test set only; train on math, math_part or gsm8k, and tune on gsm8k",
                made: Made::By($made),
            };
        )*
    };
}

test_sets! {
    AQUA = "aqua", "aqua", "AQuA", "AQuA", AnswerForm::OneOf(5), Scoring::Letter, AnswerNeed::Letter,
        embedded::arithmetic::aqua, "algebra with five choices, the answer a letter";
    GSM8K_ALPACA = "gsm8k_alpaca", "gsm8k", "GSM8K", "gsm8k", AnswerForm::Number, Scoring::Number, AnswerNeed::Number,
        embedded::arithmetic::gsm8k, "the test problems of GSM8K in the Alpaca template";
    MAWPS = "mawps", "mawps", "MAWPS", "mawps", AnswerForm::Number, Scoring::Number, AnswerNeed::Number,
        embedded::arithmetic::mawps, "problems of one or two steps";
    SVAMP = "svamp", "svamp", "SVAMP", "SVAMP", AnswerForm::Number, Scoring::Number, AnswerNeed::Number,
        embedded::arithmetic::svamp, "problems with numbers that do not matter";
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::data::row::Row;
    use crate::data::source::DataSources;
    use crate::data::split::{Selection, Split};
    use crate::tasks::{DataKind, Task};

    fn test() -> Split {
        Split::Test(Selection { chosen_by: "a test".to_owned() })
    }

    /// A folder with these files.
    fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, rows) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            std::fs::write(path, rows.to_string()).expect("writable");
        }
        folder
    }

    #[test]
    fn dev_questions_of_gsm8k_leave_the_training_set_however_they_are_written() {
        let known: Vec<Value> =
            (0..310).map(|n| json!({"question": format!("Has Ann {n} eggs?"), "answer": "#### 1"})).collect();
        let asked = ["has ann 9 eggs", "Has Ann 10 eggs?\n ", "has Ann 309, eggs", "Has Ann 310 eggs?"];
        let rows: Vec<Value> =
            asked.iter().map(|text| json!({"instruction": text, "output": "It is 1.", "answer": "1"})).collect();
        let files = [
            ("grade_school_math/train.jsonl", json!(known)),
            (MATH_PART.train.expect("training rows").path, json!(rows)),
        ];
        let folder = folder(&files);
        let sources = DataSources::local(folder.path());
        let rows = |split| MATH_PART.rows(DataKind::Real, &split, &sources).expect("rows");
        let kept: Vec<String> = rows(Split::TrainWithoutDev).into_iter().map(|row| row.instruction).collect();
        assert_eq!(kept, [asked[0], asked[3]]);
        assert_eq!(rows(Split::Train).len(), 4);
        let error = MATH_PART.rows(DataKind::Real, &test(), &sources).expect_err("no test rows").to_string();
        assert!(error.contains("test on aqua, gsm8k_alpaca, mawps and svamp"), "{error}");
    }

    #[test]
    fn test_sets_are_scored_against_the_answer() {
        let row = json!([{"instruction": "q", "input": "", "output": "The answer is 5.", "answer": "12.5"}]);
        let folder = folder(&[("dataset/SVAMP/test.json", row)]);
        let sources = DataSources::local(folder.path());
        let rows = SVAMP.rows(DataKind::Real, &test(), &sources).expect("rows");
        let right = |said: &str| SVAMP.correct(&rows[0], &SVAMP.extract(said));
        assert!(right("5 + 7.5 = 12.5005. The answer is 12.5005.") && right("It is 12.50"));
        assert!(!right("The answer is 5.") && !right("12.502") && !right(""));
        let error = SVAMP.rows(DataKind::Real, &Split::Train, &sources).expect_err("no training rows").to_string();
        assert!(error.contains("train on math, math_part or gsm8k"), "{error}");
    }

    #[test]
    fn the_first_letter_is_the_choice() {
        let row = Row { answer: "B".to_owned(), ..Row::default() };
        let right = |said: &str| AQUA.correct(&row, &AQUA.extract(said));
        assert!(right("2 * 3 = 6. The answer is B.") && right("(B) not C"));
        assert!(!right("The answer is C, not B") && !right("the answer is b"));
    }
}
