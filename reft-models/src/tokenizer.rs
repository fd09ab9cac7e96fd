//! Text to token ids and back, by the tokenizer that came with the model.

mod bounds;
mod chat;
mod ends;
mod files;
mod folder;
mod gguf;
mod pieces;
mod template;
mod turns;
mod wordpiece;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokenizers::{PostProcessor, TruncationParams, truncate_encodings};

pub use self::bounds::Bounds;
pub use self::chat::{ChatIds, Conversation, Ending, Found, Message, Role};
pub use self::pieces::Continuation;
use self::template::Templates;
pub use self::template::{Clock, ClockError};
use crate::weights::WeightsError;

/// The files of a model's folder that may decide how text becomes tokens and when an answer ends.
pub(crate) const FILES: [&str; 11] = [
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
];

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
    /// The tokenizer has no template, or it refuses the conversation.
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

/// Token ids with the type of each: 0 for a first text, 1 for a second where the model tells them apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Typed {
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
    /// Made when first asked for.
    bytes: OnceLock<Option<Vec<Vec<u8>>>>,
}

impl Tokenizer {
    /// The tokenizer of a model: the files of its folder, or the vocabulary inside a `.gguf` file.
    ///
    /// # Errors
    /// When there is none, or a file is damaged.
    pub fn open(model: &Path) -> Result<Self, TokenizerError> {
        if crate::weights::is_gguf(model) { gguf::open(model) } else { folder::open(model) }
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
            bytes: OnceLock::new(),
        }
    }

    /// The tokenizer with another time for its templates' `strftime_now`, so that a prompt is the same tomorrow.
    #[must_use]
    pub fn at(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Ids of a text. Special tokens written out in the text are recognised.
    ///
    /// # Errors
    /// When the library cannot encode it, or a token lies beyond the model's embedding.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<i64>, TokenizerError> {
        let encoding = self.inner.encode(text, specials == Specials::AsModel);
        let ids = ids(&encoding.map_err(|error| TokenizerError::Encode(error.to_string()))?);
        self.check(&ids)?;
        Ok(ids)
    }

    /// Ids of many texts, encoded in parallel.
    ///
    /// # Errors
    /// When the library cannot encode one of them, or a token lies beyond the model's embedding.
    pub fn encode_batch(&self, texts: &[&str], specials: Specials) -> Result<Vec<Vec<i64>>, TokenizerError> {
        let encodings = self.inner.encode_batch(texts.to_vec(), specials == Specials::AsModel);
        let encodings = encodings.map_err(|error| TokenizerError::Encode(error.to_string()))?;
        let all: Vec<Vec<i64>> = encodings.iter().map(ids).collect();
        all.iter().try_for_each(|ids| self.check(ids))?;
        Ok(all)
    }

    /// A text, or a pair of texts, as an encoder reads it: special tokens around and between, the longer text cut until
    /// all of it fits into `max_length` tokens. An empty second text is none.
    ///
    /// # Errors
    /// When the library cannot encode it, or a token or its type lies beyond the model's tables.
    pub fn encode_pair(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<Typed, TokenizerError> {
        let wrong = |error: tokenizers::Error| TokenizerError::Encode(error.to_string());
        let bare = |text: &str| self.inner.encode(text, false).map_err(wrong);
        let pair = pair.filter(|pair| !pair.is_empty());
        let (first, second) = (bare(text)?, pair.map(bare).transpose()?);
        let added = self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(second.is_some()));
        let room = TruncationParams { max_length: max_length.saturating_sub(added), ..TruncationParams::default() };
        let (first, second) = truncate_encodings(first, second, &room).map_err(wrong)?;
        let encoding = self.inner.post_process(first, second, true).map_err(wrong)?;
        let types = encoding.get_type_ids().iter().map(|&id| i64::from(id)).collect();
        let typed = Typed { ids: ids(&encoding), types };
        self.check_typed(&typed)?;
        Ok(typed)
    }

    /// Text of some ids. Ids beyond the vocabulary, which a model with a padded embedding can produce, add nothing.
    ///
    /// # Errors
    /// When one of them is negative.
    pub fn decode(&self, ids: &[i64], skip_specials: bool) -> Result<String, TokenizerError> {
        let known =
            |&id: &i64| u32::try_from(id).map_err(|_| TokenizerError::Decode(format!("{id} is not a token id")));
        let ids = ids.iter().map(known).collect::<Result<Vec<u32>, _>>()?;
        self.inner.decode(&ids, skip_specials).map_err(|error| TokenizerError::Decode(error.to_string()))
    }

    /// The begin token.
    pub fn bos(&self) -> Option<i64> {
        self.bos
    }

    /// Writes it as `tokenizer.json`, for other programs.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TokenizerError> {
        let error =
            |error: tokenizers::Error| TokenizerError::Open { path: path.to_owned(), reason: error.to_string() };
        self.inner.save(path, false).map_err(error)
    }

    /// The end token.
    pub fn eos(&self) -> Option<i64> {
        self.eos
    }

    /// The end token as text; empty when there is none.
    pub fn eos_text(&self) -> String {
        self.eos.and_then(|id| self.piece(id)).unwrap_or_default()
    }

    /// One token as the vocabulary spells it.
    pub fn piece(&self, id: i64) -> Option<String> {
        self.inner.id_to_token(u32::try_from(id).ok()?)
    }
}

fn ids(encoding: &tokenizers::Encoding) -> Vec<i64> {
    encoding.get_ids().iter().map(|&id| i64::from(id)).collect()
}
