//! A BERT tokenizer published as `vocab.txt` alone, as transformers builds it: one token a line, the id is the line.

use tokenizers::Tokenizer;
use tokenizers::decoders::wordpiece::WordPiece as Decoder;
use tokenizers::models::bpe::Vocab;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;

use super::TokenizerError;
use super::files::TokenizerClass;
use super::files::{Files, required, wrong as refused};

pub(super) const VOCABULARY: &str = "vocab.txt";

/// Letters of a word beyond which it is unknown.
const LONGEST_WORD: usize = 100;

/// Reads `vocab.txt`, with the names of special tokens and the switches of the files beside it.
pub(super) fn open(files: &Files) -> Result<Tokenizer, TokenizerError> {
    let path = files.path(VOCABULARY);
    let wrong = |reason: String| refused(&path, reason);
    let library = |error: tokenizers::Error| wrong(format!("{error}: copy the model's vocab.txt there"));
    let written = required(&path, "copy the model's vocab.txt there")?;
    let vocabulary = vocabulary(&written);
    let name = |key: &str| -> Result<String, TokenizerError> {
        Ok(files.named(key, Some(TokenizerClass::Bert))?.map(|token| token.content).unwrap_or_default())
    };
    let (unk, cls, sep) = (name("unk_token")?, name("cls_token")?, name("sep_token")?);
    let id = |token: &String| {
        let missing =
            || wrong(format!("has no line `{token}`, which every text needs: copy the model's vocab.txt there"));
        vocabulary.get(token).copied().ok_or_else(missing)
    };
    let ids = [(cls.clone(), id(&cls)?), (sep.clone(), id(&sep)?)];
    id(&unk)?;
    let pieces = WordPiece::builder()
        .vocab(vocabulary)
        .unk_token(unk)
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
    tokenizer.with_normalizer(Some(normalizer(files)?)).map_err(library)?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(around));
    tokenizer.with_decoder(Some(Decoder::default()));
    Ok(tokenizer)
}

/// Line ends of any system. Of equal lines the last counts.
fn vocabulary(written: &str) -> Vocab {
    let lines = written.replace("\r\n", "\n").replace('\r', "\n");
    let lines = lines.strip_suffix('\n').unwrap_or(&lines);
    (0..).zip(lines.split('\n')).map(|(id, token)| (token.to_owned(), id)).collect()
}

/// How text is cleaned before it is cut into words.
fn normalizer(files: &Files) -> Result<BertNormalizer, TokenizerError> {
    let chinese = files.switch("tokenize_chinese_chars")?.unwrap_or(true);
    let lower = files.switch("do_lower_case")?.unwrap_or(true);
    Ok(BertNormalizer::new(true, chinese, files.switch("strip_accents")?, lower))
}
