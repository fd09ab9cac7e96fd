//! A model with its adapters that continues prompts, answers a file of them, and speaks in conversations.

use std::cell::RefCell;
use std::io::Write;

use anyhow::{Result, anyhow};
use reft_core::adaptation::{Mode, Step};
use reft_models::decode::{DecodeError, Decoding, Generator, Stopping, stop};
use reft_models::tokenizer::Specials;
use serde_json::json;

use super::OpenedDecoder;
use super::inspect::edited;
use crate::run::context::{Context, ContextRequest, Remedy};

/// A model with its adapters, and how it speaks.
pub(super) struct ChatModel {
    pub opened: OpenedDecoder,
    pub decoding: Decoding,
    pub max_new: usize,
    pub seed: u64,
    pub show_edits: bool,
}

/// What a prompt is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Prompted {
    /// A text to be continued.
    Text,
    /// A conversation in the model's chat template, which has written the special tokens already.
    Conversation,
}

impl Prompted {
    /// Whether the tokenizer adds the special tokens.
    pub fn specials(self) -> Specials {
        match self {
            Self::Text => Specials::AsModel,
            Self::Conversation => Specials::None,
        }
    }
}

/// Prompts of a file that are answered together.
const TOGETHER: usize = 16;

impl ChatModel {
    /// The base model if there is no adapter, else every adapter in turn.
    fn voices(&self) -> Vec<Option<usize>> {
        match self.opened.adapters.len() {
            0 => vec![None],
            n => (0..n).map(Some).collect(),
        }
    }

    /// The name of an adapter, or of the base model.
    pub fn name(&self, voice: Option<usize>) -> &str {
        voice.map_or("base model", |index| self.opened.adapters[index].0.as_str())
    }

    /// Prints what every adapter continues a prompt with, or the base model if there is none.
    pub fn one(&self, prompt: &str) -> Result<()> {
        let voices = self.voices();
        for &voice in &voices {
            if voices.len() > 1 {
                println!("== {}", self.name(voice));
            }
            self.say(voice, prompt, Prompted::Text, &mut std::io::stdout())?;
        }
        Ok(())
    }

    /// Says the continuation of a prompt while it comes, and returns it.
    pub fn say(&self, voice: Option<usize>, prompt: &str, prompted: Prompted, out: &mut dyn Write) -> Result<String> {
        let tokenizer = &self.opened.loaded.tokenizer;
        let ids = tokenizer.encode(prompt, prompted.specials())?;
        if ids.is_empty() {
            return Err(DecodeError::Empty { prompt: 0 }.into());
        }
        self.check_context("the prompt", &[&ids])?;
        let step = voice.map(|index| self.opened.adapters[index].1.begin(Mode::Eval));
        if let Some(step) = step.as_ref().filter(|_| self.show_edits) {
            eprint!("{}", edited(tokenizer, &ids, |layout| step.edits(layout)));
        }
        let continued = tokenizer.after(&ids)?;
        let stops = &self.decoding.stop;
        let stream = RefCell::new(Stream { out, printed: 0 });
        let decided = |_: usize, generated: &[i64]| {
            let said = continued.text(generated).unwrap_or_default();
            // With several beams the winner is not known yet.
            if self.decoding.beams == 1 {
                stream.borrow_mut().show(stop::settled(stops, &said), false);
            }
            stop::find(stops, &said).is_some()
        };
        let answer = self.generator(step.as_deref(), 1, prompted).run(&[&ids], &decided)?.remove(0);
        let said = continued.text(&answer.ids)?;
        let said = stop::cut(stops, &said);
        stream.into_inner().show(said, true);
        Ok(said.to_owned())
    }

