//! Greedy generation for many prompts: one prefill each, then one token per sequence and pass.
//!
//! Batches are *continuous*: as soon as a sequence is done the next prompt takes its place, so a pass holds the next
//! token of every running sequence and the whole prompts of those that just began. Each continues at its own position;
//! nothing is padded. What all prompts begin with (a task's instruction, say) is computed once and copied.

use std::collections::VecDeque;

use reft_core::adaptation::{OverlapError, Step};
use reft_core::hooks::{Frozen, Hooks};
use reft_core::layout::{Layout, Span};
use reft_core::site::LayerId;
use tch::{Kind, Tensor, no_grad};

use crate::attention::Cache;
use crate::kv_cache::KvCache;
use crate::model::{Decoder, Pass};

/// Tokens that all prompts must have in common before computing them once pays.
const SHARED: usize = 4;

/// Prompt tokens that join one pass at most (a longer prompt joins alone), so that a pass stays small in memory.
const PREFILL: i64 = 4096;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub struct Stopping {
    /// Tokens to generate at most, the end token included.
    pub max_new: usize,
    /// The end token, if it ends a generation.
    pub eos: Option<i64>,
}

/// Says whether prompt `index` needs no more tokens than those generated. Asked after each.
pub type Decided<'a> = &'a dyn Fn(usize, &[i64]) -> bool;

/// Never before the stopping rule: full decoding.
pub fn undecided(_: usize, _: &[i64]) -> bool {
    false
}

/// A model, with or without an adaptation, that continues prompts. Edits follow the positions of the adaptation, so
/// those on the prompt are part of the cache and cost nothing afterwards.
pub struct Generator<'a> {
    /// The model.
    pub model: &'a dyn Decoder,
    /// The adaptation, constraints met.
    pub adaptation: Option<&'a dyn Step>,
    /// Sequences that run together at most.
    pub batch: usize,
    /// When to stop.
    pub stop: Stopping,
}

/// A sequence that is still growing.
struct Row {
    /// Index of its prompt.
    prompt: usize,
    /// Where its keys and values begin in the cache.
    place: i64,
    generated: Vec<i64>,
}

