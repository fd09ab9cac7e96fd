//! The vocabulary inside a GGUF file, byte-level BPE or SentencePiece's, as a tokenizer of the same behaviour.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, Merges, Vocab};

use super::byte_level::QWEN2;
use super::ends::distinct;
use super::parts::{assemble, cut};
use super::sentencepiece::{Piece, PieceType, Pieces, Spaces};
use super::template::{DEFAULT, Templates};
use super::{Tokenizer, TokenizerError};
use crate::gguf::GgufFile;

const PRE: &str = "tokenizer.ggml.pre";

/// Tokens that end an answer: the document's end, the turn's and the message's.
const ENDS: [&str; 3] = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// What templates call tokens that the file names.
const SPECIALS: [(&str, &str); 4] = [
    ("bos_token", "tokenizer.ggml.bos_token_id"),
    ("eos_token", "tokenizer.ggml.eos_token_id"),
    ("unk_token", "tokenizer.ggml.unknown_token_id"),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
];

/// Vocabularies in GGUF files, by what `tokenizer.ggml.model` calls them, for lists.
pub(super) const KINDS: [(&str, &str); 2] = [
    (
        BYTE_LEVEL,
        "byte-level BPE, cut as tokenizer.ggml.pre says: gpt-2, smollm, llama-bpe, qwen2, default and their other names",
    ),
    (
        SENTENCEPIECE,
        "SentencePiece's BPE of Llama and Gemma; not Unigram (t5), WordPiece (bert) and RWKV's, with which no family here is stored",
    ),
];

const BYTE_LEVEL: &str = "gpt2";
const SENTENCEPIECE: &str = "llama";

/// Reads the vocabulary of `path`.
pub(super) fn open(path: &Path) -> Result<Tokenizer, TokenizerError> {
    let file = GgufFile::open(path)?;
    let wrong = |reason: String| TokenizerError::Open { path: path.to_owned(), reason };
    let family = file.text("tokenizer.ggml.model")?;
    let (inner, adds_bos) = match family.as_str() {
        BYTE_LEVEL => byte_level(&file)?.map_err(wrong)?,
        SENTENCEPIECE => (sentencepiece(&file)?.map_err(wrong)?, true),
        other => return Err(wrong(format!("a `{other}` vocabulary is not read from GGUF files: {ADVICE}"))),
    };
    let special = |key: &str| file.integer(key).ok();
    let (bos, eos) = (special("tokenizer.ggml.bos_token_id"), special("tokenizer.ggml.eos_token_id"));
    let mut tokenizer = Tokenizer::new(inner);
    (tokenizer.bos, tokenizer.eos) = (bos, eos);
    tokenizer.ends = distinct(ENDS.into_iter().filter_map(special).filter(|id| *id >= 0));
    for (name, id) in SPECIALS.into_iter().map(|(name, key)| (name, special(key))) {
        tokenizer.specials.extend(id.and_then(|id| tokenizer.piece(id)).map(|token| (name, token)));
    }
    tokenizer.templates = templates(&file);
    let around = |switch: &str, usual: bool, id: Option<i64>| -> Result<Option<String>, TokenizerError> {
        let on = if file.has(switch) { file.switch(switch)? } else { usual };
        if !on {
            return Ok(None);
        }
        let missing = || wrong(format!("`{switch}` is on, but the file does not name that token: download it again"));
        id.and_then(|id| tokenizer.piece(id)).ok_or_else(missing).map(Some)
    };
    let begin = around("tokenizer.ggml.add_bos_token", adds_bos, bos)?;
    let end = around("tokenizer.ggml.add_eos_token", false, eos)?;
    if begin.is_some() || end.is_some() {
        tokenizer.surround(begin.as_deref(), end.as_deref()).map_err(wrong)?;
    }
    Ok(tokenizer)
}

const ADVICE: &str = "use the model's safetensors folder with its tokenizer.json";

/// What the file itself lacks is the outer error; what is not known here is the inner one.
type GgufReading<T> = Result<Result<T, String>, TokenizerError>;

/// What is found in a text before it is cut: control tokens and user-defined ones.
fn added(file: &GgufFile, tokens: &[String]) -> Result<Vec<AddedToken>, TokenizerError> {
    let kinds = file.integers("tokenizer.ggml.token_type")?;
    let found = tokens.iter().zip(kinds.into_iter().map(PieceType::of));
    let found = found.filter(|(_, kind)| matches!(kind, PieceType::Control | PieceType::UserDefined));
    let token = |(text, kind): (&String, PieceType)| {
        AddedToken::from(text.clone(), kind == PieceType::Control).normalized(false)
    };
    Ok(found.map(token).collect())
}

