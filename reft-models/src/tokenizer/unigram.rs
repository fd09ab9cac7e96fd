//! A SentencePiece model of the kind Unigram, as transformers makes a fast tokenizer of it: XLM-RoBERTa's, T5's, and Llama's class
//! where its file is of this kind.
//!
//! | class | ids | normalised | a text |
//! |---|---|---|---|
//! | XLM-RoBERTa | `<s>`, `<pad>`, `</s>`, `<unk>`, then the file's from its fourth piece, then `<mask>` (fairseq's order) | by the file | `<s> A </s>`, `<s> A </s> </s> B </s>` |
//! | T5 | the file's, then `<extra_id_99>` to `<extra_id_0>` | by the file | `A </s>`, `A </s> B </s>` |
//! | Llama | the file's, what no piece spells in bytes | not at all | as for BPE |

use serde_json::{Value, json};
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Precompiled;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

use super::TokenizerError;
use super::class::TokenizerClass;
use super::files::{Files, wrong};
use super::sentencepiece::{SPACE, StoredModel, spaces};

/// Pieces at the beginning of a file that fairseq has under other ids, and Llama's class without scores.
const FIRST: usize = 3;

/// The pieces of XLM-RoBERTa that are not the file's.
const FAIRSEQ: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];

/// How many tokens T5 has for what is left out of a text, where no file says it.
const EXTRA_IDS: u64 = 100;

/// The tokenizer of a folder with such a file.
pub(super) fn open(files: &Files, stored: &StoredModel) -> Result<Tokenizer, TokenizerError> {
    let refuse = |reason: String| wrong(&files.path(stored.name), reason);
    let built = match files.tokenizer_class()? {
        Some(TokenizerClass::XlmRoberta) => xlm_roberta(stored),
        Some(TokenizerClass::T5) => t5(files, stored)?,
        Some(TokenizerClass::Llama) => llama(files, stored)?,
        None if files.class()?.is_none() => llama(files, stored)?,
        _ => {
            let class = files.class()?.unwrap_or("of this model");
            let reason = "LlamaTokenizer: save the model's tokenizer as tokenizer.json";
            let known = "is read for the classes XLMRobertaTokenizer, T5Tokenizer and";
            return Err(refuse(format!("a SentencePiece model of the kind Unigram {known} {reason} ({class})")));
        }
    };
    built.map_err(|reason| refuse(format!("{reason}: copy it again")))
}

type Scored = Vec<(String, f64)>;

/// The file's pieces from `first` on.
fn scored(stored: &StoredModel, first: usize) -> impl Iterator<Item = (String, f64)> {
    stored.pieces.pieces.iter().skip(first).map(|piece| (piece.text.clone(), f64::from(piece.score)))
}

fn unscored<T: ToString>(tokens: impl IntoIterator<Item = T>) -> impl Iterator<Item = (String, f64)> {
    tokens.into_iter().map(|token| (token.to_string(), 0.0))
}

fn model(pieces: Scored, unknown: usize, bytes: bool) -> Result<Unigram, String> {
    Unigram::from(pieces, Some(unknown), bytes).map_err(|error| error.to_string())
}

fn xlm_roberta(stored: &StoredModel) -> Result<Tokenizer, String> {
    let pieces = unscored(FAIRSEQ).chain(scored(stored, FIRST)).chain(unscored(["<mask>"])).collect();
    let parts = parts(&stored.charsmap, "always")?;
    let mut tokenizer = stored.pieces.around(model(pieces, FAIRSEQ.len() - 1, false)?, &parts)?;
    // It is found after normalisation, and takes the spaces before it.
    let mask = AddedToken::from("<mask>", true).lstrip(true).normalized(true);
    tokenizer.add_special_tokens([mask]).map_err(|error| error.to_string())?;
    around(&mut tokenizer, "<s> $A </s>", "<s> $A </s> </s> $B </s>")?;
    Ok(tokenizer)
}

fn t5(files: &Files, stored: &StoredModel) -> Result<Result<Tokenizer, String>, TokenizerError> {
    let extra = files.number("extra_ids")?.unwrap_or(EXTRA_IDS);
    let scheme = match (files.switch("add_prefix_space")?.unwrap_or(true), files.switch("legacy")?.unwrap_or(true)) {
        (true, true) => "always",
        (true, false) => "first",
        (false, _) => "never",
    };
    Ok(t5_of(stored, extra, scheme))
}

fn t5_of(stored: &StoredModel, extra: u64, scheme: &str) -> Result<Tokenizer, String> {
    let names: Vec<String> = (0..extra).rev().map(|id| format!("<extra_id_{id}>")).collect();
    let pieces = scored(stored, 0).chain(unscored(&names)).collect();
    let model = model(pieces, stored.unknown, false)?;
    let mut tokenizer = stored.pieces.around(model, &parts(&stored.charsmap, scheme)?)?;
    let special = names.into_iter().map(|name| AddedToken::from(name, true)).collect::<Vec<_>>();
    tokenizer.add_special_tokens(special).map_err(|error| error.to_string())?;
    around(&mut tokenizer, "$A </s>", "$A </s> $B </s>")?;
    Ok(tokenizer)
}

fn llama(files: &Files, stored: &StoredModel) -> Result<Result<Tokenizer, String>, TokenizerError> {
    let first = stored.pieces.pieces.iter().take(FIRST).map(|piece| &piece.text);
    let pieces = unscored(first).chain(scored(stored, FIRST)).collect();
    let parts = spaces(files)?.parts();
    Ok(model(pieces, 0, true).and_then(|model| stored.pieces.around(model, &parts)))
}

/// What stands around the model: the file's normaliser, spaces at the end cut, several spaces one, words cut at spaces.
fn parts(charsmap: &[u8], scheme: &str) -> Result<Value, String> {
    let mut normalizers = Vec::new();
    if !charsmap.is_empty() {
        let compiled =
            Precompiled::from(charsmap).map_err(|_| "its normaliser's replacements are damaged".to_owned())?;
        normalizers.push(serde_json::to_value(compiled).map_err(|error| error.to_string())?);
    }
    normalizers.push(json!({"type": "Strip", "strip_left": false, "strip_right": true}));
    normalizers.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": SPACE}));
    let metaspace = json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": true});
    Ok(json!({"normalizer": {"type": "Sequence", "normalizers": normalizers}, "pre_tokenizer": metaspace,
        "decoder": metaspace}))
}

/// Special tokens around a text and between two; all token types are 0.
fn around(tokenizer: &mut Tokenizer, single: &str, pair: &str) -> Result<(), String> {
    let id = |token: &str| {
        let id =
            tokenizer.token_to_id(token).ok_or_else(|| format!("has no piece `{token}`, which every text needs"))?;
        Ok::<_, String>((token.to_owned(), id))
    };
    let tokens =
        ["<s>", "</s>"].into_iter().filter(|token| single.contains(token)).map(id).collect::<Result<_, _>>()?;
    let typed = |template: &str| template.split(' ').map(|part| format!("{part}:0")).collect::<Vec<_>>();
    let template = TemplateProcessing::builder()
        .try_single(typed(single))
        .and_then(|builder| builder.try_pair(typed(pair)))
        .and_then(|builder| {
            builder.special_tokens::<Vec<(String, u32)>>(tokens).build().map_err(|error| error.to_string())
        })?;
    tokenizer.with_post_processor(Some(template));
    Ok(())
}
