//! Encoders as they were published over the years: what their configurations leave out, and `vocab.txt` alone.

use std::fs;

use reft_core::adaptation::Mode;
use reft_core::hooks::NoHooks;
use reft_core::layout::{Extent, Layout};
use reft_core::testing::{Tol, assert_close};
use reft_models::encoder::{Encoder, EncoderPass};
use reft_models::hub;
use reft_models::tokenizer::{Specials, Tokenizer};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use crate::folder::{Folder, check_message};

fn load(folder: &Folder) -> Result<Encoder, String> {
    Encoder::load(&folder.open(), Kind::Float, Device::Cpu).map_err(|error| error.to_string())
}

/// Hidden states of a short text.
fn hidden(folder: &Folder) -> Tensor {
    let encoder = load(folder).unwrap_or_else(|error| panic!("{error}"));
    let layout = Layout::packed(&[Extent { len: 7, prompt: 7 }]);
    let reading = EncoderPass { layout: &layout, hooks: &NoHooks, mode: Mode::Eval };
    encoder.hidden(&Tensor::from_slice(&[5_i64, 9, 14, 3, 77, 21, 8]), None, &reading)
}

/// Names of tensors without the family's prefix, or with the names of parameters that older versions gave them.
fn renamed(mut folder: Folder, rename: impl Fn(&str) -> String) -> Folder {
    folder.tensors = folder.tensors.into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect();
    folder
}

#[test]
fn the_family_is_found_by_what_there_is() {
    for name in ["bert", "roberta"] {
        let expected = hidden(&Folder::golden(name).write());
        let no_type = || Folder::golden(name).set("model_type", Value::Null);
        let bare = || no_type().set("architectures", Value::Null);
        let class = if name == "bert" { "BertForMaskedLM" } else { "RobertaModel" };
        let prefix = format!("{name}.");
        let without_prefix =
            |folder| renamed(folder, |tensor| tensor.strip_prefix(&prefix).unwrap_or(tensor).to_owned());
        let old = |tensor: &str| {
            tensor.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        };
        let cases = [
            ("by architecture", no_type()),
            ("by another architecture", no_type().set("architectures", json!([class]))),
            ("by the tensors' names", bare()),
            ("by type, without a prefix", without_prefix(Folder::golden(name).set("architectures", Value::Null))),
            ("by architecture, without a prefix", without_prefix(no_type())),
            ("with old names", renamed(Folder::golden(name), old)),
        ];
        for (what, folder) in cases {
            assert_close(&format!("{name} {what}"), &hidden(&folder.write()), &expected, Tol::Exact);
        }
        let message = load(&without_prefix(bare()).write()).map(|_| ()).expect_err("nothing says");
        check_message(name, &message, &["config.json", "\"model_type\": \"bert\" or \"model_type\": \"roberta\""]);
    }
}

#[test]
fn defaults_are_those_of_the_family() {
    let bert = Folder::golden("bert");
    assert_eq!(bert.config["layer_norm_eps"], json!(1e-12), "the default, so that leaving it out changes nothing");
    let absent = [
        "layer_norm_eps",
        "type_vocab_size",
        "hidden_act",
        "pad_token_id",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "position_embedding_type",
    ];
    let expected = hidden(&bert.write());
    let silent = |name: &str| absent.iter().fold(Folder::golden(name), |folder, key| folder.set(key, Value::Null));
    assert_close("bert", &hidden(&silent("bert").write()), &expected, Tol::Exact);
    // RoBERTa's padding id is 1, and positions begin after it.
    let roberta = silent("roberta").set("type_vocab_size", Folder::golden("roberta").config["type_vocab_size"].clone());
    assert_eq!(load(&roberta.write()).expect("loaded").config().first_position, 2);
    let positions = silent("bert").set("max_position_embeddings", Value::Null).write();
    let message = load(&positions).map(|_| ()).expect_err("the golden table has not 512 rows");
    check_message("positions", &message, &["position_embeddings", "[512, "]);
}

