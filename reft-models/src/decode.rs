//! Greedy generation for many prompts: one prefill each, then one token per sequence and pass.
//!
//! Batches are *continuous*: as soon as a sequence is done the next prompt takes its place, so a pass holds the next
//! token of every running sequence and the whole prompts of those that just began. Each continues at its own position;
//! nothing is padded.

use std::collections::VecDeque;

use reft_core::adaptation::{OverlapError, Step};
use reft_core::hooks::{Frozen, Hooks};
use reft_core::layout::{Layout, Span};
use reft_core::site::LayerId;
use tch::{Kind, Tensor, no_grad};

use crate::attention::Cache;
use crate::kv_cache::KvCache;
use crate::model::{Decoder, Pass};

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
            let mut cache = KvCache::new(self.model.dims(), LayerId(0), places * room, self.model.options());
            let mut free: Vec<i64> = (0..places).rev().map(|place| place * room).collect();
            let mut waiting: VecDeque<usize> =
                if self.stop.max_new > 0 { (0..prompts.len()).collect() } else { [].into() };
            let (mut rows, mut done) = (Vec::new(), vec![Vec::new(); prompts.len()]);
            while !(rows.is_empty() && waiting.is_empty()) {
                admit(prompts, &mut waiting, &mut free, &mut rows);
                self.pass(prompts, &mut rows, &mut cache)?;
                for row in rows.extract_if(.., |row| self.ended(row, decided)) {
                    free.push(row.place);
                    done[row.prompt] = row.generated;
                }
            }
            Ok(done)
        })
    }

    /// One pass over what the cache does not hold yet; appends the most likely next token of each sequence.
    fn pass(&self, prompts: &[&[i64]], rows: &mut [Row], cache: &mut KvCache) -> Result<(), OverlapError> {
        let layout = Layout::of(rows.iter().map(|row| row.span(prompts)));
        let tokens: Vec<&[i64]> = rows.iter().map(|row| row.tokens(prompts)).collect();
        let ids = layout.place(&tokens, self.model.options().1);
        let hooks: Box<dyn Hooks> = match self.adaptation {
            Some(step) => step.hooks(&layout)?,
            None => Box::new(Frozen),
        };
        let last = Tensor::from_slice(&layout.last_rows()).to_device(ids.device());
        let mut pass = Pass { layout: &layout, hooks: hooks.as_ref(), cache: Cache::Grow(cache), wanted: Some(&last) };
        let h = self.model.hidden(&ids, &mut pass);
        let best = self.model.logits(&h.index_select(0, &last)).argmax(-1, false).to_kind(Kind::Int64);
        let best = Vec::<i64>::try_from(best).expect("one id for each sequence");
        rows.iter_mut().zip(best).for_each(|(row, token)| row.generated.push(token));
        Ok(())
    }

    fn ended(&self, row: &Row, decided: Decided<'_>) -> bool {
        let stopped = row.generated.len() >= self.stop.max_new || row.generated.last() == self.stop.eos.as_ref();
        stopped || decided(row.prompt, &row.generated)
    }
}

/// Starts waiting prompts in free places of the cache.
fn admit(prompts: &[&[i64]], waiting: &mut VecDeque<usize>, free: &mut Vec<i64>, rows: &mut Vec<Row>) {
    let mut tokens = 0;
    while let (Some(&prompt), Some(&place)) = (waiting.front(), free.last()) {
        tokens += prompts[prompt].len() as i64;
        if tokens > PREFILL && tokens > prompts[prompt].len() as i64 {
            break;
        }
        waiting.pop_front();
        free.pop();
        rows.push(Row { prompt, place, generated: Vec::new() });
    }
}

impl Row {
    /// The tokens that the cache does not hold yet.
    fn tokens<'t>(&'t self, prompts: &[&'t [i64]]) -> &'t [i64] {
        match self.generated.as_slice() {
            [] => prompts[self.prompt],
            [.., last] => std::slice::from_ref(last),
        }
    }

    fn span(&self, prompts: &[&[i64]]) -> Span {
        let (prompt, generated) = (prompts[self.prompt].len() as i64, self.generated.len() as i64);
        let (past, len) = if generated == 0 { (0, prompt) } else { (prompt + generated - 1, 1) };
        Span { row: 0, past, past_row: self.place, len, prompt }
    }
}
