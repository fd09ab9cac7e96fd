//! A model's folder: its `tokenizer.json`, or the files that a tokenizer of its class was published as before there was one.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::Value;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizedString, Normalizer, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper,
};

use super::class::TokenizerClass;
use super::ends::distinct;
use super::files::{AddedEnds, Files, parse, required, wrong};
use super::sentencepiece::{Algorithm, StoredModel};
use super::slow::{Cut, SlowTokenizer, TokenRole as CutRole};
use super::{Tokenizer, TokenizerError, TokenizerVersion, byte_level, sentencepiece, unigram, wordpiece};
use crate::container::FileKind;

/// What templates call tokens that the tokenizer's files name.
const SPECIALS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"];

/// Special tokens without a name.
const FURTHER: &str = "additional_special_tokens";

const JSON: &str = "tokenizer.json";

/// Reads the tokenizer and the files beside it.
pub(super) fn open(model: &Path, reading: TokenizerVersion) -> Result<Tokenizer, TokenizerError> {
    let files = Files::read(model)?;
    let (inner, from) = build(&files)?;
    let path = files.path(from);
    let said = |reason: String| wrong(&path, reason);
    let built = from != JSON;
    let class = match from {
        JSON => None,
        _ => Some(files.tokenizer_class()?.unwrap_or(usual_class(from))),
    };
    let mut tokenizer = Tokenizer::new(inner);
    // BERT's slow class does it unasked, and so does the fast one that transformers 4.45.1 makes of it.
    tokenizer.clean = files.cleans(from == wordpiece::VOCABULARY)?;
    tokenizer.add_missing(files.added_tokens()?).map_err(said)?;
    let named = named(&files, class)?;
    tokenizer.add_named(&named).map_err(said)?;
    tokenizer.name_specials(&named, &files)?;
    tokenizer.templates = files.templates()?;
    if let Some(added) = files.added_ends(is_sentencepiece(from))? {
        tokenizer.add_ends(added).map_err(said)?;
    } else if built && byte_level::adds_bos(&files)? {
        let bos = tokenizer.specials.get("bos_token").cloned();
        tokenizer.surround(bos.as_deref(), None).map_err(said)?;
    }
    tokenizer.normalise_as_bert(&files.bert_switches()?).map_err(said)?;
    tokenizer.find_twins().map_err(said)?;
    // The first conversions of LLaMA name no token; only the slow tokenizer reads them.
    if has_slow(&files, reading)? || (is_sentencepiece(from) && files.nameless()) {
        tokenizer.slow = Some(tokenizer.slowly(&files, &named)?);
    }
    Ok(tokenizer)
}

/// A file that a folder's vocabulary is in.
struct VocabularySource {
    file: &'static str,
    about: &'static str,
    open: fn(&Files) -> Result<tokenizers::Tokenizer, TokenizerError>,
}

/// The first that is there is read.
const SOURCES: [VocabularySource; 6] = [
    VocabularySource {
        file: JSON,
        about: "every kind that the tokenizers library has; a length limit or padding in it is passed over, as texts are encoded whole",
        open: |files| read(&files.path(JSON)),
    },
    VocabularySource {
        file: sentencepiece::MODELS[0],
        about: "SentencePiece: BPE of Llama's and Gemma's classes (Llama's by the slow tokenizer too, tokenizer: slow), Unigram of \
                Llama's, T5's and XLM-RoBERTa's; not BPE that normalises texts, and not models of words or letters, which no family here has",
        open: stored,
    },
    VocabularySource {
        file: sentencepiece::MODELS[1],
        about: "the same under XLM-RoBERTa's name, ids in fairseq's order",
        open: stored,
    },
    VocabularySource {
        file: sentencepiece::MODELS[2],
        about: "the same under T5's name, with its extra ids, which decoders of other families use as well",
        open: stored,
    },
    VocabularySource { file: wordpiece::VOCABULARY, about: "WordPiece: BERT, DistilBERT", open: wordpiece::open },
    VocabularySource {
        file: byte_level::VOCABULARY,
        about: "with merges.txt, byte-level BPE: GPT-2, RoBERTa, Qwen 2 and 3; other classes as GPT-2",
        open: byte_level::open,
    },
];