#[test]
fn modernbert_is_read_in_both_styles() {
    let flat = |folder: Folder| {
        let bases = [("global_rope_theta", 3000.0), ("local_rope_theta", 100.0)];
        let folder = folder.set("rope_parameters", Value::Null).set("layer_types", Value::Null);
        bases.iter().fold(folder, |folder, (key, theta)| folder.set(key, json!(theta)))
    };
    let expected = hidden(&Folder::of_repository("modernbert").write());
    let every = flat(Folder::of_repository("modernbert")).set("global_attn_every_n_layers", json!(3));
    assert_close("version 4", &hidden(&every.write()), &expected, Tol::Exact);
    let moved = |folder: Folder| (hidden(&folder.write()) - &expected).abs().max().double_value(&[]);
    assert!(
        moved(flat(Folder::of_repository("modernbert")).set("global_attn_every_n_layers", json!(1))) > 1e-3,
        "all are global"
    );
    assert!(moved(Folder::of_repository("modernbert").set("local_attention", json!(2))) > 1e-3, "another window");
    let theta = json!({"full_attention": {"rope_theta": 3000.0}, "sliding_attention": {"rope_theta": 10.0}});
    assert!(moved(Folder::of_repository("modernbert").set("rope_parameters", theta)) > 1e-3, "another local base");
}

#[test]
fn what_modernbert_here_is_not_is_refused_by_name() {
    let scaled = json!({"full_attention": {"rope_type": "linear", "factor": 2.0}});
    let cases: [(&str, Value, &[&str]); 6] = [
        ("hidden_activation", json!("silu"), &["hidden_activation `silu`", "gelu"]),
        ("classifier_pooling", json!("max"), &["classifier_pooling `max`", "cls and mean"]),
        ("layer_types", json!(["full_attention"]), &["`layer_types`", "one for each of 4 layers"]),
        ("attention_dropout", json!(0.1), &["attention_dropout `0.1`", "only 0"]),
        ("rope_parameters", scaled, &["rope_type `linear`", "only default"]),
        ("norm_bias", json!(true), &["norm.bias", "is missing"]),
    ];
    for (key, value, parts) in cases {
        let message = load(&Folder::of_repository("modernbert").set(key, value).write()).map(|_| ()).expect_err(key);
        check_message(key, &message, parts);
    }
}

#[test]
fn what_an_encoder_here_is_not_is_refused_by_name() {
    let cases: &[(&str, &str, Value, &[&str])] = &[
        (
            "bert",
            "model_type",
            json!("electra"),
            &["model_type `electra`", "bert, roberta, xlm-roberta, distilbert and modernbert"],
        ),
        ("bert", "model_type", json!("roberta"), &["`architectures` and `model_type` disagree"]),
        (
            "bert",
            "position_embedding_type",
            json!("relative_key"),
            &["position_embedding_type `relative_key`", "only absolute"],
        ),
        ("bert", "hidden_act", json!("gelu_new"), &["hidden_act `gelu_new`"]),
        ("bert", "is_decoder", json!(true), &["is_decoder"]),
        ("bert", "embedding_size", json!(128), &["`embedding_size` (128) is not understood"]),
        ("bert", "num_hidden_layers", json!(0), &["`num_hidden_layers` is 0"]),
        ("roberta", "num_hidden_layers", json!(-1), &["`num_hidden_layers` is -1"]),
        ("bert", "num_attention_heads", json!(64), &["64 num_attention_heads of even width"]),
        ("bert", "num_attention_heads", json!(3), &["does not divide"]),
        ("bert", "hidden_dropout_prob", json!(1.0), &["`hidden_dropout_prob` is 1.0"]),
        ("roberta", "max_position_embeddings", json!(2), &["`max_position_embeddings` is 2: more than 2"]),
        ("bert", "quantization_config", json!({"quant_method": "bitsandbytes"}), &["quantised (bitsandbytes)"]),
    ];
    for (name, key, value, parts) in cases {
        let message = load(&Folder::golden(name).set(key, value.clone()).write()).map(|_| ()).expect_err(key);
        check_message(key, &message, &[&["config.json"], *parts].concat());
    }
}

