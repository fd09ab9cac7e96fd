//! The eight commonsense tasks of table 1, in the format of LLM-Adapters: the instruction carries the choices and the
//! answer format, the model says `the correct answer is X`, and X must be the answer exactly.

use std::borrow::Cow;

use super::described::{Described, Dev, File, Made, Sample};
use super::description::{AnswerForm, Description};
use super::embedded;
use super::phrase::{Phrase, PhrasePiece};
use crate::data::need::{AnswerNeed, Need};
use crate::score::scoring::Scoring;

/// What an answer begins with.
const TRIGGER: &str = "the correct answer is ";

/// The answer is learnt, and compared with what is said.
const NEED: Need = Need::Answer(AnswerNeed::Text);

const PROMPT: Phrase = Phrase(&[PhrasePiece::Instruction, PhrasePiece::Text("\n")]);
const COMPLETION: Phrase = Phrase(&[PhrasePiece::Text(TRIGGER), PhrasePiece::Answer]);

macro_rules! tasks {
    ($($name:ident = $key:literal, $title:literal, $folder:literal, $options:literal, $made:expr, $about:literal;)*) => {
        $(
            #[doc = concat!("`", $key, "`: ", $about, ".")]
            pub static $name: Described = Described {
                key: $key,
                description: Description {
                    title: $title,
                    column: $key,
                    about: $about,
                    origin: concat!("LLM-Adapters, dataset/", $folder),
                    form: AnswerForm::OneOf($options),
                },
                prompt: PROMPT,
                completion: COMPLETION,
                scoring: Scoring::After(Cow::Borrowed(TRIGGER)),
                train: Some(File { path: concat!("dataset/", $folder, "/train.json"), need: NEED }),
                dev: Dev::HeldOut,
                dev_need: NEED,
                test: Some(File { path: concat!("dataset/", $folder, "/test.json"), need: NEED }),
                remedy: "",
                made: Made::By($made),
            };
        )*
    };
}

tasks! {
    BOOLQ = "boolq", "BoolQ", "boolq", 2, embedded::commonsense::yes_no, "questions with the answer true or false";
    PIQA = "piqa", "PIQA", "piqa", 2, embedded::commonsense::two_solutions, "the better of two ways to do a thing";
    SIQA = "siqa", "SIQA", "social_i_qa", 3, embedded::commonsense::three_feelings, "why people act, and what they feel";
    HELLASWAG = "hellaswag", "HellaSwag", "hellaswag", 4, embedded::commonsense::four_endings, "the likely ending of a story";
    WINOGRANDE = "winogrande", "WinoGrande", "winogrande", 2, embedded::commonsense::two_options, "which of two things a gap stands for";
    ARC_E = "arc_e", "ARC-e", "ARC-Easy", 4, embedded::commonsense::which_is, "questions of natural science, the easy ones";
    ARC_C = "arc_c", "ARC-c", "ARC-Challenge", 4, embedded::commonsense::which_is_not, "questions of natural science, the hard ones";
    OBQA = "obqa", "OBQA", "openbookqa", 4, embedded::commonsense::completions, "questions over a book of elementary science";
}

/// `commonsense_170k`: the eight training sets in one file, as the paper trained on it.
pub static JOINT: Described = Described {
    key: "commonsense_170k",
    description: Description {
        title: "Commonsense170K",
        column: "commonsense_170k",
        about: "the eight commonsense training sets in one, as the paper trained on it",
        origin: "LLM-Adapters, ft-training_set/commonsense_170k.json",
        form: AnswerForm::OneOfSeveral,
    },
    prompt: PROMPT,
    completion: COMPLETION,
    scoring: Scoring::After(Cow::Borrowed(TRIGGER)),
    train: Some(File { path: "ft-training_set/commonsense_170k.json", need: NEED }),
    dev: Dev::Nowhere,
    dev_need: NEED,
    test: None,
    remedy: "it is a training set only; evaluate on the eight tasks",
    made: Made::Not(Sample {
        instruction: "Please answer the following question with true or false, question: is a whale a fish?\n\n\
                      Answer format: true/false",
        input: "",
        output: "the correct answer is false",
        answer: "false",
    }),
};
