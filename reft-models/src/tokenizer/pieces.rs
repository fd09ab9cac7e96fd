//! What each token says, byte by byte, and what a continuation says after its prompt.

use serde_json::Value;

use super::{Tokenizer, TokenizerError};

/// How a decoder turns the vocabulary's spelling of a token into bytes, where that does not depend on other tokens.
enum PieceSpelling {
    /// Every byte is a letter of its own, as in GPT-2.
    Bytes,
    /// Texts with some parts replaced; `<0xE6>` is a byte if `bytes`.
    Texts { replaced: Vec<(String, String)>, bytes: bool },
}

impl PieceSpelling {
    /// That of a decoder as `tokenizer.json` describes it; none where tokens change each other's text.
    ///
    /// A decoder may take spaces from the beginning of the whole text: that is no token's matter.
    fn of(decoder: &Value) -> Option<Self> {
        let parts = match decoder["type"].as_str()? {
            "Sequence" => decoder["decoders"].as_array()?.iter().collect(),
            _ => vec![decoder],
        };
        let (mut replaced, mut bytes, mut fused) = (Vec::new(), false, false);
        for part in &parts {
            match part["type"].as_str()? {
                "ByteLevel" if parts.len() == 1 => return Some(Self::Bytes),
                "Replace" if !bytes && !fused => {
                    let pattern = part["pattern"]["String"].as_str()?;
                    replaced.push((pattern.to_owned(), part["content"].as_str()?.to_owned()));
                }
                "Metaspace" if !bytes && !fused => {
                    replaced.push((part["replacement"].as_str()?.to_owned(), " ".to_owned()));
                }
                "ByteFallback" if !fused => bytes = true,
                "Fuse" => fused = true,
                "Strip" if fused && part["stop"].as_u64() == Some(0) => {}
                _ => return None,
            }
        }
        Some(Self::Texts { replaced, bytes })
    }

    fn bytes(&self, token: &str) -> Vec<u8> {
        match self {
            // A token with a letter that stands for no byte is an added one, spelled as it is.
            Self::Bytes => token.chars().map(byte).collect::<Option<Vec<u8>>>().unwrap_or_else(|| token.into()),
            Self::Texts { replaced, bytes } => {
                let replace = |text: String, (from, to): &(String, String)| text.replace(from.as_str(), to);
                let text = replaced.iter().fold(token.to_owned(), replace);
                match byte_token(&text).filter(|_| *bytes) {
                    Some(byte) => vec![byte],
                    None => text.into_bytes(),
                }
            }
        }
    }
}

/// The byte of a letter of GPT-2's alphabet: printable ones stand for themselves, the others for those from U+0100 on.
fn byte(letter: char) -> Option<u8> {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let code = letter as u32;
    if printable(code) {
        return u8::try_from(code).ok();
    }
    let others = (0..256).filter(|&byte| !printable(byte));
    others.zip(256..).find(|&(_, letter)| letter == code).and_then(|(byte, _)| u8::try_from(byte).ok())
}

/// `<0xE6>`, as SentencePiece spells a byte.
pub(super) fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// Tokens of a prompt's end that are looked at, at most, for a place to decode from.
const TAIL: usize = 16;

/// What is said after a prompt: the text of prompt and new tokens, without the prompt's.
///
/// SentencePiece's decoders take the first space of a text away, so new tokens alone would lose one.
pub struct Continuation<'a> {
    tokenizer: &'a Tokenizer,
    /// The prompt's last tokens that say something, and their text.
    before: Vec<i64>,
    text: String,
}

impl Continuation<'_> {
    /// The text of the new tokens, special ones and an end token left out. The last character may be incomplete, then
    /// shown as U+FFFD.
    ///
    /// # Errors
    /// When an id is negative.
    pub fn text(&self, new: &[i64]) -> Result<String, TokenizerError> {
        let said = match new.split_last() {
            Some((last, said)) if self.tokenizer.answer_ends().contains(last) => said,
            _ => new,
        };
        let all = self.tokenizer.decode(&[&self.before, said].concat(), true)?;
        match all.strip_prefix(self.text.as_str()) {
            Some(text) => Ok(text.to_owned()),
            // Decoders that change what stands before, such as WordPiece's around punctuation.
            None => self.tokenizer.decode(said, true),
        }
    }
}

