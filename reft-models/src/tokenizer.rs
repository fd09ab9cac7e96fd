//! Text to token ids and back, by the tokenizer that came with the model, as `AutoTokenizer` of transformers 4.45.1 has it.
//!
//! Other versions, and the slow tokenizers, differ from that, and so from this module, in these points:
//!
//! | | here and 4.45.1 | 5.24.0 |
//! |---|---|---|
//! | Llama without a `legacy` key | `▁` before every stretch between special tokens | before the text only, unless it begins with one |
//! | `tokenizer.model` and `config.json` alone | the begin token is added | nothing is added |
//! | Llama's class with a `tokenizer.json` | `add_bos_token`, `add_eos_token` decide | the file's post-processor decides |
//! | special tokens with `normalized: true` | not found inside a word (found by the slow one) | found |
//! | user-defined pieces | `▁` after each; not special | special |
//! | empty names of special tokens | ids of the slow tokenizer; the fast one fails | fails |
//! | `merges.txt` of GPT-2 without `#version` | the first merge is lost | kept |
//! | `<mask>` of RoBERTa without `tokenizer.json` | takes the spaces before it | does not |
//! | spaces before punctuation, decoding BERT's `vocab.txt` | taken away unless the configuration says no | only if it says yes |
//! | of two added tokens that are equal once normalised | the first | the last |
//! | GGUF files | as the folder that they were made from | other expressions and end tokens |
//! | templates | the entry of `tokenizer_config.json`, else files | files first |
//! | the mask of a last character of several tokens | its first token | all of them |
//! | no `eos_token_id` in Llama's files | 2 | none |
//!
//! The slow tokenizers also decode otherwise, and of SentencePiece's Unigram models T5's slow one has other ids around combining marks
//! and `user_defined` pieces, Llama's none for pieces spelled as bytes in the text; [`TokenizerVersion::Slow`] does so too, for Llama's class. Other slow tokenizers are not read.

mod bounds;
mod byte_level;
mod chat;
mod class;
mod clean;
mod conversation;
mod ends;
mod files;
mod folder;
mod gguf;
mod parts;
mod pieces;
mod save;
mod sentencepiece;
mod slow;
mod template;
mod turns;
mod unigram;
mod wordpiece;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tokenizers::{Decoder, Model, PostProcessor, TruncationParams, truncate_encodings};

pub use self::bounds::Bounds;
pub use self::chat::{AssistantTokenSource, ChatIds};
pub use self::conversation::{Conversation, Message, PromptEnding, Role};
pub use self::pieces::Continuation;
use self::template::Templates;
pub use self::template::{Clock, ClockError, check_chat_template};
use crate::container::{FileKind, WeightsError};

/// The files of a model's folder that may decide how text becomes tokens and when an answer ends.
pub(crate) const FILES: [&str; 13] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "spiece.model",
];

/// Every kind of file that a tokenizer is read from.
pub fn file_kinds() -> Vec<FileKind> {
    let in_gguf = gguf::KINDS.iter().map(|(kind, about)| FileKind::new(format!("*.gguf: {kind}"), *about));
    folder::file_kinds().chain(in_gguf).collect()
}

/// A tokenizer that cannot be read, or a text it cannot encode.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file is missing or damaged.
    #[error("{path}: {reason}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The GGUF file's metadata is incomplete.
    #[error(transparent)]
    Gguf(#[from] WeightsError),
    /// The library's words.
    #[error("the text cannot be tokenised: {0}")]
    Encode(String),
    /// The tokenizer has no template.
    #[error(
        "the model's tokenizer has no chat template, by which a conversation becomes text: give one (data.chat_template names its \
         file), or take a chat model"
    )]
    NoChatTemplate,
    /// The template refuses the conversation, or there are several.
    #[error("the conversation cannot be put into the model's chat template: {0}")]
    Chat(String),
    /// A token for which the model's embedding has no row.
    #[error(
        "token `{token}` has id {id}, but the model's embedding has {rows} rows (ids up to {last}): use the tokenizer that \
         belongs to these weights, or weights whose embedding was resized for it",
        last = rows - 1
    )]
    BeyondEmbedding {
        /// The token.
        token: String,
        /// Its id.
        id: i64,
        /// Rows of the embedding.
        rows: i64,
    },
    /// A token type for which the model has no row.
    #[error(
        "the tokenizer gives a second text the token type {kind}, but the model knows {rows} (type_vocab_size): use the \
         tokenizer that belongs to these weights"
    )]
    BeyondTypes {
        /// The type.
        kind: i64,
        /// Types that the model has.
        rows: i64,
    },
    /// An id that no vocabulary has, or the library's words.
    #[error("token ids cannot be turned into text: {0}")]
    Decode(String),
}

