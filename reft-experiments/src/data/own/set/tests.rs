use std::path::Path;

use reft_core::value_reader;
use serde_json::{Value, json};

use super::*;
use crate::data::split::Selection;

/// A data set over a file of this text.
fn set(name: &str, text: &str, mut description: Value) -> (tempfile::TempDir, Result<OwnSet, String>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("writable");
    description["file"] = json!(path);
    let spec = value_reader::read(&description).map_err(|error| error.to_string());
    (folder, spec.and_then(OwnSet::new))
}

fn rows(set: &OwnSet, split: &Split) -> Result<Vec<Row>, String> {
    set.rows(split, &DataSources::local(Path::new("nowhere"))).map_err(|error| error.to_string())
}

/// What reading the rows of such a file is answered with.
fn refused(name: &str, text: &str, description: Value) -> String {
    let (_folder, set) = set(name, text, description);
    match set {
        Ok(set) => rows(&set, &Split::TrainWithoutDev).and_then(|_| rows(&set, &Split::Dev)).expect_err(text),
        Err(error) => error,
    }
}

#[test]
fn rows_are_rendered_and_dealt_out() {
    let text: String = (0..40).map(|n| format!("{{\"q\": \"Q{n}\", \"a\": {n}}}\n")).collect();
    let description = json!({"prompt": "{{ q }}?\n", "completion": "a", "split": {"dev": 0.1, "test": 4}});
    let (_folder, set) = set("faq.jsonl", &text, description);
    let set = set.expect("valid");
    let test = Split::Test(Selection { chosen_by: "a test".to_owned() });
    let [train, all, dev, test] =
        [&Split::TrainWithoutDev, &Split::Train, &Split::Dev, &test].map(|split| rows(&set, split).expect("rows"));
    assert_eq!([train.len(), all.len(), dev.len(), test.len()], [32, 36, 4, 4]);
    assert!(dev.iter().chain(&test).all(|row| !train.contains(row)));
    assert!(train.iter().all(|row| row.instruction == format!("Q{}?\n", row.output) && row.answer == row.output));
    assert_eq!(set.name, "faq");
}

#[test]
fn all_rows_may_be_held_out_where_nothing_is_trained() {
    let text = "q,a\nQ1,one\nQ2,two\n";
    let (_folder, set) = set("a.csv", text, json!({"prompt": "q", "completion": "a", "split": {"dev": 2}}));
    assert_eq!(rows(&set.expect("valid"), &Split::Dev).map(|rows| rows.len()), Ok(2));
}

#[test]
fn choices_are_found_by_text_number_and_letter() {
    let text = "q,x,y,a\nQ1,one,two,two\nQ2,one,two,0\nQ3,one,two,B\n";
    let description = json!({"prompt": "q", "choices": ["{{ x }}", "{{ y }}"], "answer": "a", "split": {"dev": 0}});
    let (_folder, set) = set("a.csv", text, description);
    let read = rows(&set.expect("valid"), &Split::Train).expect("rows");
    assert_eq!(
        read.iter().map(|row| (row.right, row.output.as_str())).collect::<Vec<_>>(),
        [(1, " two"), (0, " one"), (1, " two")]
    );
    assert_eq!(read[0].choices, [" one", " two"]);
}

#[test]
fn a_folder_is_split_by_the_names_of_its_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, count) in [("train-0.tsv", 3), ("train-1.tsv", 2), ("validation.tsv", 2), ("test.tsv", 1)] {
        let rows: String = (0..count).map(|n| format!("{name} {n}\tyes\n")).collect();
        std::fs::write(folder.path().join(name), format!("q\ta\n{rows}")).expect("writable");
    }
    let spec = json!({"file": folder.path(), "prompt": "q", "completion": "a"});
    let set = OwnSet::new(value_reader::read(&spec).expect("valid")).expect("valid");
    let test = Split::Test(Selection { chosen_by: "a test".to_owned() });
    let count = |split: &Split| rows(&set, split).expect("rows").len();
    assert_eq!([count(&Split::TrainWithoutDev), count(&Split::Dev), count(&test)], [5, 2, 1]);
}

#[test]
fn a_conversation_is_asked_up_to_the_assistants_last_turn() {
    let text = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}
{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "d"}, {"role": "assistant", "content": "e"}]}"#;
    let (_folder, set) = set("chat.jsonl", text, json!({"messages": "messages", "split": {"dev": 0}}));
    let read = rows(&set.expect("valid"), &Split::Train).expect("rows");
    assert_eq!((read[0].instruction.as_str(), read[0].answer.as_str()), ("a", "b"));
    assert_eq!((read[1].instruction.as_str(), read[1].answer.as_str()), ("system: s\nuser: d", "e"));
    assert!(read[0].conversation.contains("\"c\""), "a template may have to know that the turn is over");
}

