//! Ids, tokens and decoded texts.

use std::path::Path;

use reft_models::tokenizer::{Specials, Tokenizer, TokenizerVersion, TypedTokens};
use serde_json::Value;

use super::{Differences, fixtures, integers, list, read};

/// The ids that a case gives with special tokens: by the case itself, or by what its tokenizer adds.
fn with_specials(case: &Value, adds: &Value) -> Vec<i64> {
    if !case["with_specials"].is_null() {
        return integers(&case["with_specials"]);
    }
    [integers(&adds["before"]), integers(&case["ids"]), integers(&adds["after"])].concat()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The cases of a variant, or of the one that it names.
fn cases<'a>(all: &'a Value, variant: &'a Value) -> &'a [Value] {
    let Some(other) = variant["cases of"].as_str() else { return list(&variant["cases"]) };
    let other = list(&all["variants"]).iter().find(|variant| variant["name"] == other || variant["folder"] == other);
    list(&other.expect("the variant that is named")["cases"])
}

fn decode(tokenizer: &Tokenizer, ids: &[i64], case: &Value, differences: &mut Differences, name: &str) {
    let decoded = tokenizer.decode(ids, false).expect("decoded");
    let what = |kind: &str| format!("{name} {kind} of {ids:?}");
    differences.check(|| what("decoded"), decoded.as_str(), text(&case["decoded"]));
    let skip = if case["decoded_skip"].is_null() { &case["decoded"] } else { &case["decoded_skip"] };
    let decoded = tokenizer.decode(ids, true).expect("decoded");
    differences.check(|| what("decoded_skip"), decoded.as_str(), text(skip));
}

fn encode(tokenizer: &Tokenizer, case: &Value, adds: &Value, differences: &mut Differences, name: &str) {
    let said = text(&case["text"]);
    let ids = |specials| tokenizer.encode(said, specials).expect("encoded");
    differences.check(|| format!("{name} ids of {said:?}"), ids(Specials::None), integers(&case["ids"]));
    let whole = with_specials(case, adds);
    differences.check(|| format!("{name} with specials {said:?}"), ids(Specials::AsModel), whole.clone());
    if let Some(tokens) = case["tokens"].as_str() {
        let pieces = integers(&case["ids"]).into_iter().map(|id| tokenizer.piece(id).unwrap_or_default());
        differences.check(
            || format!("{name} tokens of {said:?}"),
            pieces.collect::<Vec<_>>().join(" ").as_str(),
            tokens,
        );
    }
    if !case["decoded"].is_null() {
        decode(tokenizer, &whole, case, differences, name);
    }
}

fn pairs(tokenizer: &Tokenizer, variant: &Value, differences: &mut Differences, name: &str) {
    for pair in list(&variant["pairs"]) {
        for (key, length) in [("whole", usize::MAX), ("cut_to_16", 16)] {
            let expected = &pair[key];
            let ids = integers(&expected["ids"]);
            let types = if expected["types"].is_null() { vec![0; ids.len()] } else { integers(&expected["types"]) };
            let got = tokenizer.encode_pair(text(&pair["a"]), pair["b"].as_str(), length).expect("encoded");
            differences.check(
                || format!("{name} pair {key} {} | {}", pair["a"], pair["b"]),
                got,
                TypedTokens { ids, types },
            );
        }
    }
}

fn variant(folder: &Path, all: &Value, variant: &Value, differences: &mut Differences) {
    let named = ["folder", "file"].into_iter().find_map(|key| variant[key].as_str()).expect("a folder or a file");
    let tokenizer = match Tokenizer::open(&folder.join(named)) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return differences.add(error.to_string()),
    };
    let about = &variant["about"];
    if variant["file"].is_null() {
        for (key, id) in [("bos", tokenizer.bos()), ("eos", tokenizer.eos())] {
            if let Some(expected) = about[key].as_i64() {
                differences.check(|| format!("{named} {key}"), id, Some(expected));
            }
        }
    } else {
        let mut ends = tokenizer.turn_ends();
        ends.sort_unstable();
        differences.check(|| format!("{named} ends"), ends, integers(&about["llama.cpp"]["ends"]));
    }
    for case in cases(all, variant) {
        encode(&tokenizer, case, &variant["adds"], differences, named);
    }
    // What the reference cannot decode has its error there.
    for case in list(&variant["decode"]).iter().filter(|case| case["decoded"].is_string()) {
        decode(&tokenizer, &integers(&case["ids"]), case, differences, named);
    }
    pairs(&tokenizer, variant, differences, named);
}

