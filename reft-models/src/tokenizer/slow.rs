//! Llama's slow tokenizer: what transformers gives for `use_fast=False`, and so what the paper's scripts read LLaMA with.
//!
//! A text is cut at the special and added tokens. Every stretch between them goes to SentencePiece, which puts a space before it
//! (`legacy: true`) or not (`legacy: false`: one space before the whole text), finds the user-defined pieces and joins the rest.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::json;
use tokenizers::{AddedToken, Tokenizer};

use super::TokenizerError;
use super::files::{Files, wrong};
use super::parts::assemble;
use super::sentencepiece::{MODELS, PieceType, Pieces, SPACE};

/// What SentencePiece prints for the unknown piece.
const UNKNOWN: &str = " \u{2047} ";

/// Llama's slow tokenizer.
pub(super) struct SlowTokenizer {
    pieces: Pieces,
    ids: HashMap<String, i64>,
    /// Joins pieces; knows the user-defined ones.
    inner: Tokenizer,
    /// Tokens that a text is cut at.
    cuts: Vec<Cut>,
    /// The special tokens: texts, and ids that decoding leaves out.
    special: (HashSet<String>, HashSet<i64>),
    legacy: bool,
    prefix: bool,
}

/// A token that a text is cut at.
pub(super) struct Cut {
    pub token: AddedToken,
    pub id: i64,
    pub role: TokenRole,
}

/// What a token is to transformers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TokenRole {
    /// `bos_token` and the like.
    Named,
    /// One of `additional_special_tokens`.
    Further,
    /// Any other.
    Added,
}

/// A stretch of a text: a token that it is cut at, or what SentencePiece reads.
struct TextSegment {
    bytes: Range<usize>,
    cut: Option<usize>,
}

/// A token with the characters that it spells.
pub(super) type SpelledToken = (i64, (usize, usize));

impl SlowTokenizer {
    /// From `tokenizer.model` and the tokens of the files beside it.
    pub(super) fn open(files: &Files, cuts: Vec<Cut>) -> Result<Self, TokenizerError> {
        let named = cuts.iter().filter(|cut| cut.role != TokenRole::Added);
        let special = named.map(|cut| (cut.token.content.clone(), cut.id)).unzip();
        let pieces = Pieces::read(files)?;
        let (legacy, prefix) =
            (files.switch("legacy")?.unwrap_or(true), files.switch("add_prefix_space")?.unwrap_or(true));
        let broken = |reason: String| wrong(&files.path(MODELS[0]), format!("{reason}: copy it again"));
        let said = |error: tokenizers::Error| broken(error.to_string());
        let mut inner = assemble(pieces.bpe(false).map_err(said)?, &json!({})).map_err(broken)?;
        let defined = pieces.pieces.iter().filter(|piece| piece.kind == PieceType::UserDefined);
        let defined = defined.map(|piece| AddedToken::from(piece.text.clone(), false).normalized(false));
        inner.add_tokens(defined.collect::<Vec<_>>()).map_err(said)?;
        let ids = (0..).zip(&pieces.pieces).map(|(id, piece)| (piece.text.clone(), id)).collect();
        Ok(Self { pieces, ids, inner, cuts, special, legacy, prefix })
    }

    /// Takes the unknown piece as the one special token, whose name is an empty text; its id.
    pub(super) fn nameless(&mut self) -> Result<i64, String> {
        let (id, _) = self.pieces.unknown().ok_or("has no unknown piece: copy it again")?;
        self.special = (HashSet::from([String::new()]), HashSet::from([id]));
        Ok(id)
    }

    /// Whether a text can spell this token.
    pub(super) fn cuts_at(&self, id: i64) -> bool {
        self.cuts.iter().any(|cut| cut.id == id)
    }