/// The tokenizer of a SentencePiece model.
fn stored(files: &Files) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let stored = StoredModel::read(files)?;
    match stored.algorithm {
        Algorithm::Bpe => sentencepiece::open(files, &stored),
        Algorithm::Unigram => unigram::open(files, &stored),
    }
}

/// Every kind of file that a folder's tokenizer is read from.
pub(super) fn file_kinds() -> impl Iterator<Item = FileKind> {
    SOURCES.iter().map(|source| FileKind::new(source.file, source.about))
}

/// The tokenizer of the first of the files that is there, and that file.
fn build(files: &Files) -> Result<(tokenizers::Tokenizer, &'static str), TokenizerError> {
    let source = SOURCES.iter().find(|source| files.has(source.file)).unwrap_or(&SOURCES[0]);
    Ok(((source.open)(files)?, source.file))
}

/// Whether a file is a SentencePiece model.
fn is_sentencepiece(name: &str) -> bool {
    sentencepiece::MODELS.contains(&name)
}

/// Whether the slow tokenizer gives the ids.
fn has_slow(files: &Files, reading: TokenizerVersion) -> Result<bool, TokenizerError> {
    if reading.is_fast() {
        return Ok(false);
    }
    match files.tokenizer_class()? {
        Some(TokenizerClass::Llama) => Ok(true),
        None if files.class()?.is_some() => Ok(false), // a class that has no slow one
        None => Ok(sentencepiece::MODELS.iter().any(|name| files.has(name))),
        Some(
            TokenizerClass::Gemma
            | TokenizerClass::Gpt2
            | TokenizerClass::Roberta
            | TokenizerClass::Qwen2
            | TokenizerClass::Bert
            | TokenizerClass::XlmRoberta
            | TokenizerClass::T5,
        ) => {
            let reason = "the slow tokenizer of its class is not read, only Llama's: take the fast one";
            Err(wrong(&files.path("tokenizer_config.json"), reason))
        }
    }
}

/// The class of a folder that names none, by the file that its vocabulary is in.
fn usual_class(from: &str) -> TokenizerClass {
    match from {
        name if is_sentencepiece(name) => TokenizerClass::Llama,
        wordpiece::VOCABULARY => TokenizerClass::Bert,
        _ => TokenizerClass::Gpt2,
    }
}

