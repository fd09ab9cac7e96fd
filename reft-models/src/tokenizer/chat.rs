//! Conversations in the model's chat template: as text, and as ids with the tokens that the assistant says.

use std::ops::Range;

use serde_json::Value;

use super::conversation::{Conversation, Message, PromptEnding, content};
use super::slow::SpelledToken;
use super::template::{self, Rendered, TemplateContext};
use super::turns::Turns;
use super::{Tokenizer, TokenizerError};

/// By what the assistant's tokens were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AssistantTokenSource {
    /// The template's `{% generation %}` blocks.
    Marked,
    /// Renderings of parts of the conversation, compared with the whole: the template has no such block.
    Compared,
}

/// A conversation as token ids.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChatIds {
    /// Token ids.
    pub ids: Vec<i64>,
    /// The tokens that the assistant says, a range for each of its turns, in their order: the content and, unless the
    /// template's `{% generation %}` block leaves it out, the token that ends the turn.
    pub said: Vec<Range<usize>>,
    /// How they were found.
    pub found: AssistantTokenSource,
}

impl ChatIds {
    /// Whether the assistant says each token, `[N]`.
    pub fn mask(&self) -> Vec<bool> {
        let mut mask = vec![false; self.ids.len()];
        self.said.iter().for_each(|range| mask[range.clone()].fill(true));
        mask
    }

    /// Tokens before the assistant's first; all of them where it says nothing.
    pub fn prompt_len(&self) -> usize {
        self.said.iter().find(|range| !range.is_empty()).map_or(self.ids.len(), |range| range.start)
    }
}

impl Tokenizer {
    /// A conversation as text, up to the point where the model is to speak. Encode it with
    /// [`Specials::None`](super::Specials::None): the template writes special tokens out.
    ///
    /// # Errors
    /// When the tokenizer has no template, or the template refuses the conversation.
    pub fn chat(&self, messages: &[Message]) -> Result<String, TokenizerError> {
        let values: Result<Vec<Value>, _> = messages.iter().map(serde_json::to_value).collect();
        let values = values.map_err(|error| TokenizerError::Chat(error.to_string()))?;
        self.chat_text(&Conversation { ending: PromptEnding::Prompt, ..Conversation::new(&values) })
    }

    /// A conversation as text.
    ///
    /// # Errors
    /// When the tokenizer has no template, or the template refuses the conversation.
    pub fn chat_text(&self, conversation: &Conversation<'_>) -> Result<String, TokenizerError> {
        self.check_chat(conversation.template)?;
        self.rendered(conversation).map(|rendered| rendered.text).map_err(TokenizerError::Chat)
    }

    /// A conversation as ids, with the tokens that the assistant says: what a model is trained on.
    ///
    /// By the template's `{% generation %}` blocks where it has them, with the mask of transformers 4.45.1; else a turn
    /// begins where its generation prompt ends and reaches to its end token.
    ///
    /// # Errors
    /// When the template refuses the conversation, when it does not say where the assistant's words are, or when a token
    /// lies beyond the model's embedding.
    pub fn chat_ids(&self, conversation: &Conversation<'_>) -> Result<ChatIds, TokenizerError> {
        self.check_chat(conversation.template)?;
        let Rendered { text, said } = self.rendered(conversation).map_err(TokenizerError::Chat)?;
        let spelled = self.spelled(&text)?;
        let ids: Vec<i64> = spelled.iter().map(|(id, _)| *id).collect();
        self.check(&ids)?;
        let tokens = TokensOf { text: &text, spelled: &spelled };
        if let Some(said) = said {
            let said = said.into_iter().map(|bytes| tokens.of(bytes)).collect();
            return Ok(ChatIds { ids, said, found: AssistantTokenSource::Marked });
        }
        let turns = Turns { tokenizer: self, conversation, text: &text };
        let bytes = turns.said().map_err(TokenizerError::Chat)?;
        let ends = self.turn_ends();
        let said = bytes.into_iter().map(|bytes| tokens.with_end(bytes, &ends)).collect();
        Ok(ChatIds { ids, said, found: AssistantTokenSource::Compared })
    }