/// Whether the tokens a model wants around a text are added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Specials {
    /// As the tokenizer's own rule says: Llama puts its begin token first, SmolLM2 adds nothing.
    AsModel,
    /// The text alone.
    None,
}

/// Which of transformers' two tokenizers of a model gives the ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenizerVersion {
    /// The fast one.
    #[default]
    Fast,
    /// What `use_fast=False` gives, as the paper's scripts have it: for Llama's class the slow one, which reads
    /// `tokenizer.model`; for a tokenizer without a class of its own, such as Llama 3's, the fast one, as there is no other.
    Slow,
}

impl TokenizerVersion {
    /// Whether it is the fast one.
    pub fn is_fast(&self) -> bool {
        *self == Self::Fast
    }
}

/// Token ids with the type of each: 0 for a first text, 1 for a second where the model tells them apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypedTokens {
    /// Token ids.
    pub ids: Vec<i64>,
    /// As many types.
    pub types: Vec<i64>,
}

/// A tokenizer with the ids of its begin and end tokens.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    bos: Option<i64>,
    eos: Option<i64>,
    /// What the model's files end a generation with.
    ends: Vec<i64>,
    templates: Templates,
    /// `bos_token` and the like, as templates see them.
    specials: BTreeMap<&'static str, String>,
    /// What templates print as the time.
    clock: Clock,
    /// Rows of the model's tables, once they are known.
    bounds: Option<Bounds>,
    /// Gives the ids instead of `inner`.
    slow: Option<slow::SlowTokenizer>,
    /// Ids before and after a text, as [`Specials::AsModel`] puts them where `slow` gives the others.
    around: (Vec<i64>, Vec<i64>),
    /// Added tokens that normalised are an earlier one, with that one's id.
    twins: HashMap<i64, i64>,
    /// Whether decoded texts lose spaces before punctuation.
    clean: bool,
    /// Made when first asked for.
    bytes: OnceLock<Option<Vec<Vec<u8>>>>,
}

impl Tokenizer {
    /// The tokenizer of a model: the files of its folder, or the vocabulary inside a `.gguf` file.
    ///
    /// # Errors
    /// When there is none, or a file is damaged.
    pub fn open(model: &Path) -> Result<Self, TokenizerError> {
        Self::open_as(model, TokenizerVersion::Fast)
    }

    /// The same by one of transformers' two tokenizers.
    ///
    /// # Errors
    /// As for [`Tokenizer::open`]; the slow one needs the folder's `tokenizer.model`.
    pub fn open_as(model: &Path, reading: TokenizerVersion) -> Result<Self, TokenizerError> {
        if !crate::weights::is_gguf(model) {
            return folder::open(model, reading);
        }
        match reading {
            TokenizerVersion::Fast => gguf::open(model),
            TokenizerVersion::Slow => {
                let reason =
                    "the slow tokenizer is read from a folder with tokenizer.model: take the fast one, or that folder";
                Err(TokenizerError::Open { path: model.to_owned(), reason: reason.to_owned() })
            }
        }
    }

    fn new(inner: tokenizers::Tokenizer) -> Self {
        Self {
            inner,
            bos: None,
            eos: None,
            ends: Vec::new(),
            templates: Templates::default(),
            specials: BTreeMap::new(),
            clock: Clock::now(),
            bounds: None,
            slow: None,
            around: (Vec::new(), Vec::new()),
            twins: HashMap::new(),
            clean: false,
            bytes: OnceLock::new(),
        }
    }

    /// The tokenizer with another time for its templates' `strftime_now`, so that a prompt is the same tomorrow.
    #[must_use]
    pub fn at(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The tokenizer with this chat template, in Jinja, instead of those that came with it.
    #[must_use]
    pub fn with_chat_template(mut self, template: &str) -> Self {
        self.templates = Templates::files(BTreeMap::from([(template::DEFAULT.to_owned(), template.to_owned())]));
        self
    }

    /// Ids of a text. Special tokens written out in the text are recognised.
    ///
    /// # Errors
    /// When the library cannot encode it, or a token lies beyond the model's embedding.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<i64>, TokenizerError> {
        let ids = if let Some(slow) = &self.slow {
            let said = slow.encode(text)?.into_iter().map(|(id, _)| id);
            let (before, after) = &self.around;
            match specials {
                Specials::AsModel => before.iter().copied().chain(said).chain(after.iter().copied()).collect(),
                Specials::None => said.collect(),
            }
        } else {
            let encoding = self.inner.encode(text, specials == Specials::AsModel);
            self.ids(&encoding.map_err(|error| TokenizerError::Encode(error.to_string()))?)
        };
        self.check(&ids)?;
        Ok(ids)
    }