/// The special tokens by their names.
type SpecialTokensByName = Vec<(&'static str, AddedToken)>;

fn named(files: &Files, class: Option<TokenizerClass>) -> Result<SpecialTokensByName, TokenizerError> {
    let mut named = SpecialTokensByName::new();
    for name in SPECIALS {
        named.extend(files.named(name, class)?.map(|token| (name, token)));
    }
    named.extend(files.further().into_iter().map(|token| (FURTHER, token)));
    Ok(named)
}

/// `tokenizer.json`. Files of some models carry their training's length limit and padding; texts here are encoded whole.
fn read(path: &Path) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let wrong = |reason: String| TokenizerError::Open { path: path.to_owned(), reason };
    let text = required(
        path,
        "copy the model's tokenizer.json there, or its tokenizer.model, vocab.txt, or vocab.json with merges.txt",
    )?;
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
    /// Adds tokens that only the files beside know. Of two descriptions of a token the first counts.
    fn add_missing(&mut self, added: BTreeMap<u32, AddedToken>) -> Result<(), String> {
        for (id, token) in added {
            let content = token.content.clone();
            if self.is_added(&content) {
                continue;
            }
            let special = token.special;
            let new = if special { self.inner.add_special_tokens([token]) } else { self.inner.add_tokens([token]) };
            new.map_err(|error| error.to_string())?;
            let got = self.inner.token_to_id(&content);
            if got != Some(id) {
                let got = got.map_or("none".to_owned(), |got| got.to_string());
                return Err(format!(
                    "added_tokens.json, or added_tokens_decoder of tokenizer_config.json, adds the token `{content}` as id {id}, \
                     but its id here is {got}: copy all files of the tokenizer from the same model"
                ));
            }
        }
        Ok(())
    }

    /// Makes the named tokens of the vocabulary special ones.
    fn add_named(&mut self, named: &SpecialTokensByName) -> Result<(), String> {
        for (_, token) in named {
            if self.inner.token_to_id(&token.content).is_some() && !self.is_added(&token.content) {
                self.inner.add_special_tokens([token.clone()]).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    fn is_added(&self, content: &str) -> bool {
        self.inner.get_added_vocabulary().get_vocab().contains_key(content)
    }

    /// Begin and end tokens, and the names that templates know. A token's text in the tokenizer's own files comes before
    /// its id in the model's.
    fn name_specials(&mut self, named: &SpecialTokensByName, files: &Files) -> Result<(), TokenizerError> {
        self.specials = named.iter().map(|(name, token)| (*name, token.content.clone())).collect();
        self.specials.retain(|name, _| SPECIALS.contains(name));
        let known = |name: &str| Some(i64::from(self.inner.token_to_id(self.specials.get(name)?)?));
        let (bos, eos) = (known("bos_token"), known("eos_token"));
        self.ends = distinct(files.ids("eos_token_id")?);
        self.bos = bos.or(files.ids("bos_token_id")?.first().copied());
        self.eos = eos.or(self.ends.first().copied());
        Ok(())
    }

    /// Added tokens that the normaliser makes equal to an earlier one.
    fn find_twins(&mut self) -> Result<(), String> {
        let Some(normalizer) = self.inner.get_normalizer() else { return Ok(()) };
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        let mut tokens: Vec<_> = added.iter().filter(|(_, token)| token.normalized).collect();
        tokens.sort_by_key(|(id, _)| **id);
        let mut first: HashMap<String, i64> = HashMap::new();
        for (id, token) in tokens {
            let mut text = NormalizedString::from(token.content.as_str());
            normalizer.normalize(&mut text).map_err(|error| error.to_string())?;
            let id = i64::from(*id);
            let earlier = *first.entry(text.get().to_owned()).or_insert(id);
            if earlier != id {
                self.twins.insert(id, earlier);
            }
        }
        Ok(())
    }

    /// The slow tokenizer of the same folder.
    fn slowly(&mut self, files: &Files, named: &SpecialTokensByName) -> Result<SlowTokenizer, TokenizerError> {
        let role = |token: &AddedToken| match named.iter().find(|(_, named)| named.content == token.content) {
            Some((FURTHER, _)) => CutRole::Further,
            Some(_) => CutRole::Named,
            None => CutRole::Added,
        };
        let mut cuts: Vec<Cut> = Vec::new();
        for (id, token) in files.added_tokens()? {
            cuts.push(Cut { role: role(&token), token, id: i64::from(id) });
        }
        for (_, token) in named {
            let Some(id) = self.inner.token_to_id(&token.content) else { continue };
            if !cuts.iter().any(|cut| cut.token.content == token.content) {
                cuts.push(Cut { role: role(token), token: token.clone(), id: i64::from(id) });
            }
        }
        let mut slow = SlowTokenizer::open(files, cuts)?;
        if files.nameless() {
            // An empty name is no piece, so it is the unknown one: begin, end and all.
            let unknown = slow.nameless().map_err(|reason| wrong(&files.path(sentencepiece::MODELS[0]), reason))?;
            (self.bos, self.eos) = (Some(unknown), Some(unknown));
            self.around = (vec![unknown], Vec::new());
        }
        Ok(slow)
    }

    /// Begin and end tokens around every text as the tokenizer's class puts them, instead of `tokenizer.json`'s rule.
    fn add_ends(&mut self, added: AddedEnds) -> Result<(), String> {
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
            _ if !added.asked && !self.specials.contains_key("bos_token") => Ok(()),
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
        let ids = |token: Option<&str>| token.and_then(id).map(|(_, id)| i64::from(id)).into_iter().collect();
        self.around = (ids(before), ids(after));
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
