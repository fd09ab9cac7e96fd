//! Text to token ids and back, by the tokenizer that came with the model.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, PreTokenizerWrapper};

use crate::gguf::GgufFile;
use crate::weights::WeightsError;

/// A tokenizer that cannot be read, or a text it cannot encode.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file is missing or damaged.
    #[error("{path}: {reason}: copy the model's tokenizer.json there")]
    Open {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The GGUF file's metadata is incomplete.
    #[error(transparent)]
    Gguf(#[from] WeightsError),
    /// The library's words.
    #[error("the text cannot be tokenised: {0}")]
    Encode(String),
}

/// Whether the tokens a model wants around a text are added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Specials {
    /// As the tokenizer's own rule says: Llama puts its begin token first, SmolLM2 adds nothing.
    AsModel,
    /// The text alone.
    None,
}

/// A tokenizer with the ids of its begin and end tokens.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    bos: Option<i64>,
    eos: Option<i64>,
}

impl Tokenizer {
    /// The tokenizer of a model: `tokenizer.json` in its folder, or the vocabulary inside a `.gguf` file.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn open(model: &Path) -> Result<Self, TokenizerError> {
        if model.extension().is_some_and(|extension| extension == "gguf") {
            return from_gguf(model);
        }
        let path = model.join("tokenizer.json");
        let inner = tokenizers::Tokenizer::from_file(&path)
            .map_err(|error| TokenizerError::Open { path, reason: error.to_string() })?;
        let special = |name: &str| special_text(model, name).and_then(|text| inner.token_to_id(&text)).map(i64::from);
        let (bos, eos) = (special("bos_token"), special("eos_token"));
        Ok(Self { inner, bos, eos })
    }

    /// Ids of a text. Special tokens written out in the text are recognised.
    ///
    /// # Errors
    /// When the library cannot encode it.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<i64>, TokenizerError> {
        let encoding = self.inner.encode(text, specials == Specials::AsModel);
        let encoding = encoding.map_err(|error| TokenizerError::Encode(error.to_string()))?;
        Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
    }

    /// Text of some ids.
    ///
    /// # Errors
    /// When the library cannot decode them.
    pub fn decode(&self, ids: &[i64], skip_specials: bool) -> Result<String, TokenizerError> {
        let ids: Vec<u32> = ids.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
        self.inner.decode(&ids, skip_specials).map_err(|error| TokenizerError::Encode(error.to_string()))
    }

    /// The begin token.
    pub fn bos(&self) -> Option<i64> {
        self.bos
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

/// A special token's text from the model's own files; an entry is a string or an object with `content`.
fn special_text(model: &Path, name: &str) -> Option<String> {
    ["tokenizer_config.json", "special_tokens_map.json"].iter().find_map(|file| {
        let json: Value = serde_json::from_str(&std::fs::read_to_string(model.join(file)).ok()?).ok()?;
        let entry = json.get(name)?;
        entry.as_str().or_else(|| entry.get("content")?.as_str()).map(str::to_owned)
    })
}

/// The byte-level BPE inside a GGUF file.
fn from_gguf(path: &Path) -> Result<Tokenizer, TokenizerError> {
    let file = GgufFile::open(path)?;
    let error = |reason: String| TokenizerError::Open { path: path.to_owned(), reason };
    let split = match file.text("tokenizer.ggml.pre")?.as_str() {
        "smollm" => vec![PreTokenizerWrapper::Digits(Digits::new(true))],
        "gpt-2" | "default" => Vec::new(),
        other => return Err(error(format!("pre-tokenizer `{other}` of a GGUF file is not known here"))),
    };
    let tokens = file.texts("tokenizer.ggml.tokens")?;
    let merges = file.texts("tokenizer.ggml.merges")?;
    let pairs = merges.iter().filter_map(|merge| merge.split_once(' '));
    let pairs = pairs.map(|(left, right)| (left.to_owned(), right.to_owned())).collect();
    let vocabulary: Vocab = (0..).zip(&tokens).map(|(id, token)| (token.clone(), id)).collect();
    let bpe = BPE::builder().vocab_and_merges(vocabulary, pairs).build().map_err(|cause| error(cause.to_string()))?;
    let mut inner = tokenizers::Tokenizer::new(bpe);
    let bytes = PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, true));
    inner.with_pre_tokenizer(Some(Sequence::new(split.into_iter().chain([bytes]).collect())));
    inner.with_decoder(Some(ByteLevelDecoder::default()));
    // Type 3 is llama.cpp's mark for control tokens.
    let kinds = file.integers("tokenizer.ggml.token_type")?;
    let control = tokens.iter().zip(kinds).filter(|(_, kind)| *kind == 3);
    let control: Vec<AddedToken> = control.map(|(token, _)| AddedToken::from(token.clone(), true)).collect();
    inner.add_special_tokens(control).map_err(|cause| error(cause.to_string()))?;
    let special = |key: &str| file.integer(key).ok();
    Ok(Tokenizer { inner, bos: special("tokenizer.ggml.bos_token_id"), eos: special("tokenizer.ggml.eos_token_id") })
}
