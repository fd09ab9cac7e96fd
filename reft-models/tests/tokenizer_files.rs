//! What the files of a model's folder say of its tokenizer: end tokens, tokens around a text, templates, bytes.

use std::fs;

use reft_models::tokenizer::{Bounds, Clock, Message, Role, Specials, Tokenizer, TokenizerError, TokenizerVersion};
use serde_json::{Value, json};
use tempfile::TempDir;

fn added(id: usize, content: &str, special: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
           "special": special})
}

/// One token a word: `<unk> <s> </s> one two three`, then these, special ones.
fn words(further: &[&str], around: &[&str]) -> Value {
    let names: Vec<&str> =
        ["<unk>", "<s>", "</s>", "one", "two", "three"].into_iter().chain(further.iter().copied()).collect();
    let vocabulary: Value = names.iter().enumerate().map(|(id, name)| ((*name).to_owned(), json!(id))).collect();
    let special = names.iter().enumerate().filter(|(_, name)| name.starts_with('<'));
    let part = |name: &str, kind: u8| match name {
        "A" | "B" => json!({"Sequence": {"id": name, "type_id": kind}}),
        _ => json!({"SpecialToken": {"id": name, "type_id": kind}}),
    };
    let single: Vec<Value> = around.iter().map(|name| part(name, 0)).collect();
    let pair = [single.clone(), vec![part("B", 1)]].concat();
    let known: Value = ["<s>", "</s>"]
        .into_iter()
        .zip(1..)
        .map(|(name, id)| (name.to_owned(), json!({"id": name, "ids": [id], "tokens": [name]})))
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
        "added_tokens": special.map(|(id, name)| added(id, name, true)).collect::<Vec<_>>(),
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": known},
        "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": vocabulary}
    })
}

/// SentencePiece's kind: bytes, and a few words with their spaces.
fn sentencepiece() -> Value {
    let bytes = (0..=255u8).map(|byte| format!("<0x{byte:02X}>"));
    let names: Vec<String> = ["<unk>", "<s>", "</s>"]
        .into_iter()
        .map(str::to_owned)
        .chain(bytes)
        .chain(["▁", "▁Hello", "▁world", "!", "▁the"].map(str::to_owned))
        .collect();
    let vocabulary: Value = names.iter().enumerate().map(|(id, name)| (name.clone(), json!(id))).collect();
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "pre_tokenizer": null, "post_processor": null,
        "added_tokens": [added(0, "<unk>", true), added(1, "<s>", true), added(2, "</s>", true)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")]},
        "decoder": {"type": "Sequence", "decoders": [replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"},
                    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": true,
                  "vocab": vocabulary, "merges": []}
    })
}

fn folder(tokenizer: &Value, files: &[(&str, Value)]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).expect("written");
    for (name, json) in files {
        fs::write(folder.path().join(name), json.to_string()).expect("written");
    }
    folder
}

