//! Prompts, completions, token ids and labels of every task, against the fixtures of the reference library.

use reft_core::testing::golden_json;
use reft_experiments::data::encode::{Example, Text, encode};
use reft_experiments::data::row::Row;
use reft_experiments::tasks::{Task, find};
use reft_models::hub;
use reft_models::tokenizer::{Specials, Tokenizer};
use serde_json::Value;

/// The end token of the tokenizer that made the fixtures.
const EOS: &str = "<|im_end|>";

/// The fixtures name commonsense tasks by their folder; here they have short names.
const FOLDERS: [(&str, &str); 8] = [
    ("commonsense/boolq", "boolq"),
    ("commonsense/piqa", "piqa"),
    ("commonsense/social_i_qa", "siqa"),
    ("commonsense/hellaswag", "hellaswag"),
    ("commonsense/winogrande", "winogrande"),
    ("commonsense/ARC-Easy", "arc_e"),
    ("commonsense/ARC-Challenge", "arc_c"),
    ("commonsense/openbookqa", "obqa"),
];

struct Case {
    json: Value,
    task: &'static dyn Task,
    row: Row,
}

impl Case {
    fn text(&self) -> Text {
        let name = self.task.key().to_owned();
        Text { prompt: self.task.prompt(&self.row), completion: self.task.completion(&self.row), name }
    }

    fn string(&self, key: &str) -> &str {
        self.json[key].as_str().expect("a text")
    }

    fn ids(&self, key: &str) -> Vec<i64> {
        self.json[key].as_array().expect("a list").iter().map(|id| id.as_i64().expect("an id")).collect()
    }
}

fn cases() -> Vec<Case> {
    let golden = golden_json("prompts/prompts.json");
    let case = |json: &Value| {
        let given = json["task"].as_str().expect("a name");
        let key = FOLDERS.iter().find(|(folder, _)| *folder == given).map_or(given, |(_, key)| key);
        let task = find(key).unwrap_or_else(|| panic!("no task {given}"));
        let row = serde_json::from_value(json["row"].clone()).expect("a row");
        Case { json: json.clone(), task, row }
    };
    golden["cases"].as_array().expect("a list").iter().map(case).collect()
}

/// Labels as the fixtures write them: -100 where nothing is learnt.
fn labels(example: &Example) -> Vec<i64> {
    example.ids.iter().enumerate().map(|(at, &id)| if at < example.prompt { -100 } else { id }).collect()
}

#[test]
fn golden_prompts_and_completions_as_text() {
    let cases = cases();
    for case in &cases {
        let text = case.text();
        assert_eq!(text.prompt, case.string("prompt"), "{}", text.name);
        assert_eq!(format!("{}{}{EOS}", text.prompt, text.completion), case.string("full"), "{}", text.name);
    }
    // Another folder of fixtures (`REFT_GOLDEN`) may hold fewer tasks.
    if std::env::var_os("REFT_GOLDEN").is_some() {
        return;
    }
    let missing: Vec<&str> = FOLDERS.iter().map(|(_, key)| *key).chain(["math", "gsm8k", "instruct"]).collect();
    let seen = |key: &&str| cases.iter().any(|case| case.task.key() == *key);
    assert!(missing.iter().all(seen), "the fixtures leave out a task");
}

#[test]
fn golden_prompts_are_scored_right_on_their_own_completion() {
    for case in cases().iter().filter(|case| case.task.key() != "instruct") {
        let said = case.task.completion(&case.row);
        let answer = case.task.extract(&said);
        assert!(case.task.correct(&case.row, &answer), "{}: {answer:?} from {said:?}", case.task.key());
    }
}

#[test]
fn golden_prompts_as_ids_and_labels() {
    let model = hub::locate("smollm2").unwrap_or_else(|error| panic!("{error}"));
    let tokenizer = Tokenizer::open(&model).expect("a tokenizer");
    assert_eq!(tokenizer.eos_text(), EOS);
    let cases = cases();
    let texts: Vec<Text> = cases.iter().map(Case::text).collect();
    let tokenise = |text: &str| tokenizer.encode(text, Specials::None);
    let examples = encode(&texts, EOS, usize::MAX, tokenise).expect("encodes");
    for (case, example) in cases.iter().zip(&examples) {
        assert_eq!(example.ids, case.ids("input_ids"), "{}", example.name);
        assert_eq!(example.prompt, case.ids("prompt_ids").len(), "{}", example.name);
        assert_eq!(example.prompt as i64, case.json["prompt_length"].as_i64().expect("a length"), "{}", example.name);
        assert_eq!(labels(example), case.ids("labels"), "{}", example.name);
    }
    let cut = encode(&texts, EOS, 20, tokenise).expect("encodes");
    assert!(
        cut.iter().zip(&examples).all(|(cut, whole)| cut.ids == whole.ids[..20] && cut.prompt == whole.prompt.min(20))
    );
}