    /// Ids of many texts, encoded in parallel.
    ///
    /// # Errors
    /// When the library cannot encode one of them, or a token lies beyond the model's embedding.
    pub fn encode_batch(&self, texts: &[&str], specials: Specials) -> Result<Vec<Vec<i64>>, TokenizerError> {
        texts.par_iter().map(|text| self.encode(text, specials)).collect()
    }

    /// A text, or a pair of texts, as an encoder reads it: special tokens around and between, the longer text cut until
    /// all of it fits into `max_length` tokens. An empty second text is none.
    ///
    /// # Errors
    /// When the library cannot encode it, or a token or its type lies beyond the model's tables.
    pub fn encode_pair(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: usize,
    ) -> Result<TypedTokens, TokenizerError> {
        let wrong = |error: tokenizers::Error| TokenizerError::Encode(error.to_string());
        let bare = |text: &str| self.inner.encode(text, false).map_err(wrong);
        let pair = pair.filter(|pair| !pair.is_empty());
        let (first, second) = (bare(text)?, pair.map(bare).transpose()?);
        let added = self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(second.is_some()));
        let room = TruncationParams { max_length: max_length.saturating_sub(added), ..TruncationParams::default() };
        let (first, second) = truncate_encodings(first, second, &room).map_err(wrong)?;
        let encoding = self.inner.post_process(first, second, true).map_err(wrong)?;
        let types = encoding.get_type_ids().iter().map(|&id| i64::from(id)).collect();
        self.checked(TypedTokens { ids: self.ids(&encoding), types })
    }

    /// Text of some ids. Ids beyond the vocabulary, which a model with a padded embedding can produce, add nothing.
    ///
    /// # Errors
    /// When one of them is negative.
    pub fn decode(&self, ids: &[i64], skip_specials: bool) -> Result<String, TokenizerError> {
        let known =
            |&id: &i64| u32::try_from(id).map_err(|_| TokenizerError::Decode(format!("{id} is not a token id")));
        let ids = ids.iter().map(known).collect::<Result<Vec<u32>, _>>()?;
        let text = match &self.slow {
            Some(slow) => slow.decode(&ids, skip_specials),
            None => self.joined(&ids, skip_specials)?,
        };
        Ok(if self.clean { clean::up(&text) } else { text })
    }

    /// What the tokenizer's decoder makes of tokens. Added ones say what they are and not what a normaliser makes of them.
    fn joined(&self, ids: &[u32], skip_specials: bool) -> Result<String, TokenizerError> {
        let special = |token: &String| skip_specials && self.inner.get_added_vocabulary().is_special_token(token);
        let tokens = ids.iter().filter_map(|&id| self.piece(i64::from(id))).filter(|token| !special(token)).collect();
        match self.inner.get_decoder() {
            Some(decoder) => decoder.decode(tokens).map_err(|error| TokenizerError::Decode(error.to_string())),
            None => Ok(tokens.join(" ")),
        }
    }

    /// The begin token.
    pub fn bos(&self) -> Option<i64> {
        self.bos
    }

    /// The end token.
    pub fn eos(&self) -> Option<i64> {
        self.eos
    }

    /// The end token as text; empty when there is none, or when no text can spell it.
    pub fn eos_text(&self) -> String {
        let spelled = |id: &i64| self.slow.as_ref().is_none_or(|slow| slow.cuts_at(*id));
        self.eos.filter(spelled).and_then(|id| self.piece(id)).unwrap_or_default()
    }

    /// One token as the vocabulary spells it.
    pub fn piece(&self, id: i64) -> Option<String> {
        let id = u32::try_from(id).ok()?;
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        added.get(&id).map(|token| token.content.clone()).or_else(|| self.inner.get_model().id_to_token(id))
    }
}

fn ids(encoding: &tokenizers::Encoding) -> Vec<i64> {
    encoding.get_ids().iter().map(|&id| i64::from(id)).collect()
}

impl Tokenizer {
    /// The ids of an encoding. Of added tokens that a normaliser makes equal the library takes any; here the first.
    fn ids(&self, encoding: &tokenizers::Encoding) -> Vec<i64> {
        let first = |id: i64| self.twins.get(&id).copied().unwrap_or(id);
        ids(encoding).into_iter().map(first).collect()
    }
}
