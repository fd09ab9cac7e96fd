//! Conversations of a user's file as training examples and prompts, against transformers' `apply_chat_template`: texts, ids and
//! assistant masks of the fixtures `tokenizers/chat`. `REFT_GOLDEN` names another directory of the same format.

use std::path::Path;

use reft_core::testing::golden_dir;
use reft_experiments::data::own::conversation;
use reft_experiments::data::own::set::OwnSet;
use reft_experiments::data::own::spec::{DataSpec, TrainedTurns};
use reft_experiments::data::row::Row;
use reft_experiments::data::source::DataSources;
use reft_experiments::data::split::Split;
use reft_models::tokenizer::{Clock, Tokenizer};
use serde_json::{Value, json};

struct Fixtures {
    folder: std::path::PathBuf,
    all: Value,
}

impl Fixtures {
    fn read() -> Self {
        let folder = golden_dir().join("tokenizers/chat");
        let text = std::fs::read_to_string(folder.join("cases.json")).expect("the fixtures");
        Self { folder, all: serde_json::from_str(&text).expect("JSON") }
    }

    fn tokenizer(&self, variant: &Value) -> Tokenizer {
        let clock = Clock::parse(self.all["now"].as_str().expect("a time")).expect("a time");
        let folder = self.folder.join(variant["folder"].as_str().expect("a folder"));
        Tokenizer::open(&folder).unwrap_or_else(|error| panic!("{error}")).at(clock)
    }

    /// Every case that asks for nothing but a conversation, with or without the words that begin the model's turn.
    fn each(&self, mut check: impl FnMut(&str, &Tokenizer, &Value, &[Value], bool)) {
        for variant in self.all["variants"].as_array().expect("a list") {
            let tokenizer = self.tokenizer(variant);
            for case in variant["cases"].as_array().expect("a list") {
                let args = case["args"].as_object().cloned().unwrap_or_default();
                let begun = args.get("add_generation_prompt") == Some(&json!(true));
                if args.len() > usize::from(begun) {
                    continue;
                }
                let name = case["conversation"].as_str().expect("a name");
                let turns = self.all["conversations"][name].as_array().expect("turns");
                check(&format!("{} {name} {begun}", variant["folder"]), &tokenizer, case, turns, begun);
            }
        }
    }
}

/// A conversation as a user's file has it, read as one row; none where it has nothing to learn.
fn row(turns: &[Value]) -> Option<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("chat.jsonl");
    std::fs::write(&path, json!({"messages": turns}).to_string()).expect("writable");
    let spec: DataSpec =
        serde_json::from_value(json!({"file": path, "messages": "messages", "split": {"dev": 0}})).expect("valid");
    let rows = OwnSet::new(spec).expect("valid").rows(&Split::Train, &DataSources::local(Path::new("nowhere")));
    rows.ok().map(|rows| rows[0].clone())
}

fn integers(value: &Value) -> Vec<i64> {
    value.as_array().expect("a list").iter().map(|number| number.as_i64().expect("a number")).collect()
}

/// Beginnings and ends of the runs of ones.
fn runs(mask: &[i64]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, _) in mask.iter().enumerate().filter(|(_, said)| **said == 1) {
        match runs.last_mut() {
            Some((_, end)) if *end == at => *end += 1,
            _ => runs.push((at, at + 1)),
        }
    }
    runs
}

#[test]
fn what_is_learned_is_the_mask_of_the_references() {
    let (fixtures, mut compared) = (Fixtures::read(), 0);
    fixtures.each(|what, tokenizer, case, turns, _| {
        let Some(mask) = case["mask"].as_array().map(|_| integers(&case["mask"])) else { return };
        let (ids, turns_said) = (integers(&case["ids"]), runs(&mask));
        let (Some(row), false) = (row(turns), turns_said.is_empty()) else { return };
        let examples = |trained| {
            let made = conversation::examples(&row.conversation, trained, tokenizer, usize::MAX, what);
            made.unwrap_or_else(|error| panic!("{what}: {error}"))
        };
        let all = examples(TrainedTurns::All);
        let found: Vec<(usize, usize)> = all.iter().map(|example| (example.prompt, example.ids.len())).collect();
        assert_eq!(found, turns_said, "{what}");
        assert!(all.iter().all(|example| ids.starts_with(&example.ids) && example.lost == 0), "{what}");
        let last = examples(TrainedTurns::Last);
        assert_eq!(last.len(), 1, "{what}");
        assert_eq!(
            (Some(last[0].prompt), last[0].ids.len()),
            (all.last().map(|example| example.prompt), found[found.len() - 1].1)
        );
        compared += 1;
    });
    assert!(compared > 0, "no case with a mask");
}

#[test]
fn prompts_are_the_references() {
    let (fixtures, mut compared) = (Fixtures::read(), [0, 0]);
    fixtures.each(|what, tokenizer, case, turns, begun| {
        let answered = [turns, &[json!({"role": "assistant", "content": "what is learned"})]].concat();
        let (Some(text), true, Some(row)) = (case["text"].as_str(), begun, row(&answered)) else { return };
        let prompt = conversation::prompt(&row, tokenizer);
        assert_eq!(prompt.unwrap_or_else(|error| panic!("{what}: {error}")), text, "{what}");
        compared[0] += 1;
        if case["ids"].is_array() {
            let ids = conversation::prompt_ids(&row, tokenizer).expect("the same text");
            assert_eq!(ids, integers(&case["ids"]), "{what}");
            compared[1] += 1;
        }
    });
    assert!(compared.iter().all(|&cases| cases > 0), "no case with a prompt, or none with ids: {compared:?}");
}

#[test]
fn a_template_that_raises_is_answered_with_its_words() {
    let (fixtures, mut compared) = (Fixtures::read(), 0);
    fixtures.each(|what, tokenizer, case, turns, _| {
        let Some(fails) = case["fails"].as_object() else { return };
        let answered = [turns, &[json!({"role": "assistant", "content": "what is learned"})]].concat();
        let Some(row) = row(&answered) else { return };
        let raised = fails.values().find(|error| error["error"] == "TemplateError");
        let made = conversation::examples(&row.conversation, TrainedTurns::Last, tokenizer, usize::MAX, what);
        if let (Some(raised), Err(error)) = (raised, &made) {
            assert!(error.to_string().contains(raised["message"].as_str().expect("a text")), "{what}: {error}");
            compared += 1;
        }
    });
    assert!(compared > 0, "no template that raises");
}
