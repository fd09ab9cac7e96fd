//! Text to token ids and back, by the tokenizer that came with the model.

mod chat;
mod gguf;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use tokenizers::{PostProcessor, TruncationParams, truncate_encodings};

use self::chat::ChatTemplate;
pub use self::chat::{Message, Role};
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
    /// All end tokens, `eos` first.
    ends: Vec<i64>,
    chat: Option<ChatTemplate>,
    /// Made when first asked for.
    texts: OnceLock<Vec<String>>,
}

impl Tokenizer {
    /// The tokenizer of a model: `tokenizer.json` in its folder, or the vocabulary inside a `.gguf` file.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn open(model: &Path) -> Result<Self, TokenizerError> {
        if model.extension().is_some_and(|extension| extension == "gguf") {
            return gguf::open(model);
        }
        let path = model.join("tokenizer.json");
        let wrong = |error: tokenizers::Error| TokenizerError::Open {
            path: path.clone(),
            reason: format!("{error}: copy the model's tokenizer.json there"),
        };
        let mut inner = tokenizers::Tokenizer::from_file(&path).map_err(wrong)?;
        // Files of some models carry their training's length limit and padding; texts here are encoded whole.
        inner.with_truncation(None).map_err(wrong)?.with_padding(None);
        let bos = special_id(&inner, model, "bos_token")?;
        let eos = special_id(&inner, model, "eos_token")?;
        let generation = read_json(&model.join("generation_config.json"))?;
        let further = generation.get("eos_token_id").map(all_ids).unwrap_or_default();
        let mut tokenizer = Self { inner, bos, eos, ends: Vec::new(), chat: None, texts: OnceLock::new() };
        tokenizer.ends = tokenizer.eos.into_iter().chain(further.into_iter().filter(|id| eos != Some(*id))).collect();
        tokenizer.chat = chat_template(model)?.map(|source| tokenizer.template(source));
        Ok(tokenizer)
    }

    /// Ids of a text. Special tokens written out in the text are recognised.
    ///
    /// # Errors
    /// When the library cannot encode it.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<i64>, TokenizerError> {
        let encoding = self.inner.encode(text, specials == Specials::AsModel);
        let encoding = encoding.map_err(|error| TokenizerError::Encode(error.to_string()))?;
        Ok(ids(&encoding))
    }

    /// Ids of many texts, encoded in parallel.
    ///
    /// # Errors
    /// When the library cannot encode one of them.
    pub fn encode_batch(&self, texts: &[&str], specials: Specials) -> Result<Vec<Vec<i64>>, TokenizerError> {
        let encodings = self.inner.encode_batch(texts.to_vec(), specials == Specials::AsModel);
        let encodings = encodings.map_err(|error| TokenizerError::Encode(error.to_string()))?;
        Ok(encodings.iter().map(ids).collect())
    }

    /// A text, or a pair of texts, as an encoder reads it: special tokens around and between, the longer text cut until
    /// all of it fits into `max_length` tokens.
    ///
    /// # Errors
    /// When the library cannot encode it.
    pub fn encode_pair(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<Typed, TokenizerError> {
        let wrong = |error: tokenizers::Error| TokenizerError::Encode(error.to_string());
        let bare = |text: &str| self.inner.encode(text, false).map_err(wrong);
        let (first, second) = (bare(text)?, pair.map(bare).transpose()?);
        let added = self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(second.is_some()));
        let room = TruncationParams { max_length: max_length.saturating_sub(added), ..TruncationParams::default() };
        let (first, second) = truncate_encodings(first, second, &room).map_err(wrong)?;
        let encoding = self.inner.post_process(first, second, true).map_err(wrong)?;
        let types = encoding.get_type_ids().iter().map(|&id| i64::from(id)).collect();
        Ok(Typed { ids: ids(&encoding), types })
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

    /// What each token of the vocabulary says by itself, in the order of ids; nothing for special ones.
    pub fn texts(&self) -> &[String] {
        let text = |id| self.inner.decode(&[id], true).unwrap_or_default();
        self.texts.get_or_init(|| (0..self.inner.get_vocab_size(true) as u32).map(text).collect())
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

    /// Every token that ends an answer: chat models have one for a turn and one for a text.
    pub fn ends(&self) -> &[i64] {
        &self.ends
    }

    /// A conversation as text, up to the point where the model is to speak. Encode it with [`Specials::None`]: the
    /// template writes special tokens out.
    ///
    /// # Errors
    /// When the tokenizer has no template, or the template refuses the conversation.
    pub fn chat(&self, messages: &[Message]) -> Result<String, TokenizerError> {
        let missing = "the tokenizer has none: use template: task, or a chat model".to_owned();
        let template = self.chat.as_ref().ok_or(TokenizerError::Chat(missing))?;
        template.render(messages).map_err(TokenizerError::Chat)
    }

    fn template(&self, source: String) -> ChatTemplate {
        let piece = |id: Option<i64>| id.and_then(|id| self.piece(id)).unwrap_or_default();
        ChatTemplate { source, bos: piece(self.bos), eos: piece(self.eos) }
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

/// The id of `bos_token` or `eos_token`: by its text in the tokenizer's own files, else by its id in the model's.
fn special_id(inner: &tokenizers::Tokenizer, model: &Path, name: &str) -> Result<Option<i64>, TokenizerError> {
    for file in ["tokenizer_config.json", "special_tokens_map.json"] {
        let json = read_json(&model.join(file))?;
        let id = json.get(name).and_then(text).and_then(|text| inner.token_to_id(text));
        if id.is_some() {
            return Ok(id.map(i64::from));
        }
    }
    for file in ["generation_config.json", "config.json"] {
        let id = read_json(&model.join(file))?.get(format!("{name}_id")).and_then(first_id);
        if id.is_some() {
            return Ok(id);
        }
    }
    Ok(None)
}

/// An entry is a string, or an object that describes the token.
fn text(entry: &Value) -> Option<&str> {
    entry.as_str().or_else(|| entry.get("content")?.as_str())
}

/// An entry is a number, or a list of which the first is the model's own.
fn first_id(entry: &Value) -> Option<i64> {
    entry.as_i64().or_else(|| entry.get(0)?.as_i64())
}

/// An entry is a number, or a list of numbers.
fn all_ids(entry: &Value) -> Vec<i64> {
    let listed = entry.as_array().map(|ids| ids.iter().filter_map(Value::as_i64).collect());
    listed.unwrap_or_else(|| entry.as_i64().into_iter().collect())
}

/// The chat template of a model's folder: a file of its own, or in `tokenizer_config.json` as text, or there as a list
/// of named ones.
fn chat_template(model: &Path) -> Result<Option<String>, TokenizerError> {
    if let Ok(source) = fs::read_to_string(model.join("chat_template.jinja")) {
        return Ok(Some(source));
    }
    let config = read_json(&model.join("tokenizer_config.json"))?;
    let Some(entry) = config.get("chat_template") else { return Ok(None) };
    let named = |list: &Vec<Value>| {
        let default = list.iter().find(|template| template["name"] == "default")?;
        default["template"].as_str().map(str::to_owned)
    };
    Ok(entry.as_str().map(str::to_owned).or_else(|| entry.as_array().and_then(named)))
}

/// None of these files must exist; one that does must be whole.
fn read_json(path: &Path) -> Result<Value, TokenizerError> {
    let wrong = |reason: String| TokenizerError::Open { path: path.to_owned(), reason };
    match fs::read_to_string(path) {
        Ok(text) => {
            serde_json::from_str(&text).map_err(|error| wrong(format!("not valid JSON ({error}): copy it again")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(wrong(format!("{error}: make it readable"))),
    }
}
