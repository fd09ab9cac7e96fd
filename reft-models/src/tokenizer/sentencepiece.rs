//! SentencePiece's vocabulary, from `tokenizer.model` or from a GGUF file: pieces with scores. Those of a BPE model are joined
//! here, the best first; those of a Unigram model in `unigram.rs`.

use std::cmp::Reverse;
use std::fs;

use prost::Message;
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::{AddedToken, ModelWrapper, Tokenizer};

use super::TokenizerError;
use super::class::TokenizerClass;
use super::files::{Files, wrong};
use super::parts::assemble;

/// What a model's file is called: by most classes, by XLM-RoBERTa's, by T5's.
pub(super) const MODELS: [&str; 3] = ["tokenizer.model", "sentencepiece.bpe.model", "spiece.model"];

/// SentencePiece's space.
pub(super) const SPACE: &str = "▁";

/// The parts of SentencePiece's file that are read here, by the numbers of its fields.
#[derive(Message)]
struct ModelFile {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<PieceField>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<NormalizerSpec>,
}

#[derive(Message)]
struct PieceField {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    kind: Option<i64>,
}

#[derive(Message)]
struct TrainerSpec {
    /// 1 is Unigram, 2 is BPE.
    #[prost(int64, optional, tag = "3")]
    model_type: Option<i64>,
    #[prost(int64, optional, tag = "40")]
    unknown: Option<i64>,
}

#[derive(Message)]
struct NormalizerSpec {
    #[prost(bytes = "vec", optional, tag = "2")]
    charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3")]
    dummy_prefix: Option<bool>,
}

/// What a piece is, by SentencePiece's and llama.cpp's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PieceType {
    /// Text, or a byte.
    Text,
    /// What no piece spells.
    Unknown,
    /// Begin, end and the like.
    Control,
    /// Found in a text before anything is joined.
    UserDefined,
}

impl PieceType {
    pub(super) fn of(number: i64) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            _ => Self::Text,
        }
    }
}

/// One piece.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Piece {
    pub text: String,
    pub score: f32,
    pub kind: PieceType,
}

/// How a text is prepared before its pieces are joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spaces {
    /// A space before every stretch between special tokens: `legacy: true`.
    Always,
    /// A space before the text, unless it begins with one: `legacy: false`.
    First,
    /// None, in the manner of `legacy: true`.
    Never,
    /// None, in the manner of `legacy: false`.
    NeverSplit,
    /// Gemma's: none, and a text is cut after each space.
    Gemma,
}

/// A vocabulary.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Pieces {
    pub pieces: Vec<Piece>,
    /// Whether SentencePiece itself puts a space before a text.
    pub dummy_prefix: bool,
}

/// How a model finds the pieces of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Algorithm {
    /// The likeliest sequence of pieces.
    Unigram,
    /// Pieces joined, the best first.
    Bpe,
}

/// A file of SentencePiece's, as it is.
pub(super) struct StoredModel {
    /// What it is called.
    pub name: &'static str,
    pub algorithm: Algorithm,
    pub pieces: Pieces,
    /// Place of the unknown piece, as the trainer had it.
    pub unknown: usize,
    /// Replacements that normalise a text, as SentencePiece compiles them; none if it is empty.
    pub charsmap: Vec<u8>,
}

impl StoredModel {
    /// That of a model's folder.
    pub(super) fn read(files: &Files) -> Result<Self, TokenizerError> {
        let name = MODELS.into_iter().find(|name| files.has(name)).unwrap_or(MODELS[0]);
        let path = files.path(name);
        let bytes = fs::read(&path).map_err(|error| wrong(&path, format!("{error}: copy the model's {name} there")))?;
        let file = ModelFile::decode(bytes.as_slice());
        let file = file.map_err(|_| wrong(&path, "truncated or no SentencePiece model: copy it again"))?;
        let trainer = file.trainer.unwrap_or_default();
        let algorithm = match trainer.model_type {
            None | Some(1) => Algorithm::Unigram,
            Some(2) => Algorithm::Bpe,
            Some(_) => {
                let reason = "a SentencePiece model of words or letters, which is not read: save the model's tokenizer as tokenizer.json";
                return Err(wrong(&path, reason));
            }
        };
        let piece = |field: PieceField| Piece {
            text: field.piece.unwrap_or_default(),
            score: field.score.unwrap_or_default(),
            kind: PieceType::of(field.kind.unwrap_or(1)),
        };
        let pieces: Vec<Piece> = file.pieces.into_iter().map(piece).collect();
        if pieces.is_empty() {
            return Err(wrong(&path, "holds no pieces: copy it again"));
        }
        let normalizer = file.normalizer.unwrap_or_default();
        let unknown = trainer.unknown.and_then(|id| usize::try_from(id).ok()).unwrap_or(0);
        let pieces = Pieces { pieces, dummy_prefix: normalizer.dummy_prefix.unwrap_or(true) };
        Ok(Self { name, algorithm, pieces, unknown, charsmap: normalizer.charsmap.unwrap_or_default() })
    }
}

impl Pieces {
    /// Those of a model's folder, which must be of the kind that is joined here and leave texts as they are.
    pub(super) fn read(files: &Files) -> Result<Self, TokenizerError> {
        let stored = StoredModel::read(files)?;
        let refused = |what: &str| {
            let reason = format!("a SentencePiece model {what}: save the model's tokenizer as tokenizer.json");
            Err(wrong(&files.path(stored.name), reason))
        };
        match stored.algorithm {
            Algorithm::Bpe if stored.charsmap.is_empty() => Ok(stored.pieces),
            Algorithm::Bpe => refused("of the kind BPE that normalises texts, which is not read"),
            Algorithm::Unigram => refused("of another kind than BPE, which is not read for this class of tokenizer"),
        }
    }