fn open(tokenizer: &Value, files: &[(&str, Value)]) -> Tokenizer {
    Tokenizer::open(folder(tokenizer, files).path()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(tokenizer: &Value, files: &[(&str, Value)]) -> String {
    let message = Tokenizer::open(folder(tokenizer, files).path()).err().expect("refused").to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

fn user(content: &str) -> [Message; 1] {
    [Message { role: Role::User, content: content.to_owned() }]
}

#[test]
fn every_end_token_of_every_file_counts() {
    let words = words(&["<|im_end|>", "<|end|>", "stop"], &["A"]);
    let named = json!({"eos_token": "</s>"});
    let cases = [
        (
            vec![("tokenizer_config.json", named.clone()), ("generation_config.json", json!({"eos_token_id": [4, 2]}))],
            vec![2, 4],
        ),
        (
            vec![("tokenizer_config.json", named.clone()), ("config.json", json!({"eos_token_id": [5, 3]}))],
            vec![2, 5, 3],
        ),
        (
            vec![("config.json", json!({"eos_token_id": 3})), ("generation_config.json", json!({"eos_token_id": 4}))],
            vec![4],
        ),
        (
            vec![
                ("generation_config.json", json!({"eos_token_id": null})),
                ("config.json", json!({"eos_token_id": -1})),
            ],
            vec![],
        ),
        (vec![("special_tokens_map.json", json!({"eos_token": {"content": "stop"}}))], vec![8]),
    ];
    for (files, expected) in cases {
        let tokenizer = open(&words, &files);
        assert_eq!(tokenizer.answer_ends(), expected, "{files:?}");
        let turn: Vec<i64> = expected.iter().copied().chain([6, 7]).collect();
        assert_eq!(tokenizer.turn_ends(), turn, "control tokens end a turn: {files:?}");
    }
    for (file, json, key) in [
        ("generation_config.json", json!({"eos_token_id": "two"}), "`eos_token_id`"),
        ("config.json", json!({"eos_token_id": [2, null]}), "`eos_token_id`"),
        ("tokenizer_config.json", json!({"eos_token": 5}), "`eos_token`"),
        ("tokenizer_config.json", json!([1]), "not a JSON object"),
    ] {
        let message = refused(&words, &[(file, json)]);
        assert!(message.contains(file) && message.contains(key), "{message}");
    }
}

#[test]
fn only_control_tokens_end_a_turn() {
    let mut plain = words(&["<|im_end|>", "<|end|>", "<|return|>"], &["A"]);
    assert_eq!(open(&plain, &[]).turn_ends(), [6, 8], "a message of an answer ends with <|end|> here");
    plain["added_tokens"][3]["special"] = json!(false);
    assert_eq!(open(&plain, &[]).turn_ends(), [8], "a word of the text");
}

#[test]
fn the_tokenizer_class_decides_the_special_tokens_around_a_text() {
    let (with, without) = (words(&[], &["<s>", "A"]), words(&[], &["A"]));
    let config = |class: Value, switches: Value| {
        let mut config = json!({"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": class});
        config.as_object_mut().expect("one").extend(switches.as_object().expect("one").clone());
        vec![("tokenizer_config.json", config), ("config.json", json!({"model_type": "llama"}))]
    };
    let llama = || json!("LlamaTokenizer");
    let cases = [
        (&with, config(llama(), json!({"add_bos_token": false})), vec![3]),
        (&without, config(llama(), json!({"add_bos_token": true, "add_eos_token": true})), vec![1, 3, 2]),
        (&without, config(json!("LlamaTokenizerFast"), json!({})), vec![1, 3]),
        (&with, config(json!("PreTrainedTokenizerFast"), json!({"add_bos_token": false})), vec![1, 3]),
        (&with, config(json!(null), json!({"add_bos_token": false})), vec![3]),
        (&without, config(json!(null), json!({"add_eos_token": null})), vec![3]),
    ];
    for (tokenizer, files, expected) in cases {
        let tokenizer = open(tokenizer, &files);
        assert_eq!(tokenizer.encode("one", Specials::AsModel).expect("encoded"), expected, "{files:?}");
        assert_eq!(tokenizer.encode("one", Specials::None).expect("encoded"), [3], "{files:?}");
    }
    let both = open(&without, &config(llama(), json!({"add_eos_token": true})));
    let pair = both.encode_pair("one", Some("two"), 16).expect("encoded");
    assert_eq!((pair.ids, pair.types), (vec![1, 3, 2, 1, 4, 2], vec![0, 0, 0, 1, 1, 1]));
    let message = refused(
        &without,
        &[("tokenizer_config.json", json!({"tokenizer_class": "LlamaTokenizer", "bos_token": "<begin>"}))],
    );
    assert!(message.contains("`<begin>`") && message.contains("add_bos_token"), "{message}");
    let message = refused(&without, &config(llama(), json!({"add_bos_token": "yes"})));
    assert!(message.contains("`add_bos_token` is not true or false"), "{message}");
}

#[test]
fn ids_beyond_the_models_tables_are_named() {
    let tokenizer = open(&words(&["<|im_start|>"], &["A"]), &[]).within(Bounds { embedding: 6, types: Some(1) });
    assert_eq!(tokenizer.encode("one two", Specials::AsModel).expect("inside"), [3, 4]);
    for outside in [
        tokenizer.encode("one <|im_start|>", Specials::None).err(),
        tokenizer.encode_batch(&["one", "<|im_start|>"], Specials::None).err(),
        tokenizer.encode_pair("<|im_start|>", None, 9).err(),
    ] {
        let error = outside.expect("outside");
        assert!(
            matches!(&error, TokenizerError::BeyondEmbedding { token, id: 6, rows: 6 } if token == "<|im_start|>"),
            "{error}"
        );
    }
    let error = tokenizer.encode_pair("one", Some("two"), 9).expect_err("two types").to_string();
    assert!(error.contains("type 1") && error.contains("type_vocab_size"), "{error}");
    assert!(tokenizer.encode_pair("one", None, 9).is_ok());
    assert_eq!(
        tokenizer.decode(&[3, 400, 4], true).expect("decoded"),
        "one two",
        "a padded embedding's row says nothing"
    );
}

#[test]
fn templates_come_from_every_place_and_see_named_tokens() {
    let words = words(&[], &["A"]);
    let entry =
        json!({"bos_token": "<s>", "chat_template": "{{ bos_token }}[{{ eos_token }}]{{ messages[0].content }}"});
    let config = [("tokenizer_config.json", entry)];
    assert_eq!(open(&words, &config).chat(&user("hi")).expect("rendered"), "<s>[]hi");
    let folder = folder(&words, &config);
    let write = |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).expect("written");
    write("chat_template.jinja", "\u{FEFF}file {{ messages[0].role }}".as_bytes());
    let chat = || Tokenizer::open(folder.path()).and_then(|tokenizer| tokenizer.chat(&user("hi")));
    assert_eq!(chat().expect("rendered"), "<s>[]hi", "the entry comes first, as in transformers 4.45.1");
    write("tokenizer_config.json", b"{}");
    assert_eq!(chat().expect("rendered"), "file user");
    write("chat_template.jinja", &[0xFF, 0xFE]);
    let message = chat().expect_err("no UTF-8").to_string();
    assert!(message.contains("chat_template.jinja") && message.contains("UTF-8"), "{message}");
    fs::remove_file(folder.path().join("chat_template.jinja")).expect("removed");
    write("chat_template.json", br#"{"chat_template": "json {{ messages[0].role }}"}"#);
    assert_eq!(chat().expect("rendered"), "json user");
    fs::remove_file(folder.path().join("chat_template.json")).expect("removed");
    fs::create_dir(folder.path().join("additional_chat_templates")).expect("made");
    write("additional_chat_templates/rag.jinja", b"rag");
    let message = chat().expect_err("no default").to_string();
    assert!(message.contains("(rag)") && message.lines().count() == 1, "{message}");
    fs::write(folder.path().join("tokenizer_config.json"), r#"{"chat_template": [{"name": "default"}]}"#)
        .expect("written");
    let message = chat().expect_err("damaged").to_string();
    assert!(message.contains("tokenizer_config.json") && message.contains("`chat_template`"), "{message}");
}

#[test]
fn the_date_of_a_template_can_be_set() {
    let template = json!({"chat_template": "{{ strftime_now('%d %B %Y') }}"});
    let tokenizer = open(&words(&[], &["A"]), &[("tokenizer_config.json", template)]);
    let tokenizer = tokenizer.at(Clock::parse("2024-07-26").expect("a date"));
    assert_eq!(tokenizer.chat(&user("hi")).expect("rendered"), "26 July 2024");
    assert_eq!(tokenizer.chat_date().as_deref(), Some("2024-07-26"));
    assert_eq!(open(&words(&[], &["A"]), &[]).chat_date(), None, "no template, no date");
}

#[test]
fn a_continuation_keeps_the_space_that_a_text_alone_would_lose() {
    let tokenizer = open(&sentencepiece(), &[("config.json", json!({"eos_token_id": 2}))]);
    let ids = |text: &str| tokenizer.encode(text, Specials::None).expect("encoded");
    let prompt = ids("Hello");
    let world = ids("world");
    assert_eq!(tokenizer.decode(&world, true).expect("decoded"), "world");
    let after =
        |prompt: &[i64], new: &[i64]| tokenizer.after(prompt).and_then(|after| after.text(new)).expect("decoded");
    assert_eq!(after(&prompt, &world), " world");
    assert_eq!(after(&[1, prompt[0], 2], &[world[0], 2]), " world", "special tokens say nothing, at the end neither");
    assert_eq!(after(&[1], &world), "world", "nothing was said before");
    assert_eq!(after(&prompt, &[]), "");
    // `是` is three bytes, of which two have come; the prompt ends with a character of bytes.
    let bytes: Vec<i64> = "是".bytes().map(|byte| 3 + i64::from(byte)).collect();
    assert_eq!(after(&prompt, &bytes[..2]).trim_end_matches('\u{FFFD}'), "");
    assert_eq!(after(&prompt, &bytes), "是");
    assert_eq!(after(&bytes, &bytes), "是");
    assert_eq!(after(&[&prompt[..], &bytes].concat(), &world), " world");
}

#[test]
fn bytes_of_tokens_make_up_the_text() {
    let tokenizer = open(&sentencepiece(), &[]);
    let bytes = tokenizer.token_bytes().expect("known");
    let said = |ids: &[i64]| ids.iter().flat_map(|&id| bytes[id as usize].clone()).collect::<Vec<u8>>();
    let text = "Hello world! the 是 ü ✅";
    let ids = tokenizer.encode(text, Specials::None).expect("encoded");
    assert_eq!(String::from_utf8(said(&ids)).expect("whole characters"), format!(" {text}"));
    assert_eq!(said(&[0, 1, 2]), b"", "special tokens");
    assert!(open(&words(&[], &["A"]), &[]).token_bytes().is_none(), "words are joined with spaces");
}

#[test]
fn a_part_that_is_not_known_is_named() {
    for (part, value) in [
        ("model", json!({"type": "Fancy"})),
        ("model", json!(null)),
        ("pre_tokenizer", json!({"type": "Fancy"})),
        ("decoder", json!(5)),
        ("added_tokens", json!([{"id": "x"}])),
    ] {
        let mut tokenizer = words(&[], &["A"]);
        tokenizer[part] = value;
        let message = refused(&tokenizer, &[]);
        assert!(message.contains("tokenizer.json") && message.contains(&format!("`{part}`")), "{message}");
        assert!(!message.contains("variant") && !message.contains("untagged"), "{message}");
    }
}

#[test]
fn berts_switches_win_over_the_normaliser() {
    let mut tokenizer = words(&["One", "ä"], &["A"]);
    tokenizer["normalizer"] = json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true});
    let encode = |files: &[(&str, Value)]| open(&tokenizer, files).encode("One ä", Specials::None).expect("encoded");
    assert_eq!(encode(&[]), [3, 0], "lower case, without accents");
    assert_eq!(encode(&[("tokenizer_config.json", json!({"do_lower_case": false}))]), [6, 7]);
    assert_eq!(encode(&[("tokenizer_config.json", json!({"strip_accents": false}))]), [3, 7]);
}

#[test]
fn tokens_that_only_the_files_beside_know_are_added() {
    let words = words(&[], &["A"]);
    let decoder = json!({"6": added(6, "<|im_end|>", true), "7": added(7, "snow leopard", false)});
    let config = ("tokenizer_config.json", json!({"added_tokens_decoder": decoder, "eos_token": "<|im_end|>"}));
    let tokenizer = open(&words, std::slice::from_ref(&config));
    assert_eq!(tokenizer.encode("one snow leopard <|im_end|>", Specials::None).expect("encoded"), [3, 7, 6]);
    assert_eq!(
        (&tokenizer.answer_ends()[..], tokenizer.decode(&[7, 6], true).expect("decoded").as_str()),
        (&[6][..], "snow leopard")
    );
    let map = ("special_tokens_map.json", json!({"pad_token": "<pad>"}));
    let tokenizer = open(&words, &[map, ("added_tokens.json", json!({"<pad>": 6, "<tool>": 7}))]);
    assert_eq!(tokenizer.encode("<tool> two <pad>", Specials::None).expect("encoded"), [7, 4, 6]);
    assert_eq!(tokenizer.decode(&[7, 6], true).expect("decoded"), "<tool>", "the other one is special");
    let message = refused(&words, &[("added_tokens.json", json!({"<tool>": 9}))]);
    assert!(message.contains("`<tool>` as id 9") && message.contains("its id here is 6"), "{message}");
    let message = refused(&words, &[("tokenizer_config.json", json!({"added_tokens_decoder": [1]}))]);
    assert!(message.contains("`added_tokens_decoder`"), "{message}");
}

#[test]
fn the_slow_tokenizer_is_refused_where_it_is_another_than_llamas() {
    let words = words(&[], &["A"]);
    let open = |class: &str| {
        let folder = folder(&words, &[("tokenizer_config.json", json!({"tokenizer_class": class}))]);
        let tokenizer = Tokenizer::open_as(folder.path(), TokenizerVersion::Slow);
        tokenizer.map(|tokenizer| tokenizer.encode("one two", Specials::None).expect("encoded"))
    };
    assert_eq!(open("PreTrainedTokenizerFast").expect("there is no slow one"), [3, 4]);
    for (class, part) in [("LlamaTokenizer", "tokenizer.model"), ("GPT2Tokenizer", "take the fast one")] {
        let message = open(class).expect_err("refused").to_string();
        assert!(message.contains(part) && message.lines().count() == 1, "{message}");
    }
    let message = Tokenizer::open_as("model.gguf".as_ref(), TokenizerVersion::Slow).err().expect("refused").to_string();
    assert!(message.contains("tokenizer.model"), "{message}");
}

/// A folder's files, and what the refusal must say.
type Damaged<'a> = (&'a [(&'a str, &'a [u8])], &'a [&'a str]);