    /// The ids of a text, without those that are put around it.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<SpelledToken>, TokenizerError> {
        let shift = usize::from(!self.legacy && self.prefix && !text.is_empty());
        let whole = if self.legacy {
            text.to_owned()
        } else {
            format!("{}{}", &SPACE[..shift * SPACE.len()], text.replace(SPACE, " "))
        };
        let mut spelled = Vec::new();
        for stretch in self.cut(&whole) {
            let begin = whole[..stretch.bytes.start].chars().count();
            let said = &whole[stretch.bytes];
            match stretch.cut {
                Some(cut) => spelled.push((self.cuts[cut].id, (begin, begin + said.chars().count()))),
                None => {
                    spelled.extend(self.stretch(said)?.into_iter().map(|(id, (a, b))| (id, (a + begin, b + begin))));
                }
            }
        }
        let is_space = |id: i64| self.ids.get(SPACE) == Some(&id);
        let lonely =
            !self.legacy && spelled.len() > 1 && is_space(spelled[0].0) && self.special.1.contains(&spelled[1].0);
        let without = spelled.into_iter().skip(usize::from(lonely));
        Ok(without.map(|(id, (a, b))| (id, (a.saturating_sub(shift), b.saturating_sub(shift)))).collect())
    }

    /// What SentencePiece gives for a stretch of text.
    fn stretch(&self, text: &str) -> Result<Vec<SpelledToken>, TokenizerError> {
        let before = if self.legacy && self.pieces.dummy_prefix { SPACE } else { "" };
        let shift = before.chars().count();
        let prepared = format!("{before}{}", text.replace(' ', SPACE));
        let encoding = self.inner.encode_char_offsets(prepared.as_str(), false);
        let encoding = encoding.map_err(|error| TokenizerError::Encode(error.to_string()))?;
        let moved = |&(a, b): &(usize, usize)| (a.saturating_sub(shift), b.saturating_sub(shift));
        Ok(super::ids(&encoding).into_iter().zip(encoding.get_offsets().iter().map(moved)).collect())
    }

    /// The first of the longest tokens at or behind a place.
    fn find(&self, text: &str, from: usize) -> Option<(Range<usize>, usize)> {
        let tokens = self.cuts.iter().enumerate().filter(|(_, cut)| !cut.token.content.is_empty());
        let found = tokens.filter_map(|(index, cut)| {
            let content = cut.token.content.as_str();
            let at = from + text[from..].find(content)?;
            Some((at..at + content.len(), index))
        });
        found.min_by_key(|(bytes, _)| (bytes.start, usize::MAX - bytes.end))
    }

    fn cut(&self, text: &str) -> Vec<TextSegment> {
        let mut stretches = Vec::new();
        let mut from = 0;
        while let Some((bytes, cut)) = self.find(text, from) {
            stretches.push(TextSegment { bytes: from..bytes.start, cut: None });
            from = bytes.end;
            stretches.push(TextSegment { bytes, cut: Some(cut) });
        }
        stretches.push(TextSegment { bytes: from..text.len(), cut: None });
        stretches.retain(|stretch| !stretch.bytes.is_empty());
        for at in 0..stretches.len() {
            self.trim(text, &mut stretches, at);
        }
        stretches.retain(|stretch| !stretch.bytes.is_empty());
        stretches
    }

    /// What a token does to the stretches around it: takes their spaces, or becomes part of a word.
    fn trim(&self, text: &str, stretches: &mut [TextSegment], at: usize) {
        let Some(cut) = stretches[at].cut else { return };
        let token = &self.cuts[cut].token;
        let bytes = stretches[at].bytes.clone();
        if token.rstrip && at + 1 < stretches.len() {
            let right = &mut stretches[at + 1].bytes;
            right.start = right.end - text[right.clone()].trim_start().len();
        }
        let left = at.checked_sub(1).map(|left| stretches[left].bytes.clone()).filter(|left| !left.is_empty());
        if let Some(left) = left.clone().filter(|_| token.lstrip) {
            stretches[at - 1].bytes.end = left.start + text[left].trim_end().len();
        }
        if !token.single_word {
            return;
        }
        let right = stretches.get(at + 1).map(|right| right.bytes.clone()).filter(|right| !right.is_empty());
        if left.is_some_and(|left| !text[left].ends_with(' ')) {
            stretches[at - 1] = TextSegment { bytes: stretches[at - 1].bytes.start..bytes.end, cut: None };
            stretches[at].bytes = bytes.end..bytes.end;
        } else if right.is_some_and(|right| !text[right].starts_with(' ')) {
            stretches[at + 1] = TextSegment { bytes: bytes.start..stretches[at + 1].bytes.end, cut: None };
            stretches[at].bytes = bytes.start..bytes.start;
        }
    }

    /// The text of ids; what no piece has adds nothing. Tokens that were added to SentencePiece's stand between spaces.
    pub(super) fn decode(&self, ids: &[u32], skip_specials: bool) -> String {
        let mut texts: Vec<String> = Vec::new();
        let mut said: Vec<String> = Vec::new();
        for id in ids.iter().map(|&id| i64::from(id)).filter(|id| !(skip_specials && self.special.1.contains(id))) {
            let cut = self.cuts.iter().find(|cut| cut.id == id);
            let beyond = id >= self.pieces.pieces.len() as i64;
            match (cut, self.pieces.pieces.get(id as usize)) {
                (Some(Cut { token, role, .. }), _)
                    if *role == TokenRole::Added || (*role == TokenRole::Further && beyond) =>
                {
                    texts.extend(Some(self.words(&std::mem::take(&mut said))).filter(|text| !text.is_empty()));
                    texts.push(token.content.clone());
                }
                (Some(cut), _) => said.push(cut.token.content.clone()),
                (None, Some(piece)) => said.push(piece.text.clone()),
                (None, None) => {}
            }
        }
        if !said.is_empty() {
            texts.push(self.words(&said));
        }
        texts.join(" ")
    }

    /// `convert_tokens_to_string` of transformers.
    fn words(&self, tokens: &[String]) -> String {
        let (mut out, mut stretch, mut after_special) = (String::new(), Vec::new(), false);
        for (at, token) in tokens.iter().enumerate() {
            let token = token.strip_prefix(SPACE).filter(|_| at == 0 && self.prefix).unwrap_or(token);
            if self.special.0.contains(token) {
                if !after_special && at != 0 && self.legacy {
                    out.push(' ');
                }
                out.push_str(&self.joined(&std::mem::take(&mut stretch)));
                out.push_str(token);
                after_special = true;
                continue;
            }
            if after_special && at == 1 && self.prefix && !token.starts_with(SPACE) {
                out.push(' ');
            }
            stretch.push(token);
            after_special = false;
        }
        out + &self.joined(&stretch)
    }

    /// SentencePiece's own decoding.
    fn joined(&self, tokens: &[&str]) -> String {
        let (mut out, mut bytes, mut taken) = (String::new(), Vec::new(), false);
        for &token in tokens {
            let id = self.ids.get(token).copied();
            let kind = id.map_or(PieceType::Unknown, |id| self.pieces.pieces[id as usize].kind);
            if let Some(byte) = super::pieces::byte_token(token).filter(|_| kind == PieceType::Text) {
                bytes.push(byte);
                continue;
            }
            characters(&mut out, &std::mem::take(&mut bytes));
            let first = out.is_empty() && !taken;
            match kind {
                PieceType::Control => {}
                PieceType::Unknown if id.is_some() => out.push_str(UNKNOWN),
                PieceType::Unknown => out.push_str(token),
                PieceType::Text | PieceType::UserDefined => {
                    let begin = token.strip_prefix(SPACE).filter(|_| first && self.legacy && self.pieces.dummy_prefix);
                    taken = begin.is_some();
                    out.push_str(&begin.unwrap_or(token).replace(SPACE, " "));
                }
            }
        }
        characters(&mut out, &bytes);
        out
    }
}

/// Adds the characters of bytes; a byte of none is U+FFFD.
fn characters(out: &mut String, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                out.push_str(text);
                return;
            }
            Err(error) => {
                let (valid, rest) = bytes.split_at(error.valid_up_to());
                out.push_str(&String::from_utf8_lossy(valid));
                out.push('\u{FFFD}');
                bytes = &rest[1..];
            }
        }
    }
}
