//! Scheduling: which prompts run, and in which slots of the KV cache.
//!
//! The cache is divided into *places*, each with room for one lane from its prompt's first token to its last new one.
//! A running prompt owns as many neighbouring places as there are beams.

use std::collections::{HashMap, VecDeque};

use reft_core::layout::Span;

use super::candidate::Candidate;
use super::search::PromptSearch;
use super::{DecodeError, Generator};
use crate::kv_cache::{KvCache, RowMove, SlotSizes};
use crate::rope::{LengthLimit, LimitCrossing};

/// Prompt tokens that join one pass at most (a longer prompt joins alone), so that a pass stays small in memory.
const PREFILL: usize = 4096;

/// A prompt that is being continued.
pub(super) struct RunningPrompt {
    /// Its number.
    pub prompt: usize,
    pub search: PromptSearch,
    /// Row of the cache where its first lane begins.
    base: i64,
    /// Whether its prompt is in the cache.
    begun: bool,
    /// Tokens guessed to come next.
    pub guess: Vec<i64>,
}

impl RunningPrompt {
    /// The error that the token after `confirmed` more tokens cannot be chosen.
    pub(super) fn not_finite(&self, confirmed: usize) -> DecodeError {
        let said = self.search.lanes().first().map_or(0, |said| said.len());
        DecodeError::NotFinite { prompt: self.prompt, token: said + confirmed }
    }
}

/// A lane's tokens in one pass.
pub(super) struct LaneTokens {
    pub span: Span,
    pub ids: Vec<i64>,
    /// Its last rows, whose next tokens are asked for.
    pub asked: usize,
}

/// Prompts that have not begun, and the places that are free.
pub(super) struct Queue<'a> {
    prompts: &'a [&'a [i64]],
    /// How many equal prompts stand before each.
    occurrences: Vec<u64>,
    waiting: VecDeque<usize>,
    free: Vec<i64>,
    /// Rows of one place.
    room: i64,
    /// Tokens that all prompts begin with; they lie behind the last place.
    shared: i64,
    /// Rows of all places.
    places: i64,
    /// Up to which length keys do not depend on how long their sequence is.
    limit: Option<LengthLimit>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(generator: &Generator<'_>, prompts: &'a [&'a [i64]], shared: i64) -> Self {
        let beams = generator.decoding.beams;
        let longest = prompts.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let room = (longest + generator.stop.max_new) as i64;
        let together = (generator.batch / beams).clamp(1, prompts.len().max(1)) as i64;
        let owned = beams as i64 * room;
        let mut seen: HashMap<&[i64], u64> = HashMap::new();
        let mut occurrence = |ids: &&'a [i64]| {
            let count = seen.entry(ids).or_default();
            std::mem::replace(count, *count + 1)
        };
        Self {
            prompts,
            occurrences: prompts.iter().map(&mut occurrence).collect(),
            waiting: if generator.stop.max_new > 0 { (0..prompts.len()).collect() } else { VecDeque::new() },
            free: (0..together).rev().map(|index| index * owned).collect(),
            room,
            shared,
            places: together * owned,
            limit: generator.model.length_limit(),
        }
    }

    /// Rows that the cache needs, and its places, for guesses of so many tokens.
    pub(super) fn cache(&self, guessed: i64) -> (i64, SlotSizes) {
        (self.places + self.shared, SlotSizes { room: self.room, guessed })
    }

    /// The prompts' common beginning, as a sequence of its own.
    pub(super) fn beginning(&self) -> Option<LaneTokens> {
        let first = self.prompts.first().filter(|_| self.shared > 0)?;
        let span = Span {
            row: 0,
            past: 0,
            past_row: self.places,
            len: self.shared,
            prompt: first.len() as i64,
            adaptation: 0,
        };
        Some(LaneTokens { span, ids: first[..self.shared as usize].to_vec(), asked: 1 })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Starts waiting prompts in free places.
    pub(super) fn admit(&mut self, generator: &Generator<'_>, running: &mut Vec<RunningPrompt>, cache: &mut KvCache) {
        let mut tokens = 0;
        while let (Some(&prompt), Some(&base)) = (self.waiting.front(), self.free.last()) {
            let ids = self.prompts[prompt];
            tokens += ids.len();
            if tokens > PREFILL.max(ids.len()) {
                break;
            }
            self.waiting.pop_front();
            self.free.pop();
            if self.shared > 0 {
                cache.copy(&[RowMove { from: self.places, to: base, len: self.shared }]);
            }
            running.push(RunningPrompt {
                prompt,
                search: PromptSearch::new(generator, ids, self.occurrences[prompt]),
                base,
                begun: false,
                guess: Vec::new(),
            });
        }
    }

    /// Tokens that may be guessed behind an answer of `said`: beyond the model's limit they come one by one, since each changes
    /// the length that keys depend on.
    pub(super) fn fixed(&self, prompt: usize, said: usize) -> usize {
        let length = (self.prompts[prompt].len() + said) as i64;
        self.limit.map_or(usize::MAX, |limit| (limit.tokens - length).max(0) as usize)
    }

    /// Whether a sequence's keys are computed anew when a token joins these.
    fn crosses(&self, past: i64) -> bool {
        self.limit.is_some_and(|limit| limit.crossing == LimitCrossing::Recompute && limit.tokens == past)
    }

    /// Tokens of a running prompt's lanes that the cache does not hold yet, with the guess at its end.
    pub(super) fn feed(&self, running: &RunningPrompt) -> Vec<LaneTokens> {
        let ids = self.prompts[running.prompt];
        let prompt = ids.len() as i64;
        let fed = |past: i64, past_row: i64, new: &[i64]| {
            let ids = [new, &running.guess].concat();
            let span = Span { row: 0, past, past_row, len: ids.len() as i64, prompt, adaptation: 0 };
            LaneTokens { span, ids, asked: 1 + running.guess.len() }
        };
        if !running.begun {
            return vec![fed(self.shared, running.base, &ids[self.shared as usize..])];
        }
        let lane = |(lane, said): (usize, &[i64])| {
            let (past, past_row) = (prompt + said.len() as i64 - 1, running.base + lane as i64 * self.room);
            if self.crosses(past) {
                return fed(0, past_row, &[ids, said].concat());
            }
            fed(past, past_row, &said[said.len() - 1..])
        };
        running.search.lanes().into_iter().enumerate().map(lane).collect()
    }

    /// What a running prompt was asked.
    pub(super) fn prompt(&self, running: &RunningPrompt) -> &'a [i64] {
        self.prompts[running.prompt]
    }

    /// Rows to be copied so that each lane finds what the lane it goes on from has seen.
    pub(super) fn follow(&self, running: &mut RunningPrompt, lanes: &[Candidate]) -> Vec<RowMove> {
        let prompt = self.prompts[running.prompt].len() as i64;
        let said = running.search.lanes().first().map_or(0, |said| said.len()) as i64 - 1;
        // Later on all lanes hold the prompt, and only what was said differs.
        let (begin, len) = if running.begun { (prompt, said) } else { (0, prompt) };
        running.begun = true;
        let row = |lane: usize| running.base + lane as i64 * self.room + begin;
        let moved = lanes.iter().enumerate().filter(|(to, candidate)| *to != candidate.lane && len > 0);
        moved.map(|(to, candidate)| RowMove { from: row(candidate.lane), to: row(to), len }).collect()
    }

    /// A running prompt is complete.
    pub(super) fn release(&mut self, running: &RunningPrompt) {
        self.free.push(running.base);
    }
}