#[test]
fn share_gpts_conversations_are_read_as_the_usual_ones() {
    let theirs =
        r#"{"c": [{"from": "system", "value": "s"}, {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}"#;
    let usual = r#"{"c": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
    let read = |text: &str| {
        let (_folder, set) = set("chat.jsonl", text, json!({"messages": "c", "split": {"dev": 0}}));
        rows(&set.expect("valid"), &Split::Train).expect("rows")
    };
    assert_eq!(read(theirs), read(usual));
    assert_eq!(read(theirs)[0].answer, "b");
}

#[test]
fn bad_rows_and_descriptions_are_answered_in_one_line_with_the_remedy() {
    let plain = || json!({"prompt": "{{ q }}", "completion": "a"});
    let chat = || json!({"messages": "messages"});
    let (good, two) = ("{\"q\": \"x\", \"a\": \"y\"}\n", "{\"q\": \"x\", \"a\": \"y\"}\n{\"q\": \"z\"}");
    for (text, description, parts) in [
        (
            good,
            json!({"prompt": "{{ question }}", "completion": "a"}),
            ["prompt names the column `question`, which no row has", "the columns are q, a"],
        ),
        (
            good,
            json!({"prompt": "{{ q }}", "completion": "aa"}),
            ["completion names the column `aa`", "did you mean `a`?"],
        ),
        (two, plain(), ["row 2: column `a` is empty", "take the row out"]),
        ("{\"q\": \"x\", \"a\": \" \"}", plain(), ["row 1: the completion is empty", "fill it in"]),
        (good, plain(), ["no training rows are left", "give more rows"]),
        (
            good,
            json!({"prompt": "q", "completion": "a", "split": {"dev": 0}}),
            ["data set a: no dev rows are left", "split.dev"],
        ),
        (
            good,
            json!({"prompt": "q", "completion": "a", "split": {"dev": "b.jsonl"}}),
            ["split.dev names the file `b.jsonl`", "neither beside it nor here"],
        ),
        (
            good,
            json!({"prompt": "q", "choices": ["x", "z"], "answer": "a"}),
            ["row 1: the answer `y` is none of the 2 choices", "its letter"],
        ),
        (
            good,
            json!({"prompt": "q", "completion": "a", "score": "number"}),
            ["row 1: the answer `y` has no number", "take the row out"],
        ),
        (good, json!({"prompt": "q"}), ["completion: missing", "{{ answer }}"]),
        (good, json!({}), ["prompt: missing", "messages"]),
        (good, json!({"promt": "q"}), ["promt", "did you mean `prompt`?"]),
        (good, json!({"prompt": "{{ q", "completion": "a"}), ["prompt: ", "correct the template"]),
        (
            good,
            json!({"prompt": "q", "completion": "a", "score": "choices"}),
            ["score: choices needs prompt, choices and answer", "choose another"],
        ),
        (good, json!({"prompt": "q", "completion": "a", "score": "exat"}), ["exat", "did you mean `exact`?"]),
        (
            good,
            json!({"prompt": "q", "completion": "a", "score": {"regex": "("}}),
            ["no regular expression", "correct it"],
        ),
        (
            good,
            json!({"prompt": "q", "completion": "a", "messages": "m"}),
            ["messages: does not go with prompt", "leave one"],
        ),
        (
            "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}",
            chat(),
            ["row 1: the conversation has no turn of the assistant", "add one"],
        ),
        ("{\"messages\": \"hello\"}", chat(), ["row 1: messages is no list of turns", "\"role\""]),
        ("{\"messages\": [{\"role\": 3}]}", chat(), ["row 1: turn 1 has no role", "\"role\""]),
        ("{\"messages\": [{\"from\": \"user\"}]}", chat(), ["row 1: turn 1 has no value", "\"value\""]),
        (
            "{\"messages\": [{\"from\": \"hal\", \"value\": \"x\"}]}",
            chat(),
            ["row 1: turn 1 is from `hal`", "a turn is from human, user, gpt"],
        ),
        ("{\"messages\": []}", chat(), ["row 1: messages is empty", "take the row out"]),
        (
            "{\"messages\": [{\"role\": \"human\", \"content\": \"x\"}, {\"role\": \"assistant\", \"content\": \"y\"}]}",
            chat(),
            ["row 1: turn 1 has the role `human`", "the roles are system, developer, user, assistant"],
        ),
        (
            "{\"messages\": [{\"role\": \"user\", \"content\": 3}, {\"role\": \"assistant\", \"content\": \"y\"}]}",
            chat(),
            ["row 1: turn 1 has a number or truth value as its content", "write a text"],
        ),
        (
            "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}, {\"role\": \"assistant\", \"content\": [\"y\"]}]}",
            chat(),
            ["row 1: turn 2 has a list of other things than parts as its content", "write a text"],
        ),
    ] {
        let error = refused("a.jsonl", text, description);
        assert_eq!(error.lines().count(), 1, "{error}");
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }
}
