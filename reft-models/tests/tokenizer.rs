//! Tokenizers: the vocabulary inside a GGUF file against the reference, and what a model's folder says.

use std::fs;

use reft_core::testing::golden_dir;
use reft_models::hub;
use reft_models::tokenizer::{Specials, Tokenizer};
use serde_json::{Value, json};
use tempfile::TempDir;

fn smollm2() -> Tokenizer {
    let model = hub::locate("smollm2").unwrap_or_else(|error| panic!("{error}"));
    Tokenizer::open(&model).unwrap_or_else(|error| panic!("{error}"))
}

fn golden() -> Value {
    let text = fs::read_to_string(golden_dir().join("smollm2/smollm2.json")).expect("a fixture");
    serde_json::from_str(&text).expect("JSON")
}

/// Texts and their ids, from the strings and from the prompts of the fixture.
fn golden_texts(golden: &Value) -> Vec<(&str, Vec<i64>)> {
    let entries = ["tokenizer", "cases"].into_iter().filter_map(|key| golden[key].as_array()).flatten();
    let ids = |entry: &Value| entry["ids"].as_array().expect("ids").iter().filter_map(Value::as_i64).collect();
    entries.map(|entry| (entry["text"].as_str().expect("a text"), ids(entry))).collect()
}

#[test]
fn smollm2_gives_the_references_ids_and_its_texts_back() {
    let (tokenizer, golden) = (smollm2(), golden());
    let texts = golden_texts(&golden);
    assert!(!texts.is_empty());
    for (text, expected) in &texts {
        for specials in [Specials::AsModel, Specials::None] {
            assert_eq!(&tokenizer.encode(text, specials).expect("encoded"), expected, "{text:?}, {specials:?}");
        }
        assert_eq!(&tokenizer.decode(expected, false).expect("decoded"), text);
    }
    let (texts, expected): (Vec<&str>, Vec<Vec<i64>>) = texts.into_iter().unzip();
    assert_eq!(tokenizer.encode_batch(&texts, Specials::None).expect("encoded"), expected);
}

#[test]
fn smollm2_knows_its_special_tokens() {
    let (tokenizer, golden) = (smollm2(), golden());
    let named = |key: &str| golden[key].as_str().map(str::to_owned);
    assert_eq!(tokenizer.bos().and_then(|id| tokenizer.piece(id)), named("bos"));
    assert_eq!(Some(tokenizer.eos_text()), named("eos"));
    let ids = tokenizer.encode("<|im_start|>hi<|im_end|>", Specials::None).expect("encoded");
    assert_eq!((ids.first().copied(), ids.last().copied()), (tokenizer.bos(), tokenizer.eos()));
    assert_eq!(tokenizer.decode(&ids, true).expect("decoded"), "hi");
    assert_eq!(tokenizer.decode(&ids, false).expect("decoded"), "<|im_start|>hi<|im_end|>");
    for outside in [-1, 1 << 40] {
        assert_eq!(tokenizer.piece(outside), None);
        let message = tokenizer.decode(&[outside], false).expect_err("not an id").to_string();
        assert!(message.contains(&outside.to_string()), "{message}");
    }
}

#[test]
fn threads_may_share_a_tokenizer() {
    let (tokenizer, golden) = (smollm2(), golden());
    let texts = golden_texts(&golden);
    std::thread::scope(|scope| {
        for (text, expected) in &texts {
            let tokenizer = &tokenizer;
            scope.spawn(move || assert_eq!(&tokenizer.encode(text, Specials::None).expect("encoded"), expected));
        }
    });
}

/// A folder with a word-level tokenizer of five words that puts `<s>` first and, in training, cut texts to two tokens.
fn folder(files: &[(&str, Value)]) -> TempDir {
    let special = |id: i64, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let tokenizer = json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "<pad>"},
        "added_tokens": [special(1, "<s>"), special(2, "</s>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
        },
        "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "<unk>",
                  "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "one": 3, "two": 4, "three": 5}}
    });
    let folder = TempDir::new().expect("a folder");
    for (name, json) in files.iter().chain(&[("tokenizer.json", tokenizer)]) {
        fs::write(folder.path().join(name), json.to_string()).expect("written");
    }
    folder
}

#[test]
fn a_folders_tokenizer_encodes_whole_texts() {
    let folder = folder(&[]);
    let tokenizer = Tokenizer::open(folder.path()).expect("a tokenizer");
    for (specials, expected) in [(Specials::None, vec![3, 4, 5]), (Specials::AsModel, vec![1, 3, 4, 5])] {
        assert_eq!(tokenizer.encode("one two three", specials).expect("encoded"), expected);
        assert_eq!(tokenizer.encode_batch(&["one two three"], specials).expect("encoded"), [expected]);
    }
}

#[test]
fn begin_and_end_come_from_the_first_file_that_names_them() {
    let named = json!({"bos_token": "<s>", "eos_token": {"content": "</s>", "special": true}});
    let ids = json!({"bos_token_id": 4, "eos_token_id": [5, 3]});
    let cases = [
        (vec![("tokenizer_config.json", named.clone()), ("generation_config.json", ids.clone())], (Some(1), Some(2))),
        (vec![("special_tokens_map.json", named), ("config.json", ids.clone())], (Some(1), Some(2))),
        (
            vec![("tokenizer_config.json", json!({"eos_token": null})), ("generation_config.json", ids)],
            (Some(4), Some(5)),
        ),
        (vec![("config.json", json!({"eos_token_id": 2}))], (None, Some(2))),
        (vec![], (None, None)),
    ];
    for (files, expected) in cases {
        let folder = folder(&files);
        let tokenizer = Tokenizer::open(folder.path()).expect("a tokenizer");
        assert_eq!((tokenizer.bos(), tokenizer.eos()), expected, "{files:?}");
        assert_eq!(tokenizer.eos_text(), expected.1.and_then(|id| tokenizer.piece(id)).unwrap_or_default());
    }
}

#[test]
fn a_missing_or_damaged_tokenizer_is_named() {
    let (empty, damaged, damaged_config) = (TempDir::new().expect("a folder"), folder(&[]), folder(&[]));
    fs::write(damaged.path().join("tokenizer.json"), "{\"version\"").expect("written");
    fs::write(damaged_config.path().join("tokenizer_config.json"), "{").expect("written");
    let cases = [
        (empty.path().to_owned(), vec!["tokenizer.json", "copy the model's"]),
        (damaged.path().to_owned(), vec!["tokenizer.json", "copy it again"]),
        (damaged_config.path().to_owned(), vec!["tokenizer_config.json", "not valid JSON"]),
        (empty.path().join("none.gguf"), vec!["none.gguf", "check the path"]),
    ];
    for (path, parts) in cases {
        let message = Tokenizer::open(&path).err().expect("refused").to_string();
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}