fn folder_of(kind: &str) {
    let (folder, all) = fixtures(kind);
    let mut differences = Differences::default();
    // A variant without values is one that no version reads.
    let known = |entry: &&Value| !entry["about"].is_null();
    list(&all["variants"]).iter().filter(known).for_each(|entry| variant(&folder, &all, entry, &mut differences));
    differences.none();
}

#[test]
fn tokenizer_json() {
    folder_of("json-variants");
}

#[test]
fn vocab_txt() {
    folder_of("bert-files");
}

#[test]
fn vocab_json_and_merges() {
    folder_of("gpt2-files");
}

#[test]
fn tokenizer_model() {
    folder_of("llama-spm");
}

/// What the slow tokenizer of transformers 4.45.1 says of a field: where it is not named it agrees.
fn slow<'a>(case: &'a Value, field: &str) -> &'a Value {
    let differs = &case["differs"][field]["4.45.1 slow"];
    if differs.is_null() { &case[field] } else { differs }
}

/// The case as the slow tokenizer has it.
fn slowly(case: &Value) -> Value {
    let mut slowly = case.clone();
    for field in ["ids", "tokens", "decoded", "decoded_skip", "with_specials"] {
        slowly[field] = slow(case, field).clone();
    }
    slowly
}

#[test]
fn llamas_slow_tokenizer() {
    let (folder, all) = fixtures("llama-spm");
    let mut differences = Differences::default();
    let read = |variant: &&Value| {
        let class = variant["class"]["4.45.1 slow"].as_str();
        class == Some("LlamaTokenizer") && variant["fails"]["4.45.1 slow"].is_null()
    };
    for variant in list(&all["variants"]).iter().filter(read) {
        let name = text(&variant["folder"]);
        let tokenizer =
            Tokenizer::open_as(&folder.join(name), TokenizerVersion::Slow).unwrap_or_else(|error| panic!("{error}"));
        let name = format!("{name} (slow)");
        for case in cases(&all, variant).iter().map(slowly) {
            encode(&tokenizer, &case, slow(variant, "adds"), &mut differences, &name);
        }
        for case in list(&variant["decode"]).iter().map(slowly).filter(|case| case["decoded"].is_string()) {
            decode(&tokenizer, &integers(&case["ids"]), &case, &mut differences, &name);
        }
    }
    differences.none();
}

#[test]
fn gguf() {
    folder_of("gguf");
}

/// `scripts/goldens/unigram.py`: only the repository has it.
#[test]
fn sentencepiece_unigram() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/tokenizers/unigram"));
    let all = read(&folder.join("cases.json"));
    let mut differences = Differences::default();
    for one in list(&all["variants"]) {
        variant(folder, &all, one, &mut differences);
    }
    differences.none();
}

#[test]
fn xlm_robertas_tokenizer_is_known_by_its_model() {
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/tokenizers/unigram/xlm-roberta"));
    let bare = tempfile::TempDir::new().expect("a folder");
    for name in ["config.json", "sentencepiece.bpe.model"] {
        std::fs::copy(golden.join(name), bare.path().join(name)).expect("copied");
    }
    let ids = |folder: &Path| {
        let tokenizer = Tokenizer::open(folder).unwrap_or_else(|error| panic!("{error}"));
        tokenizer.encode("fill the <mask> of ﬁne words", Specials::AsModel).expect("encoded")
    };
    assert_eq!(ids(bare.path()), ids(golden));
}