/// The published `MiniLM`: its `vocab.txt` written out of its `tokenizer.json`.
fn vocabulary(line_end: &str) -> (Tokenizer, TempDir) {
    let model = hub::locate("minilm").unwrap_or_else(|error| panic!("{error}"));
    let json: Value = serde_json::from_slice(&fs::read(model.join("tokenizer.json")).expect("there")).expect("JSON");
    let vocabulary = json["model"]["vocab"].as_object().expect("a vocabulary");
    let mut lines = vec![""; vocabulary.len()];
    for (token, id) in vocabulary {
        lines[id.as_u64().expect("an id") as usize] = token;
    }
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("vocab.txt"), lines.join(line_end) + line_end).expect("written");
    (Tokenizer::open(&model).expect("the published one"), folder)
}

#[test]
fn vocab_txt_alone_is_berts_tokenizer() {
    let texts = [
        "A man is eating food.",
        "Déjà vu, naïve café; СЛОВО слово 12,345.67 don't",
        "unaffordableness antidisestablishmentarianism xqzjw",
        "东京 is 東京都 [MASK] and [SEP]\tx\u{a0}y \u{200d}z",
        "",
        "🙂 emoji and \u{fffd} \u{0} control",
    ];
    for line_end in ["\n", "\r\n"] {
        let (published, folder) = vocabulary(line_end);
        let built = Tokenizer::open(folder.path()).unwrap_or_else(|error| panic!("{error}"));
        for text in texts {
            for specials in [Specials::AsModel, Specials::None] {
                let encode = |tokenizer: &Tokenizer| tokenizer.encode(text, specials).expect("encoded");
                assert_eq!(encode(&built), encode(&published), "{text:?} {specials:?}");
            }
            let pair = |tokenizer: &Tokenizer| tokenizer.encode_pair(text, Some("a second one"), 12).expect("encoded");
            assert_eq!(pair(&built), pair(&published), "{text:?}");
        }
    }
}

#[test]
fn switches_of_a_vocabulary_are_kept() {
    let folder = TempDir::new().expect("a folder");
    let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nparis\nParis\ncafe\ncafé\n東\n京\n東京\n";
    fs::write(folder.path().join("vocab.txt"), vocabulary).expect("written");
    let cases: &[(Value, &[i64])] = &[
        (json!({}), &[5, 7, 9, 10]),
        (json!({"do_lower_case": true, "strip_accents": null}), &[5, 7, 9, 10]),
        (json!({"do_lower_case": false}), &[6, 8, 9, 10]),
        (json!({"strip_accents": false}), &[5, 8, 9, 10]),
        (json!({"do_lower_case": false, "strip_accents": true}), &[6, 7, 9, 10]),
        (json!({"tokenize_chinese_chars": false}), &[5, 7, 11]),
    ];
    for (config, expected) in cases {
        fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).expect("written");
        let tokenizer = Tokenizer::open(folder.path()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(tokenizer.encode("Paris café 東京", Specials::None).expect("encoded"), *expected, "{config}");
    }
    let refused = |file: &str, text: &str, parts: &[&str]| {
        fs::write(folder.path().join(file), text).expect("written");
        let message = Tokenizer::open(folder.path()).map(|_| ()).expect_err(text).to_string();
        check_message(text, &message, parts);
        fs::remove_file(folder.path().join(file)).expect("removed");
    };
    refused("tokenizer_config.json", r#"{"do_lower_case": "yes"}"#, &["`do_lower_case`", "true or false"]);
    refused("special_tokens_map.json", r#"{"cls_token": "<s>"}"#, &["vocab.txt", "`<s>`"]);
    refused("added_tokens.json", r#"{"[NEW]": 40}"#, &["added_tokens.json", "`[NEW]`"]);
    fs::write(folder.path().join("added_tokens.json"), r#"{"[TWO]": 13, "[ONE]": 12}"#).expect("written");
    let tokenizer = Tokenizer::open(folder.path()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(tokenizer.encode("[TWO] paris [ONE]", Specials::AsModel).expect("encoded"), [2, 13, 5, 12, 3]);
}
