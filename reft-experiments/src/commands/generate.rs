//! `reft generate`: one prompt, a file of prompts, or a conversation.

mod chat;

use std::cell::RefCell;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use reft_core::adaptation::{Mode, Step};
use reft_models::decode::settings::Sampling;
use reft_models::decode::{DecodeError, Decoding, Generator, Stopping, stop};
use reft_models::tokenizer::Specials;
use serde_json::json;

use super::inspect::edited;
use super::{BaseArgs, OpenedDecoder};
use crate::data::json_rows;
use crate::data::need::Need;
use crate::data::row::Row;
use crate::data::text::{self, MARK};
use crate::run::context::{ContextRequest, Remedy};

/// Arguments of `reft generate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The prompt
    #[arg(required_unless_present_any = ["file", "chat"], conflicts_with_all = ["file", "chat"])]
    prompt: Option<String>,
    /// File of prompts: JSON rows with `instruction` and perhaps `input`, which follows it after an empty line; or one
    /// prompt a line. Answers come as JSON lines
    #[arg(long, conflicts_with = "chat")]
    file: Option<PathBuf>,
    /// Talk with the model, by its chat template
    #[arg(long)]
    chat: bool,
    /// Folder of a trained adapter; give several to compare their answers, or to switch between them in a conversation
    #[arg(long = "adapter", value_name = "ADAPTER")]
    adapters: Vec<PathBuf>,
    /// What the adapters' edits are multiplied by: 1 as they are, 0 nothing, -1 their negation; one for each set of
    /// interventions where there are several (`--strength 1,0`)
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, requires = "adapters", value_name = "C")]
    strength: Vec<f64>,
    /// Show on stderr which tokens of the prompt are edited, and where
    #[arg(long)]
    show_edits: bool,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    decoding: DecodingArgs,
}

/// How tokens are chosen; greedily unless something else is said.
#[derive(Debug, clap::Args)]
struct DecodingArgs {
    /// New tokens at most
    #[arg(long, default_value_t = 128, value_parser = max_new)]
    max_new: usize,
    /// Continuations followed side by side
    #[arg(long, default_value_t = 1)]
    beams: usize,
    /// Draw tokens by chance: below 1 prefers likely ones, 0 takes the most likely
    #[arg(long)]
    temperature: Option<f64>,
    /// Draw from the K most likely tokens
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draw from the most likely tokens whose probabilities add up to P
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Above 1: tokens that occurred become less likely
    #[arg(long, default_value_t = 1.0)]
    repetition_penalty: f64,
    /// No N tokens in a row twice
    #[arg(long, value_name = "N", default_value_t = 0)]
    no_repeat_ngram: usize,
    /// A text that ends the answer, which is cut before it; may be given more than once
    #[arg(long)]
    stop: Vec<String>,
    /// Decides what is drawn
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

/// A number of new tokens: each takes a row of the KV cache, which is made at the beginning.
fn max_new(text: &str) -> Result<usize, String> {
    const MOST: usize = 1 << 20;
    text.parse().ok().filter(|&tokens| tokens <= MOST).ok_or_else(|| format!("write a number from 0 to {MOST}"))
}

impl DecodingArgs {
    fn decoding(&self) -> Result<Decoding> {
        // At temperature 0 all probability is the most likely token's.
        let greedy = self.temperature == Some(0.0);
        let drawn = !greedy && (self.temperature.is_some() || self.top_k.is_some() || self.top_p.is_some());
        let sampling = Sampling {
            temperature: self.temperature.filter(|_| drawn).unwrap_or(1.0),
            top_k: self.top_k.unwrap_or(0),
            top_p: self.top_p.unwrap_or(1.0),
        };
        let decoding = Decoding {
            beams: self.beams,
            sample: drawn.then_some(sampling),
            repetition_penalty: self.repetition_penalty,
            no_repeat_ngram: self.no_repeat_ngram,
            stop: self.stop.clone(),
            ..Decoding::default()
        };
        match decoding.check() {
            Ok(()) => Ok(decoding),
            Err((key, remedy)) => bail!("--{}: {remedy}", key.trim_start_matches("sample.").replace('_', "-")),
        }
    }
}

impl Args {
    /// Prints the continuation, the answers or the conversation.
    ///
    /// # Errors
    /// When the model, an adapter or the file is wrong.
    pub fn run(self) -> Result<()> {
        let decoding = self.decoding.decoding()?;
        let opened = self.base.open_with(&self.adapters, &self.strength)?;
        let (max_new, seed, show_edits) = (self.decoding.max_new, self.decoding.seed, self.show_edits);
        let speaker = ChatModel { opened, decoding, max_new, seed, show_edits };
        match (&self.prompt, &self.file) {
            (Some(prompt), _) => speaker.one(prompt),
            (None, Some(file)) => speaker.file(file),
            (None, None) => chat::talk(&speaker, &mut std::io::stdin().lock(), &mut std::io::stdout()),
        }
    }
}

/// A model with its adapters, and how it speaks.
pub(super) struct ChatModel {
    pub opened: OpenedDecoder,
    decoding: Decoding,
    max_new: usize,
    seed: u64,
    show_edits: bool,
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

    fn one(&self, prompt: &str) -> Result<()> {
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

    /// Answers every prompt of a file.
    fn file(&self, path: &std::path::Path) -> Result<()> {
        let tokenizer = &self.opened.loaded.tokenizer;
        let prompts = prompts(path)?;
        let encode = |prompt: &String| tokenizer.encode(prompt, Specials::AsModel);
        let ids = prompts.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
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
        let (context, max_new) = (self.opened.loaded.decoder.context(), self.max_new);
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

/// The prompts of a file: rows in one of the data formats (an instruction, and its input below it), else lines.
pub(super) fn prompts(path: &std::path::Path) -> Result<Vec<String>> {
    if path.extension().is_some_and(|extension| extension == "json" || extension == "jsonl") {
        return Ok(json_rows::read(path, Need::Question)?.iter().map(Row::question).collect());
    }
    let text = text::read(path)?;
    // Files that were put together may have a byte order mark before any line.
    let lines = text.lines().map(|line| line.trim_start_matches(MARK));
    let prompts: Vec<String> = lines.filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if prompts.is_empty() {
        bail!("{}: the file has no prompts: write one a line", path.display());
    }
    Ok(prompts)
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
    fn what_follows_a_changed_text_is_not_lost() {
        let mut out = Vec::new();
        let mut stream = Stream { out: &mut out, printed: 0 };
        stream.show("ü", false);
        stream.show("\u{FFFD}\u{FFFD}\u{FFFD} end", true);
        assert!(String::from_utf8(out).expect("whole characters").ends_with(" end\n"));
    }
}