    /// The unknown piece with its id.
    pub(super) fn unknown(&self) -> Option<(i64, &str)> {
        let mut pieces = (0..).zip(&self.pieces);
        pieces.find(|(_, piece)| piece.kind == PieceType::Unknown).map(|(id, piece)| (id, piece.text.as_str()))
    }

    /// The model that joins the best pair first; spelling what it does not know in bytes.
    pub(super) fn bpe(&self, gemma: bool) -> Result<BPE, tokenizers::Error> {
        let mut vocabulary: Vocab = (0..).zip(&self.pieces).map(|(id, piece)| (piece.text.clone(), id)).collect();
        if gemma && let Some(tab) = vocabulary.remove("<0x09>") {
            // Gemma has joined pieces with tabs, but a tab itself only as a byte.
            vocabulary.entry("\t".to_owned()).or_insert(tab);
        }
        let merges = self.merges(&vocabulary);
        let bpe = BPE::builder().vocab_and_merges(vocabulary, merges).byte_fallback(true).fuse_unk(true);
        match self.unknown() {
            Some((_, unknown)) => bpe.unk_token(unknown.to_owned()).build(),
            None => bpe.build(),
        }
    }

    /// Every way to join two pieces to a third: the highest score first, then the longest left part.
    fn merges(&self, vocabulary: &Vocab) -> Merges {
        let mut scored = Vec::new();
        for piece in &self.pieces {
            let begin = scored.len();
            for (at, _) in piece.text.char_indices().skip(1) {
                let (left, right) = piece.text.split_at(at);
                if let (Some(a), Some(b)) = (vocabulary.get(left), vocabulary.get(right)) {
                    scored.push((piece.score, (*a, *b), left, right));
                }
            }
            scored[begin..].sort_by_key(|(_, ids, _, _)| *ids);
        }
        let length = |text: &str| Reverse(text.chars().count());
        scored.sort_by(|a, b| {
            let lengths = |entry: &(f32, (u32, u32), &str, &str)| (length(entry.2), length(entry.3));
            b.0.total_cmp(&a.0).then_with(|| lengths(a).cmp(&lengths(b)))
        });
        scored.into_iter().map(|(_, _, left, right)| (left.to_owned(), right.to_owned())).collect()
    }

    /// A tokenizer that joins these pieces, as transformers' fast one is.
    pub(super) fn tokenizer(&self, spaces: Spaces) -> Result<Tokenizer, String> {
        let bpe = self.bpe(spaces == Spaces::Gemma).map_err(|error| error.to_string())?;
        self.around(bpe, &spaces.parts())
    }

    /// A tokenizer of this model and parts that finds control pieces and user-defined ones in a text.
    pub(super) fn around(&self, model: impl Into<ModelWrapper>, parts: &Value) -> Result<Tokenizer, String> {
        let mut tokenizer = assemble(model, parts)?;
        let found =
            self.pieces.iter().filter(|piece| matches!(piece.kind, PieceType::Control | PieceType::UserDefined));
        let token =
            |piece: &Piece| AddedToken::from(piece.text.clone(), piece.kind == PieceType::Control).normalized(false);
        tokenizer.add_tokens(found.map(token).collect::<Vec<_>>()).map_err(|error| error.to_string())?;
        Ok(tokenizer)
    }
}

impl Spaces {
    /// The parts of a tokenizer around its model.
    pub(super) fn parts(self) -> Value {
        let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
        let sequence = |normalizers: Vec<Value>| json!({"type": "Sequence", "normalizers": normalizers});
        let prepend = json!({"type": "Prepend", "prepend": SPACE});
        let metaspace =
            |scheme: &str| json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": false});
        let mut decoders = vec![replace(SPACE, " "), json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
        if matches!(self, Self::Always | Self::First) {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let mut parts = json!({"decoder": {"type": "Sequence", "decoders": decoders}});
        match self {
            Self::Always => parts["normalizer"] = sequence(vec![prepend, replace(" ", SPACE)]),
            Self::Never => parts["normalizer"] = sequence(vec![replace(" ", SPACE)]),
            Self::First => parts["pre_tokenizer"] = metaspace("first"),
            Self::NeverSplit => parts["pre_tokenizer"] = metaspace("never"),
            Self::Gemma => {
                parts["normalizer"] = replace(" ", SPACE);
                parts["pre_tokenizer"] = json!({"type": "Split", "pattern": {"String": " "},
                    "behavior": "MergedWithPrevious", "invert": false});
            }
        }
        parts
    }
}

/// The tokenizer of a folder with such a file of the kind BPE.
pub(super) fn open(files: &Files, stored: &StoredModel) -> Result<Tokenizer, TokenizerError> {
    let built = Pieces::read(files)?.tokenizer(spaces(files)?);
    built.map_err(|reason| wrong(&files.path(stored.name), format!("{reason}: copy it again")))
}

/// How the folder's tokenizer treats spaces.
pub(super) fn spaces(files: &Files) -> Result<Spaces, TokenizerError> {
    if files.tokenizer_class()? == Some(TokenizerClass::Gemma) {
        return Ok(Spaces::Gemma);
    }
    let prefix = files.switch("add_prefix_space")?.unwrap_or(true);
    Ok(match (files.switch("legacy")?.unwrap_or(true), prefix) {
        (true, true) => Spaces::Always,
        (true, false) => Spaces::Never,
        (false, true) => Spaces::First,
        (false, false) => Spaces::NeverSplit,
    })
}