impl Generator<'_> {
    /// Continues every prompt greedily; the generated ids of each, its end token included. Prompts begin in the order
    /// given: the longest first keeps the last passes full.
    ///
    /// # Errors
    /// When interventions overlap (Def. 3.2).
    pub fn run(&self, prompts: &[&[i64]], decided: Decided<'_>) -> Result<Vec<Vec<i64>>, OverlapError> {
        no_grad(|| {
            let longest = prompts.iter().map(|ids| ids.len()).max().unwrap_or(0);
            let (room, places) = ((longest + self.stop.max_new) as i64, self.batch.min(prompts.len()) as i64);
            let shared = self.shared(prompts);
            let rows = places * room + shared;
            let mut cache = KvCache::new(self.model.dims(), LayerId(0), rows, self.model.options());
            let mut queue = Queue {
                prompts,
                waiting: if self.stop.max_new > 0 { (0..prompts.len()).collect() } else { VecDeque::new() },
                free: (0..places).rev().map(|place| place * room).collect(),
                shared: (places * room, shared),
            };
            if shared > 0 {
                let prompt = prompts[0].len() as i64;
                let span = Span { row: 0, past: 0, past_row: places * room, len: shared, prompt };
                self.predict(&Layout::of([span]), &[&prompts[0][..shared as usize]], &mut cache)?;
            }
            let (mut rows, mut done) = (Vec::new(), vec![Vec::new(); prompts.len()]);
            while !(rows.is_empty() && queue.waiting.is_empty()) {
                queue.admit(&mut rows, &mut cache);
                let layout = Layout::of(rows.iter().map(|row| row.span(&queue)));
                let tokens: Vec<&[i64]> = rows.iter().map(|row| row.tokens(&queue)).collect();
                let next = self.predict(&layout, &tokens, &mut cache)?;
                rows.iter_mut().zip(next).for_each(|(row, token)| row.generated.push(token));
                for row in rows.extract_if(.., |row| self.ended(row, decided)) {
                    queue.free.push(row.place);
                    done[row.prompt] = row.generated;
                }
            }
            Ok(done)
        })
    }

    /// Tokens at the beginning of all prompts that are the same and edited the same: they need to be run only once.
    fn shared(&self, prompts: &[&[i64]]) -> i64 {
        let [first, others @ ..] = prompts else { return 0 };
        let common = |ids: &&[i64]| ids.iter().zip(*first).take_while(|(a, b)| a == b).count();
        // The last token of a prompt is always run: the first new one follows from it.
        let shortest = prompts.iter().map(|ids| ids.len()).min().unwrap_or(0);
        let shared = others.iter().map(common).min().unwrap_or(0).min(shortest.saturating_sub(1));
        if shared < SHARED {
            return 0;
        }
        let edits = |ids: &&[i64]| {
            let span = Span { row: 0, past: 0, past_row: 0, len: shared as i64, prompt: ids.len() as i64 };
            self.adaptation.map(|step| step.edits(&Layout::of([span])))
        };
        let expected = edits(first);
        if others.iter().all(|ids| edits(ids) == expected) { shared as i64 } else { 0 }
    }

    /// One pass over tokens that the cache does not hold yet; the most likely next token of each sequence.
    fn predict(&self, layout: &Layout, tokens: &[&[i64]], cache: &mut KvCache) -> Result<Vec<i64>, OverlapError> {
        let ids = layout.place(tokens, self.model.options().1);
        let hooks: Box<dyn Hooks> = match self.adaptation {
            Some(step) => step.hooks(layout)?,
            None => Box::new(Frozen),
        };
        let last = Tensor::from_slice(&layout.last_rows()).to_device(ids.device());
        let mut pass = Pass { layout, hooks: hooks.as_ref(), cache: Cache::Grow(cache), wanted: Some(&last) };
        let h = self.model.hidden(&ids, &mut pass);
        let best = self.model.logits(&h.index_select(0, &last)).argmax(-1, false).to_kind(Kind::Int64);
        Ok(Vec::<i64>::try_from(best).expect("one id for each sequence"))
    }

    fn ended(&self, row: &Row, decided: Decided<'_>) -> bool {
        let stopped = row.generated.len() >= self.stop.max_new || row.generated.last() == self.stop.eos.as_ref();
        stopped || decided(row.prompt, &row.generated)
    }
}

/// Prompts that have not begun, and the places of the cache that are free.
struct Queue<'a> {
    prompts: &'a [&'a [i64]],
    waiting: VecDeque<usize>,
    free: Vec<i64>,
    /// Row of the cache where the shared beginning lies, and its tokens.
    shared: (i64, i64),
}

impl Queue<'_> {
    /// Starts waiting prompts in free places.
    fn admit(&mut self, rows: &mut Vec<Row>, cache: &mut KvCache) {
        let mut tokens = 0;
        while let (Some(&prompt), Some(&place)) = (self.waiting.front(), self.free.last()) {
            tokens += self.prompts[prompt].len() as i64;
            if tokens > PREFILL && tokens > self.prompts[prompt].len() as i64 {
                break;
            }
            self.waiting.pop_front();
            self.free.pop();
            let (from, len) = self.shared;
            if len > 0 {
                cache.copy(from, place, len);
            }
            rows.push(Row { prompt, place, generated: Vec::new() });
        }
    }
}

impl Row {
    /// The tokens that the cache does not hold yet.
    fn tokens<'t>(&'t self, queue: &Queue<'t>) -> &'t [i64] {
        match self.generated.as_slice() {
            [] => &queue.prompts[self.prompt][queue.shared.1 as usize..],
            [.., last] => std::slice::from_ref(last),
        }
    }

    fn span(&self, queue: &Queue<'_>) -> Span {
        let (prompt, generated) = (queue.prompts[self.prompt].len() as i64, self.generated.len() as i64);
        let shared = queue.shared.1;
        let (past, len) = if generated == 0 { (shared, prompt - shared) } else { (prompt + generated - 1, 1) };
        Span { row: 0, past, past_row: self.place, len, prompt }
    }
}