    /// Whether there is a chat template: one that came with the tokenizer, or the `asked` one.
    ///
    /// # Errors
    /// When there is none.
    pub fn check_chat(&self, asked: Option<&str>) -> Result<(), TokenizerError> {
        if asked.is_none() && self.templates.is_empty() { Err(TokenizerError::NoChatTemplate) } else { Ok(()) }
    }

    /// The date that the chat template prints, as `2025-03-09`; none where it prints none.
    pub fn chat_date(&self) -> Option<String> {
        self.templates.dated().then(|| self.clock.date())
    }

    /// The tokens of a text with the characters of each, special tokens as the text writes them.
    fn spelled(&self, text: &str) -> Result<Vec<SpelledToken>, TokenizerError> {
        if let Some(slow) = &self.slow {
            return slow.encode(text);
        }
        let encoding = self.inner.encode_char_offsets(text, false);
        let encoding = encoding.map_err(|error| TokenizerError::Encode(error.to_string()))?;
        Ok(self.ids(&encoding).into_iter().zip(encoding.get_offsets().iter().copied()).collect())
    }

    pub(super) fn rendered(&self, conversation: &Conversation<'_>) -> Result<Rendered, String> {
        let source = self.templates.choose(conversation.template, conversation.tools.is_some())?;
        let scene = TemplateContext { specials: &self.specials, clock: self.clock };
        let mut rendered = template::render(source, conversation, &scene)?;
        if conversation.ending == PromptEnding::Open {
            rendered.text.truncate(open_end(&rendered.text, conversation.messages)?);
        }
        Ok(rendered)
    }
}

/// Bytes of a text up to the end of its last message's words.
fn open_end(text: &str, messages: &[Value]) -> Result<usize, String> {
    let last = messages.last().and_then(content).ok_or("the last message, which is to go on, has no text")?;
    let last = last.trim();
    let missing = || "the template does not print the last message, which is to go on, as it stands".to_owned();
    text.rfind(last).map(|at| at + last.len()).ok_or_else(missing)
}

/// The tokens of a text, by its bytes.
struct TokensOf<'a> {
    text: &'a str,
    spelled: &'a [SpelledToken],
}

impl TokensOf<'_> {
    /// The first token of the character at this byte.
    fn at(&self, byte: usize) -> Option<usize> {
        let at = self.text[..byte].chars().count();
        self.spelled.iter().position(|&(_, (start, end))| (start..end).contains(&at))
    }

    /// From the first token of the first character to the first token of the last one, as transformers 4.45.1 has it.
    fn of(&self, bytes: Range<usize>) -> Range<usize> {
        let last = self.text[..bytes.end].char_indices().next_back().map(|(at, _)| at);
        let Some(first) = self.at(bytes.start) else { return self.spelled.len()..self.spelled.len() };
        let end = last.and_then(|last| self.at(last)).map_or(self.spelled.len(), |last| last + 1);
        first..end.max(first)
    }

    /// All tokens of these bytes, up to the last that is more than spaces; with the end of the turn that follows, where nothing
    /// but spaces lies between.
    fn with_end(&self, bytes: Range<usize>, ends: &[i64]) -> Range<usize> {
        let starts = |byte: usize| self.text[..byte].chars().count();
        let (from, to) = (starts(bytes.start), starts(bytes.end));
        let len = self.spelled.len();
        let first = self.spelled.iter().position(|&(_, (_, end))| end > from).unwrap_or(len);
        let after = self.spelled.iter().skip(first).position(|&(_, (start, _))| start >= to);
        let after = after.map_or(len, |after| first + after);
        let is_end = |token: &usize| ends.contains(&self.spelled[*token].0);
        let blank = |token: usize| {
            let (start, end) = self.spelled[token].1;
            self.text.chars().skip(start).take(end - start).all(char::is_whitespace)
        };
        let said = (first..after).rev().find(|&token| !blank(token)).map_or(first, |last| last + 1);
        if (first..said).last().is_some_and(|last| is_end(&last)) {
            return first..said;
        }
        let beyond = (after..len).find(|&token| !blank(token)).filter(is_end);
        first..beyond.map_or(said, |end| end + 1)
    }
}
