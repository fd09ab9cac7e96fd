//! The byte-level BPE vocabulary inside a GGUF file, as a tokenizer of the same behaviour.

use std::collections::BTreeMap;
use std::path::Path;

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, PreTokenizerWrapper};

use super::ends::distinct;
use super::template::{DEFAULT, Templates};
use super::{Tokenizer, TokenizerError};
use crate::gguf::GgufFile;

/// llama.cpp's numbers for what a token is; the other kinds need nothing of their own.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// Tokens that end an answer: the document's end, the turn's and the message's.
const ENDS: [&str; 3] = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// What templates call tokens that the file names.
const SPECIALS: [(&str, &str); 4] = [
    ("bos_token", "tokenizer.ggml.bos_token_id"),
    ("eos_token", "tokenizer.ggml.eos_token_id"),
    ("unk_token", "tokenizer.ggml.unknown_token_id"),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
];

/// Reads the vocabulary of `path`.
pub(super) fn open(path: &Path) -> Result<Tokenizer, TokenizerError> {
    let file = GgufFile::open(path)?;
    let wrong = |reason: String| TokenizerError::Open { path: path.to_owned(), reason };
    let pre_tokenizer = pre_tokenizer(&file)?.map_err(wrong)?;
    let tokens = file.texts("tokenizer.ggml.tokens")?;
    let merges = merges(&file.texts("tokenizer.ggml.merges")?).map_err(wrong)?;
    let vocabulary: Vocab = (0..).zip(&tokens).map(|(id, token)| (token.clone(), id)).collect();
    let library =
        |error: tokenizers::Error| wrong(format!("its vocabulary is inconsistent ({error}): download it again"));
    let bpe = BPE::builder().vocab_and_merges(vocabulary, merges).build().map_err(library)?;
    let mut inner = tokenizers::Tokenizer::new(bpe);
    inner.with_pre_tokenizer(Some(pre_tokenizer));
    inner.with_decoder(Some(ByteLevelDecoder::default()));
    let kinds = file.integers("tokenizer.ggml.token_type")?;
    let of_kind = |wanted: i64, special: bool| -> Vec<AddedToken> {
        let found = tokens.iter().zip(&kinds).filter(|&(_, &kind)| kind == wanted);
        found.map(|(token, _)| AddedToken::from(token.clone(), special).normalized(false)).collect()
    };
    inner.add_special_tokens(of_kind(CONTROL, true)).map_err(library)?;
    inner.add_tokens(of_kind(USER_DEFINED, false)).map_err(library)?;
    let special = |key: &str| file.integer(key).ok();
    let (bos, eos) = (special("tokenizer.ggml.bos_token_id"), special("tokenizer.ggml.eos_token_id"));
    let mut tokenizer = Tokenizer::new(inner);
    (tokenizer.bos, tokenizer.eos) = (bos, eos);
    tokenizer.ends = distinct(ENDS.into_iter().filter_map(special).filter(|id| *id >= 0));
    for (name, id) in SPECIALS.into_iter().map(|(name, key)| (name, special(key))) {
        tokenizer.specials.extend(id.and_then(|id| tokenizer.piece(id)).map(|token| (name, token)));
    }
    tokenizer.templates = templates(&file);
    let around = |switch: &str, id: Option<i64>| -> Result<Option<String>, TokenizerError> {
        if !file.switch(switch)? {
            return Ok(None);
        }
        let missing = || wrong(format!("`{switch}` is on, but the file does not name that token: download it again"));
        id.and_then(|id| tokenizer.piece(id)).ok_or_else(missing).map(Some)
    };
    let (begin, end) = (around("tokenizer.ggml.add_bos_token", bos)?, around("tokenizer.ggml.add_eos_token", eos)?);
    if begin.is_some() || end.is_some() {
        tokenizer.surround(begin.as_deref(), end.as_deref()).map_err(wrong)?;
    }
    Ok(tokenizer)
}

/// The chat template, and those with names of their own.
fn templates(file: &GgufFile) -> Templates {
    let key = "tokenizer.chat_template";
    let names = file.texts("tokenizer.chat_templates").unwrap_or_default();
    let named = names.into_iter().filter_map(|name| Some((name.clone(), file.text(&format!("{key}.{name}")).ok()?)));
    let mut all: BTreeMap<String, String> = named.collect();
    all.extend(file.text(key).ok().map(|source| (DEFAULT.to_owned(), source)));
    Templates::listed(all)
}

/// How text is cut before the merges; the outer error is the file's, the inner one says what is not known here.
fn pre_tokenizer(file: &GgufFile) -> Result<Result<Sequence, String>, TokenizerError> {
    let advice = "use the model's safetensors folder with its tokenizer.json";
    let family = file.text("tokenizer.ggml.model")?;
    if family != "gpt2" {
        return Ok(Err(format!("a `{family}` vocabulary is not read from GGUF files, only byte-level ones: {advice}")));
    }
    let bytes = PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, true));
    Ok(match file.text("tokenizer.ggml.pre")?.as_str() {
        "smollm" => Ok(Sequence::new(vec![PreTokenizerWrapper::Digits(Digits::new(true)), bytes])),
        "gpt-2" => Ok(Sequence::new(vec![bytes])),
        other => Err(format!("pre-tokenizer `{other}` is not read from GGUF files: {advice}")),
    })
}

/// Each merge is written as two pieces with a space between; byte-level pieces hold no space.
fn merges(written: &[String]) -> Result<Merges, String> {
    let pair = |merge: &String| {
        let (left, right) =
            merge.split_once(' ').ok_or_else(|| format!("merge `{merge}` is not a pair: download it again"))?;
        Ok((left.to_owned(), right.to_owned()))
    };
    written.iter().map(pair).collect()
}
