//! A BERT tokenizer published as `vocab.txt` alone, as transformers builds it: one token a line, the id is the line.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokenizers::decoders::wordpiece::WordPiece as Pieces;
use tokenizers::models::bpe::Vocab;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

use super::TokenizerError;
use super::files::{parse, read_text};

const VOCABULARY: &str = "vocab.txt";

/// Letters of a word beyond which it is unknown.
const LONGEST_WORD: usize = 100;

/// Whether a model's folder has this file and no `tokenizer.json`.
pub(super) fn is_alone(model: &Path) -> bool {
    !model.join("tokenizer.json").exists() && model.join(VOCABULARY).exists()
}

/// Reads `vocab.txt`, with the switches of `tokenizer_config.json` and the tokens of `added_tokens.json` if they are there.
pub(super) fn open(model: &Path) -> Result<Tokenizer, TokenizerError> {
    let path = model.join(VOCABULARY);
    let wrong = |reason: String| TokenizerError::Open { path: path.clone(), reason };
    let library = |error: tokenizers::Error| wrong(format!("{error}: copy the model's vocab.txt there"));
    let written = std::fs::read_to_string(&path).map_err(|error| wrong(format!("{error}: copy it there again")))?;
    let vocabulary = vocabulary(&written);
    let names = Names::read(model)?;
    let id = |token: &String| {
        let missing =
            || wrong(format!("has no line `{token}`, which every text needs: copy the model's vocab.txt there"));
        vocabulary.get(token).copied().ok_or_else(missing)
    };
    let (cls, sep) = (&names.cls, &names.sep);
    let ids = [(cls.clone(), id(cls)?), (sep.clone(), id(sep)?)];
    id(&names.unk)?;
    let pieces = WordPiece::builder()
        .vocab(vocabulary.clone())
        .unk_token(names.unk.clone())
        .continuing_subword_prefix("##".to_owned())
        .max_input_chars_per_word(LONGEST_WORD)
        .build()
        .map_err(library)?;
    let around = TemplateProcessing::builder()
        .try_single(format!("{cls}:0 $A:0 {sep}:0"))
        .and_then(|builder| builder.try_pair(format!("{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1")))
        .and_then(|builder| builder.special_tokens(ids.to_vec()).build().map_err(|error| error.to_string()))
        .map_err(wrong)?;
    let mut tokenizer = Tokenizer::new(pieces);
    tokenizer.with_normalizer(Some(normalizer(model)?)).map_err(library)?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(around));
    tokenizer.with_decoder(Some(Pieces::default()));
    let special = names.all().into_iter().filter(|name| vocabulary.contains_key(name.as_str()));
    let special: Vec<AddedToken> = special.map(|name| AddedToken::from(name.clone(), true)).collect();
    tokenizer.add_special_tokens(special).map_err(library)?;
    add(model, &mut tokenizer)?;
    Ok(tokenizer)
}

/// A JSON file; nothing where it is missing.
fn read_json(path: &Path) -> Result<Value, TokenizerError> {
    read_text(path)?.map_or(Ok(Value::Null), |text| parse(path, &text))
}

/// A token as the files write it: its text, or a section that holds it.
fn text(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// Line ends of any system. Of equal lines the last counts.
fn vocabulary(written: &str) -> Vocab {
    let lines = written.replace("\r\n", "\n").replace('\r', "\n");
    let lines = lines.strip_suffix('\n').unwrap_or(&lines);
    (0..).zip(lines.split('\n')).map(|(id, token)| (token.to_owned(), id)).collect()
}

/// How text is cleaned before it is cut into words.
fn normalizer(model: &Path) -> Result<BertNormalizer, TokenizerError> {
    let path = model.join("tokenizer_config.json");
    let config = read_json(&path)?;
    let switch = |key: &str| match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(on)) => Ok(Some(*on)),
        Some(other) => {
            let reason = format!("`{key}` is {other}: true or false is needed");
            Err(TokenizerError::Open { path: path.clone(), reason })
        }
    };
    let chinese = switch("tokenize_chinese_chars")?.unwrap_or(true);
    Ok(BertNormalizer::new(true, chinese, switch("strip_accents")?, switch("do_lower_case")?.unwrap_or(true)))
}

/// The special tokens, as text.
struct Names {
    unk: String,
    cls: String,
    sep: String,
    pad: String,
    mask: String,
}

impl Names {
    /// As the tokenizer's files call them, else BERT's.
    fn read(model: &Path) -> Result<Self, TokenizerError> {
        let files =
            [read_json(&model.join("tokenizer_config.json"))?, read_json(&model.join("special_tokens_map.json"))?];
        let name = |key: &str, usual: &str| {
            let found = files.iter().find_map(|file| file.get(key).and_then(text));
            found.unwrap_or(usual).to_owned()
        };
        Ok(Self {
            unk: name("unk_token", "[UNK]"),
            cls: name("cls_token", "[CLS]"),
            sep: name("sep_token", "[SEP]"),
            pad: name("pad_token", "[PAD]"),
            mask: name("mask_token", "[MASK]"),
        })
    }

    fn all(&self) -> [&String; 5] {
        [&self.unk, &self.sep, &self.pad, &self.cls, &self.mask]
    }
}

/// Adds the tokens of `added_tokens.json`, whose ids follow those of the vocabulary.
fn add(model: &Path, tokenizer: &mut Tokenizer) -> Result<(), TokenizerError> {
    let path = model.join("added_tokens.json");
    let wrong = |reason: String| TokenizerError::Open { path: path.clone(), reason };
    let added = read_json(&path)?;
    let Some(added) = added.as_object() else { return Ok(()) };
    let by_id: BTreeMap<Option<u64>, &String> = added.iter().map(|(token, id)| (id.as_u64(), token)).collect();
    for (id, token) in by_id {
        if tokenizer.token_to_id(token).is_none() {
            let library = |error: tokenizers::Error| wrong(format!("{error}: copy the model's files again"));
            tokenizer.add_tokens([AddedToken::from(token.clone(), false)]).map_err(library)?;
        }
        if tokenizer.token_to_id(token).map(u64::from) != id {
            return Err(wrong(format!(
                "`{token}` does not follow the tokens of {VOCABULARY}: copy the model's files again"
            )));
        }
    }
    Ok(())
}
