//! A model's folder: its `tokenizer.json`, or a BERT's `vocab.txt` alone.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

use super::ends::distinct;
use super::files::{AddedEnds, Files, parse, required};
use super::{Tokenizer, TokenizerError, wordpiece};

/// What templates call tokens that the tokenizer's files name.
const SPECIALS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"];

/// Reads `tokenizer.json` and the files beside it.
pub(super) fn open(model: &Path) -> Result<Tokenizer, TokenizerError> {
    let path = model.join("tokenizer.json");
    let wrong = |reason: String| TokenizerError::Open { path: path.clone(), reason };
    let inner = if wordpiece::is_alone(model) { wordpiece::open(model)? } else { read(&path)? };
    let mut tokenizer = Tokenizer::new(inner);
    let files = Files::read(model)?;
    tokenizer.add_missing(files.added_tokens()?).map_err(wrong)?;
    tokenizer.name_specials(&files)?;
    tokenizer.templates = files.templates()?;
    if let Some(added) = files.added_ends()? {
        tokenizer.add_ends(added, &files).map_err(wrong)?;
    }
    tokenizer.normalise_as_bert(&files.bert_switches()?).map_err(wrong)?;
    Ok(tokenizer)
}

/// `tokenizer.json`. Files of some models carry their training's length limit and padding; texts here are encoded whole.
fn read(path: &Path) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let wrong = |reason: String| TokenizerError::Open { path: path.to_owned(), reason };
    let text = required(path, "copy the model's tokenizer.json there")?;
    let json = parse(path, &text)?;
    let read = serde_json::from_str::<tokenizers::Tokenizer>(&text);
    let mut inner =
        read.map_err(|_| wrong(format!("{}: copy the model's tokenizer.json again", unknown_part(&json))))?;
    let truncation = inner.with_truncation(None);
    truncation.map_err(|error| wrong(format!("{error}: copy the model's tokenizer.json again")))?.with_padding(None);
    Ok(inner)
}

/// Which part of a `tokenizer.json` this library does not read.
fn unknown_part(json: &Value) -> String {
    fn reads<T: serde::de::DeserializeOwned>(part: &Value) -> bool {
        part.is_null() || serde_json::from_value::<T>(part.clone()).is_ok()
    }
    let model_missing = json.get("model").is_none_or(Value::is_null);
    let parts = [
        ("model", !model_missing && reads::<ModelWrapper>(&json["model"])),
        ("normalizer", reads::<NormalizerWrapper>(&json["normalizer"])),
        ("pre_tokenizer", reads::<PreTokenizerWrapper>(&json["pre_tokenizer"])),
        ("post_processor", reads::<PostProcessorWrapper>(&json["post_processor"])),
        ("decoder", reads::<DecoderWrapper>(&json["decoder"])),
    ];
    let part = parts.into_iter().find(|(_, reads)| !reads).map_or("added_tokens", |(name, _)| name);
    match json[part]["type"].as_str() {
        Some(kind) => format!("its `{part}` of type `{kind}` is incomplete or of a kind that is not known here"),
        None => format!("its `{part}` is missing, incomplete or of a kind that is not known here"),
    }
}

impl Tokenizer {
    /// Adds tokens that only the files beside `tokenizer.json` know.
    fn add_missing(&mut self, added: BTreeMap<u32, AddedToken>) -> Result<(), String> {
        for (id, token) in added {
            let content = token.content.clone();
            if self.inner.token_to_id(&content).is_some() {
                continue;
            }
            let special = token.special;
            let new = if special { self.inner.add_special_tokens([token]) } else { self.inner.add_tokens([token]) };
            new.map_err(|error| error.to_string())?;
            let got = self.inner.token_to_id(&content);
            if got != Some(id) {
                let got = got.map_or("none".to_owned(), |got| got.to_string());
                return Err(format!(
                    "the files beside it add the token `{content}` as id {id}, but the next free id is {got}: copy all \
                     files of the tokenizer from the same model"
                ));
            }
        }
        Ok(())
    }

