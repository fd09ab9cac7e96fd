//! Byte-level BPE published as `vocab.json` and `merges.txt`, as transformers builds it.

use std::collections::HashMap;

use serde_json::json;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::{AddedToken, Tokenizer};

use super::TokenizerError;
use super::class::TokenizerClass;
use super::files::{Files, parse, required, wrong};
use super::parts::{assemble, cut};

pub(super) const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";

/// How Qwen2 cuts a text: like GPT-2, but digits singly, and line ends with what stands before them.
pub(super) const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Reads both files of a model's folder.
pub(super) fn open(files: &Files) -> Result<Tokenizer, TokenizerError> {
    let (path, merges_path) = (files.path(VOCABULARY), files.path(MERGES));
    let class = files.tokenizer_class()?.unwrap_or(TokenizerClass::Gpt2);
    let text = required(&path, "copy the model's vocab.json there")?;
    let vocabulary = serde_json::from_value::<HashMap<String, u32>>(parse(&path, &text)?);
    let vocabulary: Vocab = vocabulary
        .map(|tokens| tokens.into_iter().collect())
        .map_err(|_| wrong(&path, "not a list of tokens with their ids: copy it again"))?;
    let written = required(&merges_path, "copy the model's merges.txt there")?;
    let merges = merges(&written, class).ok_or_else(|| wrong(&merges_path, "a line is not a pair: copy it again"))?;
    let library = |error: tokenizers::Error| wrong(&merges_path, format!("{error}: copy both files from one model"));
    let bpe = BPE::builder().vocab_and_merges(vocabulary, merges).build().map_err(library)?;
    let special = |name: &str| {
        let token = files.named(name, Some(class))?.ok_or_else(|| wrong(&path, format!("no {name} is named")))?;
        let missing = || wrong(&path, format!("has no `{}`, which every text needs: copy it again", token.content));
        let id = tokenizers::Model::token_to_id(&bpe, &token.content).ok_or_else(missing)?;
        Ok::<_, TokenizerError>(json!([token.content, id]))
    };
    let prefix = files.switch("add_prefix_space")?.unwrap_or(false);
    let bytes = |prefix: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true});
    let mut parts = json!({"pre_tokenizer": bytes(prefix), "decoder": bytes(true)});
    match class {
        TokenizerClass::Roberta => {
            parts["post_processor"] = json!({"type": "RobertaProcessing", "sep": special("sep_token")?,
                "cls": special("cls_token")?, "trim_offsets": true, "add_prefix_space": prefix});
        }
        TokenizerClass::Qwen2 => {
            parts["normalizer"] = json!({"type": "NFC"});
            parts["pre_tokenizer"] = cut(&[QWEN2], prefix);
        }
        TokenizerClass::Gpt2
        | TokenizerClass::Llama
        | TokenizerClass::Gemma
        | TokenizerClass::Bert
        | TokenizerClass::XlmRoberta
        | TokenizerClass::T5 => {}
    }
    let mut tokenizer = assemble(bpe, &parts).map_err(|reason| wrong(&path, reason))?;
    if class == TokenizerClass::Roberta {
        // Takes the space before it.
        if let Some(mask) =
            files.named("mask_token", Some(class))?.filter(|mask| tokenizer.token_to_id(&mask.content).is_some())
        {
            let mask = AddedToken::from(mask.content, true).lstrip(true);
            tokenizer.add_special_tokens([mask]).map_err(library)?;
        }
    }
    Ok(tokenizer)
}

/// Pairs, a line each. The first line is the version; where there is none, transformers' GPT-2 loses a merge, and so do ids.
fn merges(written: &str, class: TokenizerClass) -> Option<Merges> {
    let lines: Vec<&str> = written.split('\n').collect();
    let lines = match class {
        TokenizerClass::Qwen2 => &lines[usize::from(lines[0].starts_with("#version:"))..],
        TokenizerClass::Gpt2
        | TokenizerClass::Roberta
        | TokenizerClass::Llama
        | TokenizerClass::Gemma
        | TokenizerClass::Bert
        | TokenizerClass::XlmRoberta
        | TokenizerClass::T5 => lines.get(1..)?,
    };
    let lines = lines.iter().map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty());
    lines.map(|line| line.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned()))).collect()
}

/// Whether begin tokens are put before a text: GPT-2's class has a switch for it.
pub(super) fn adds_bos(files: &Files) -> Result<bool, TokenizerError> {
    Ok(files.tokenizer_class()? == Some(TokenizerClass::Gpt2) && files.switch("add_bos_token")?.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_never_a_merge_of_gpt2() {
        let pair = |left: &str, right: &str| (left.to_owned(), right.to_owned());
        let all = vec![pair("a", "b"), pair("ab", "c")];
        assert_eq!(merges("#version: 0.2\na b\r\nab c\n", TokenizerClass::Gpt2), Some(all.clone()));
        assert_eq!(merges("a b\nab c\n", TokenizerClass::Gpt2), Some(all[1..].to_vec()));
        assert_eq!(merges("a b\nab c", TokenizerClass::Qwen2), Some(all));
        assert_eq!(merges("#version: 0.2\nab\n", TokenizerClass::Gpt2), None);
    }

    #[test]
    fn the_expression_is_one() {
        let parts = cut(&[QWEN2], false);
        assert!(serde_json::from_value::<tokenizers::PreTokenizerWrapper>(parts).is_ok());
    }
}