    /// Answers every prompt of a file, each put to the model as in `asked`.
    pub fn file(&self, path: &std::path::Path, prompts: &[String], asked: &[String]) -> Result<()> {
        let tokenizer = &self.opened.loaded.tokenizer;
        let encode = |prompt: &String| tokenizer.encode(prompt, Specials::AsModel);
        let ids = asked.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<&[i64]> = ids.iter().map(Vec::as_slice).collect();
        self.check_context(&path.display().to_string(), &ids)?;
        let continued = ids.iter().map(|prompt| tokenizer.after(prompt)).collect::<Result<Vec<_>, _>>()?;
        let stops = &self.decoding.stop;
        let decided = |place: usize, generated: &[i64]| {
            !stops.is_empty() && continued[place].text(generated).is_ok_and(|said| stop::find(stops, &said).is_some())
        };
        for voice in self.voices() {
            let step = voice.map(|index| self.opened.adapters[index].1.begin(Mode::Eval));
            let answers = self.generator(step.as_deref(), TOGETHER, Prompted::Text).run(&ids, &decided);
            let named = |error: DecodeError| match error.prompt() {
                Some(prompt) => anyhow!("{}: prompt {}: {error}", path.display(), prompt + 1),
                None => error.into(),
            };
            for ((prompt, continued), answer) in prompts.iter().zip(&continued).zip(answers.map_err(named)?) {
                let said = continued.text(&answer.ids)?;
                let said = stop::cut(stops, &said);
                println!("{}", json!({"prompt": prompt, "adapter": voice.map(|_| self.name(voice)), "said": said}));
            }
        }
        Ok(())
    }

    /// What prompts of these lengths ask of the model.
    fn check_context(&self, what: &str, prompts: &[&[i64]]) -> Result<()> {
        let virtual_tokens =
            self.opened.adapters.iter().map(|(_, adaptation)| adaptation.begin(Mode::Eval).virtual_tokens()).max();
        let context =
            Context { tokens: self.opened.loaded.decoder.context(), virtual_tokens: virtual_tokens.unwrap_or(0) };
        let max_new = self.max_new;
        let lengths: Vec<usize> = prompts.iter().map(|ids| ids.len()).collect();
        let name = |index| if lengths.len() > 1 { format!("{what}: prompt {}", index + 1) } else { what.to_owned() };
        Ok(ContextRequest { context, max_new, remedy: Remedy::Shorten }.check(what, &lengths, name)?)
    }

    fn generator<'a>(&'a self, adaptation: Option<&'a dyn Step>, batch: usize, prompted: Prompted) -> Generator<'a> {
        let loaded = &self.opened.loaded;
        let ends = match prompted {
            Prompted::Text => loaded.tokenizer.answer_ends(),
            Prompted::Conversation => loaded.tokenizer.turn_ends(),
        };
        let (model, stop) = (loaded.decoder.as_ref(), Stopping { max_new: self.max_new, ends });
        Generator { model, adaptation, batch, stop, decoding: &self.decoding, seed: self.seed }
    }
}

/// Text that is shown as it grows.
struct Stream<'a> {
    out: &'a mut dyn Write,
    printed: usize,
}

impl Stream<'_> {
    /// Shows what is new. The text may end in the middle of a character, then shown as U+FFFD: that waits for the rest.
    /// Bytes that never become a character change what stands before them: only what comes behind is shown then.
    fn show(&mut self, said: &str, complete: bool) {
        let end = if complete { said.len() } else { said.trim_end_matches('\u{FFFD}').len() };
        let begin = (self.printed..=end).find(|&at| said.is_char_boundary(at));
        if let Some(new) = begin.and_then(|begin| said.get(begin..end)) {
            // A reader that has gone away is no error of ours.
            let _ = write!(self.out, "{new}").and_then(|()| self.out.flush());
            self.printed = end;
        }
        if complete {
            let _ = writeln!(self.out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_text_is_shown_once_and_in_whole_characters() {
        let mut out = Vec::new();
        let mut stream = Stream { out: &mut out, printed: 0 };
        for said in ["a", "a\u{FFFD}", "a\u{FFFD}\u{FFFD}", "aü", "aü\u{FFFD}"] {
            stream.show(said, false);
        }
        stream.show("aü✅", true);
        assert_eq!(String::from_utf8(out).expect("whole characters"), "aü✅\n");
    }

    #[test]
    fn text_behind_replacement_characters_is_printed() {
        let mut out = Vec::new();
        let mut stream = Stream { out: &mut out, printed: 0 };
        stream.show("ü", false);
        stream.show("\u{FFFD}\u{FFFD}\u{FFFD} end", true);
        assert!(String::from_utf8(out).expect("whole characters").ends_with(" end\n"));
    }
}