    /// Begin and end tokens, and the names that templates know. A token's text in the tokenizer's own files comes before
    /// its id in the model's.
    fn name_specials(&mut self, files: &Files) -> Result<(), TokenizerError> {
        let known = |text: &str| self.inner.token_to_id(text).map(i64::from);
        let (bos, eos) = (files.token("bos_token", known)?, files.token("eos_token", known)?);
        self.ends = distinct(files.ids("eos_token_id")?);
        self.bos = bos.or(files.ids("bos_token_id")?.first().copied());
        self.eos = eos.or(self.ends.first().copied());
        for name in SPECIALS {
            self.specials.extend(files.names(name)?.map(|token| (name, token.to_owned())));
        }
        Ok(())
    }

    /// Begin and end tokens around every text as the tokenizer's class puts them, instead of `tokenizer.json`'s rule.
    fn add_ends(&mut self, added: AddedEnds, files: &Files) -> Result<(), String> {
        let token = |wanted: bool, name: &str, usual: &str| -> Result<Option<String>, String> {
            if !wanted {
                return Ok(None);
            }
            let named = self.specials.get(name).map_or(usual, String::as_str);
            match self.inner.token_to_id(named) {
                Some(_) => Ok(Some(named.to_owned())),
                None => Err(format!(
                    "tokenizer_config.json wants `{named}` around every text, but it is no token here: name the {name} of \
                     this vocabulary, or set add_{name} to false"
                )),
            }
        };
        let ends = (token(added.bos, "bos_token", "<s>"), token(added.eos, "eos_token", "</s>"));
        match ends {
            (Ok(bos), Ok(eos)) => self.surround(bos.as_deref(), eos.as_deref()),
            // The class's habit, and not a file, asks for a token that the vocabulary lacks.
            _ if !added.asked && files.names("bos_token").is_ok_and(|name| name.is_none()) => Ok(()),
            (Err(reason), _) | (_, Err(reason)) => Err(reason),
        }
    }

    /// Makes [`Specials::AsModel`](super::Specials::AsModel) put these tokens before and after every text.
    pub(super) fn surround(&mut self, before: Option<&str>, after: Option<&str>) -> Result<(), String> {
        let part = |token: Option<&str>, kind: u32| token.map(|token| format!("{token}:{kind}"));
        let around = |text: &str, kind: u32| -> Vec<String> {
            let text = Some(format!("{text}:{kind}"));
            [part(before, kind), text, part(after, kind)].into_iter().flatten().collect()
        };
        let id = |token: &str| self.inner.token_to_id(token).map(|id| (token.to_owned(), id));
        let tokens: Vec<(String, u32)> = before.into_iter().chain(after).filter_map(id).collect();
        let template = TemplateProcessing::builder()
            .try_single(around("$A", 0))
            .and_then(|builder| builder.try_pair([around("$A", 0), around("$B", 1)].concat()))
            .and_then(|builder| builder.special_tokens(tokens).build().map_err(|error| error.to_string()))?;
        self.inner.with_post_processor(Some(template));
        Ok(())
    }

    /// BERT's normaliser with the switches of `tokenizer_config.json`.
    fn normalise_as_bert(&mut self, switches: &[(&str, bool)]) -> Result<(), String> {
        let Some(NormalizerWrapper::BertNormalizer(normalizer)) = self.inner.get_normalizer() else { return Ok(()) };
        if switches.is_empty() {
            return Ok(());
        }
        let wrong = |error: serde_json::Error| format!("its normalizer cannot be changed ({error}): copy it again");
        let mut json = serde_json::to_value(normalizer).map_err(wrong)?;
        for &(name, on) in switches {
            json[name] = on.into();
        }
        let normalizer = serde_json::from_value::<NormalizerWrapper>(json).map_err(wrong)?;
        self.inner.with_normalizer(Some(normalizer)).map_err(|error| error.to_string())?;
        Ok(())
    }
}
