//! Where the assistant's words stand in a rendered conversation whose template does not say it.
//!
//! With `T` the whole text, `P_i` the text of the messages before turn `i` with the generation prompt and `F_i` that of the
//! messages up to it: turn `i` begins where `P_i` ends and reaches to where `F_i` ends, if `T` begins with them. A template that
//! writes earlier turns otherwise than the last one (thoughts left out, no end token after the last turn), or that prints no
//! generation prompt, is asked again with other words in the turn's place: what changes is what the turn says.

use std::ops::Range;

use serde_json::{Value, json};

use super::Tokenizer;
use super::conversation::{Conversation, PromptEnding, content};

/// Words in a turn's place that begin and end like no other text.
const STAND_IN: &str = "\u{FDDE}x\u{FDDF}";

/// A conversation with its text.
pub(super) struct Turns<'a> {
    pub tokenizer: &'a Tokenizer,
    pub conversation: &'a Conversation<'a>,
    pub text: &'a str,
}

impl Turns<'_> {
    /// The bytes of the text that belong to each of the assistant's turns.
    pub(super) fn said(&self) -> Result<Vec<Range<usize>>, String> {
        let messages = self.conversation.messages.iter().enumerate();
        let assistants =
            messages.filter(|(_, message)| message.get("role").and_then(Value::as_str) == Some("assistant"));
        let turns: Vec<Range<usize>> = assistants.map(|(turn, _)| self.turn(turn)).collect::<Result<_, _>>()?;
        let apart = turns.windows(2).all(|pair| pair[0].end <= pair[1].start);
        if apart { Ok(turns) } else { Err(unclear("turns overlap")) }
    }

    fn turn(&self, turn: usize) -> Result<Range<usize>, String> {
        let messages = self.conversation.messages;
        let before = self.length(&messages[..turn], PromptEnding::Prompt);
        if before == self.length(&messages[..turn], PromptEnding::Closed) {
            // No words begin the model's turn, so they may stand after the prompt and before what it says.
            return self.changed(turn);
        }
        let last = turn + 1 == messages.len();
        let through = if last && self.conversation.ending != PromptEnding::Prompt {
            Some(self.text.len())
        } else {
            self.length(&messages[..=turn], PromptEnding::Closed)
        };
        if let (Some(start), Some(end)) = (before, through)
            && start <= end
        {
            return Ok(start..end);
        }
        let changed = self.changed(turn)?;
        Ok(before.filter(|&start| start <= changed.start).unwrap_or(changed.start)..changed.end)
    }

    /// Bytes of the text of these messages, if the whole text begins with it.
    fn length(&self, messages: &[Value], ending: PromptEnding) -> Option<usize> {
        let part = Conversation { messages, ending, ..self.conversation.clone() };
        let rendered = self.tokenizer.rendered(&part).ok()?;
        self.text.starts_with(&rendered.text).then_some(rendered.text.len())
    }

    /// The bytes that change with the turn's words.
    fn changed(&self, turn: usize) -> Result<Range<usize>, String> {
        let mut messages = self.conversation.messages.to_vec();
        if content(&messages[turn]).is_none() {
            return Err(unclear("a turn without text is written otherwise inside the conversation than at its end"));
        }
        let parts = messages[turn]["content"].is_array();
        messages[turn]["content"] = if parts { json!([{"type": "text", "text": STAND_IN}]) } else { STAND_IN.into() };
        let other = Conversation { messages: &messages, ..self.conversation.clone() };
        let other = self.tokenizer.rendered(&other)?.text;
        if !other.contains(STAND_IN) {
            return Err(unclear("a turn's words are not printed as they stand"));
        }
        let same = |(a, b): &(char, char)| a == b;
        let prefix = self.text.chars().zip(other.chars()).take_while(same).map(|(c, _)| c.len_utf8()).sum();
        let back = self.text[prefix..].chars().rev().zip(other.chars().rev());
        let suffix: usize = back.take_while(same).map(|(c, _)| c.len_utf8()).sum();
        Ok(prefix..self.text.len() - suffix)
    }
}

fn unclear(why: &str) -> String {
    format!(
        "the assistant's words cannot be told from the rest ({why}): put {{% generation %}} around them in the template"
    )
}
