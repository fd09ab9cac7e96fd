//! The byte-level BPE vocabulary inside a GGUF file, as a tokenizer of the same behaviour.

use std::path::Path;
use std::sync::OnceLock;

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, PreTokenizerWrapper};

use super::{Tokenizer, TokenizerError};
use crate::gguf::GgufFile;

/// llama.cpp's numbers for what a token is; the other kinds need nothing of their own.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

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
    let ends = eos.into_iter().collect();
    let mut tokenizer = Tokenizer { inner, bos, eos, ends, chat: None, texts: OnceLock::new() };
    tokenizer.chat = file.text("tokenizer.chat_template").ok().map(|source| tokenizer.template(source));
    if file.switch("tokenizer.ggml.add_bos_token")? {
        tokenizer.begin_texts().map_err(wrong)?;
    }
    Ok(tokenizer)
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

impl Tokenizer {
    /// Makes `Specials::AsModel` put the begin token first.
    fn begin_texts(&mut self) -> Result<(), String> {
        let missing = || "its texts begin with a token that it does not name: download it again".to_owned();
        let id = self.bos.and_then(|id| u32::try_from(id).ok()).ok_or_else(missing)?;
        let token = self.inner.id_to_token(id).ok_or_else(missing)?;
        let template = TemplateProcessing::builder()
            .try_single(vec![token.clone(), "$A".to_owned()])
            .and_then(|builder| builder.special_tokens(vec![(token, id)]).build().map_err(|error| error.to_string()))?;
        self.inner.with_post_processor(Some(template));
        Ok(())
    }
}