/// A byte-level tokenizer, and whether llama.cpp puts the begin token before its texts unasked.
fn byte_level(file: &GgufFile) -> GgufReading<(tokenizers::Tokenizer, bool)> {
    let name = if file.has(PRE) { file.text(PRE)? } else { "default".to_owned() };
    let Some(cutting) = PreTokenizer::of(&name) else {
        return Ok(Err(format!("pre-tokenizer `{name}` is not read from GGUF files: {ADVICE}")));
    };
    let tokens = file.texts("tokenizer.ggml.tokens")?;
    let merges = file.texts("tokenizer.ggml.merges")?;
    let added = added(file, &tokens)?;
    let vocabulary: Vocab = (0..).zip(&tokens).map(|(id, token)| (token.clone(), id)).collect();
    let build = || {
        let inconsistent =
            |error: tokenizers::Error| format!("its vocabulary is inconsistent ({error}): download it again");
        let bpe = BPE::builder().vocab_and_merges(vocabulary, self::merges(&merges)?);
        let bpe = bpe.ignore_merges(cutting == PreTokenizer::Llama3).build().map_err(inconsistent)?;
        let mut inner = assemble(bpe, &cutting.parts())?;
        inner.add_tokens(added).map_err(inconsistent)?;
        Ok((inner, cutting == PreTokenizer::Llama3))
    };
    Ok(build())
}

/// A tokenizer of SentencePiece's kind.
fn sentencepiece(file: &GgufFile) -> GgufReading<tokenizers::Tokenizer> {
    let (tokens, scores) = (file.texts("tokenizer.ggml.tokens")?, file.scores("tokenizer.ggml.scores")?);
    let kinds = file.integers("tokenizer.ggml.token_type")?;
    if scores.len() != tokens.len() || kinds.len() != tokens.len() {
        return Ok(Err("its tokens, scores and types are not as many: download it again".to_owned()));
    }
    let piece = |((text, score), kind): ((String, f32), i64)| {
        let kind = PieceType::of(kind);
        // SentencePiece's own spelling; llama.cpp's files have real spaces in these.
        let text = if kind == PieceType::UserDefined { text.replace(' ', super::sentencepiece::SPACE) } else { text };
        Piece { text, score, kind }
    };
    let pieces: Vec<Piece> = tokens.into_iter().zip(scores).zip(kinds).map(piece).collect();
    let prefix = !file.has("tokenizer.ggml.add_space_prefix") || file.switch("tokenizer.ggml.add_space_prefix")?;
    let gemma = file.text("general.architecture")?.starts_with("gemma");
    let spaces = match (gemma, prefix) {
        (true, _) => Spaces::Gemma,
        (false, true) => Spaces::Always,
        (false, false) => Spaces::Never,
    };
    let pieces = Pieces { pieces, dummy_prefix: prefix };
    let build = || {
        let mut inner = pieces.tokenizer(spaces)?;
        let unknown = pieces.unknown().map(|(_, unknown)| AddedToken::from(unknown, true).normalized(false));
        inner.add_special_tokens(unknown).map_err(|error| error.to_string())?;
        Ok(inner)
    };
    Ok(build().map_err(|reason: String| format!("{reason}: download it again")))
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

/// How text is cut before the merges, by llama.cpp's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PreTokenizer {
    Gpt2,
    /// Digits singly, then as GPT-2.
    SmolLm,
    /// Digits by threes; whole words of the vocabulary need no merges.
    Llama3,
    Qwen2,
    /// That of files which name none.
    Default,
}

/// Llama 3's expression.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// llama.cpp's `default`, one after another.
const DEFAULTS: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
];

impl PreTokenizer {
    fn of(name: &str) -> Option<Self> {
        match name {
            "gpt-2" | "phi-2" | "olmo" => Some(Self::Gpt2),
            "smollm" | "starcoder" => Some(Self::SmolLm),
            "llama-bpe" | "llama-v3" | "llama3" => Some(Self::Llama3),
            "qwen2" => Some(Self::Qwen2),
            "default" => Some(Self::Default),
            _ => None,
        }
    }

    /// Normaliser, pre-tokenizer and decoder, as in `tokenizer.json`.
    fn parts(self) -> Value {
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let pre_tokenizer = match self {
            Self::Gpt2 => bytes.clone(),
            Self::SmolLm => {
                json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, bytes]})
            }
            Self::Llama3 => cut(&[LLAMA3], false),
            Self::Qwen2 => cut(&[QWEN2], false),
            Self::Default => cut(&DEFAULTS, false),
        };
        let normalizer = if self == Self::Qwen2 { json!({"type": "NFC"}) } else { Value::Null };
        json!({"normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "decoder": bytes})
    }
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