impl Tokenizer {
    /// How a continuation of this prompt reads.
    ///
    /// # Errors
    /// When an id is negative.
    pub fn after(&self, prompt: &[i64]) -> Result<Continuation<'_>, TokenizerError> {
        // As few tokens as make whole characters: what the decoder does at the beginning of a text happens to them.
        for len in 1..=prompt.len().min(TAIL) {
            let before = &prompt[prompt.len() - len..];
            let text = self.decode(before, true)?;
            if !text.is_empty() && !text.contains('\u{FFFD}') && self.begins_a_character(before) {
                return Ok(Continuation { tokenizer: self, before: before.to_vec(), text });
            }
        }
        let text = self.decode(prompt, true)?;
        Ok(Continuation { tokenizer: self, before: prompt.to_vec(), text })
    }

    /// Whether the first of these tokens is no byte from the middle of a character.
    fn begins_a_character(&self, ids: &[i64]) -> bool {
        let first = ids.first().and_then(|id| self.token_bytes()?.get(usize::try_from(*id).ok()?));
        first.and_then(|bytes| bytes.first()).is_none_or(|byte| byte & 0xC0 != 0x80)
    }

    /// The bytes that each token says in the middle of a text, in the order of ids; nothing for special ones and for ids
    /// without a token. None where what a token says depends on its neighbours.
    pub fn token_bytes(&self) -> Option<&[Vec<u8>]> {
        self.bytes.get_or_init(|| self.spell()).as_deref()
    }

    fn spell(&self) -> Option<Vec<Vec<u8>>> {
        if self.clean {
            return None;
        }
        let decoder = serde_json::to_value(self.inner.get_decoder()?).ok()?;
        let spelling = PieceSpelling::of(&decoder)?;
        let vocabulary = self.inner.get_vocab(true);
        let mut bytes = vec![Vec::new(); vocabulary.values().max().map_or(0, |&last| last as usize + 1)];
        for (token, id) in vocabulary {
            if !self.inner.get_added_vocabulary().is_special_token(&token) {
                bytes[id as usize] = spelling.bytes(&token);
            }
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn letters_of_the_byte_alphabet_are_bytes() {
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let mut bytes: Vec<u8> = alphabet.into_iter().map(|letter| byte(letter).expect("in the alphabet")).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!((byte('Ġ'), byte('Ċ'), byte(' '), byte('是')), (Some(b' '), Some(b'\n'), None, None));
    }

    #[test]
    fn decoders_whose_tokens_stand_alone_are_known() {
        let replace = json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "});
        let strip = |stop: u64| json!({"type": "Strip", "content": " ", "start": 1, "stop": stop});
        let sequence = |parts: Vec<Value>| json!({"type": "Sequence", "decoders": parts});
        let (fallback, fuse) = (json!({"type": "ByteFallback"}), json!({"type": "Fuse"}));
        let llama = sequence(vec![replace.clone(), fallback.clone(), fuse.clone(), strip(0)]);
        let spelling = PieceSpelling::of(&llama).expect("Llama's");
        assert_eq!(spelling.bytes("▁a▁"), b" a ");
        assert_eq!((spelling.bytes("<0xE6>"), spelling.bytes("<0xZZ>")), (vec![0xE6], b"<0xZZ>".to_vec()));
        assert!(
            PieceSpelling::of(&sequence(vec![replace.clone(), fuse, strip(1)])).is_none(),
            "the end of the text changes"
        );
        assert!(PieceSpelling::of(&sequence(vec![strip(0), replace])).is_none(), "every token is cut");
        assert!(PieceSpelling::of(&json!({"type": "WordPiece", "prefix": "##", "cleanup": true})).is_none());
    }
}