#[test]
fn damaged_vocabularies_are_named() {
    let unigram = [0x12, 0x02, 0x18, 0x01]; // trainer_spec { model_type: UNIGRAM }
    let words = [0x12, 0x02, 0x18, 0x03]; // trainer_spec { model_type: WORD }
    let one = [&[0x0a, 0x03, 0x0a, 0x01, b'a'][..], &unigram].concat(); // pieces { piece: "a" }
    let mapped = [&one[..], &[0x1a, 0x03, 0x12, 0x01, 0xff]].concat(); // normalizer_spec { precompiled_charsmap }
    let gemma = ("tokenizer_config.json", &br#"{"tokenizer_class": "GemmaTokenizer"}"#[..]);
    let t5 = ("tokenizer_config.json", &br#"{"tokenizer_class": "T5Tokenizer"}"#[..]);
    let cases: [Damaged<'_>; 11] = [
        (&[], &["tokenizer.json", "tokenizer.model", "merges.txt"]),
        (&[("tokenizer.model", b"\x0a\xffxyz")], &["tokenizer.model", "truncated"]),
        (&[("tokenizer.model", &unigram)], &["tokenizer.model", "no pieces"]),
        (&[("tokenizer.model", &words)], &["tokenizer.model", "words or letters", "tokenizer.json"]),
        (
            &[("spiece.model", &one), gemma],
            &["spiece.model", "kind Unigram", "T5Tokenizer", "GemmaTokenizer", "tokenizer.json"],
        ),
        (&[("spiece.model", &one), t5], &["spiece.model", "no piece `</s>`"]),
        (&[("spiece.model", &mapped), t5], &["spiece.model", "replacements are damaged"]),
        (&[("vocab.json", b"{\"a\": 0}")], &["merges.txt", "no such file"]),
        (&[("vocab.json", b"[1]"), ("merges.txt", b"")], &["vocab.json", "not a list of tokens"]),
        (&[("vocab.json", b"{\"a\": 0}"), ("merges.txt", b"#version: 0.2\nab\n")], &["merges.txt", "not a pair"]),
        (&[("vocab.json", b"{\"a\": 0}"), ("merges.txt", b"#version: 0.2\na b\n")], &["merges.txt", "from one model"]),
    ];
    for (files, parts) in cases {
        let folder = TempDir::new().expect("a folder");
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).expect("written");
        }
        let message = Tokenizer::open(folder.path()).err().expect("refused").to_string();
        assert!(parts.iter().all(|part| message.contains(part)) && message.lines().count() == 1, "{message}");
    }
}
