//! Generation for many prompts: one prefill each, then one token per lane and pass.
//!
//! Batches are *continuous*: as soon as a prompt is done the next takes its place, so a pass holds the next token of
//! every running continuation and the whole prompts of those that just began. Each continues at its own position;
//! nothing is padded. What all prompts begin with (a task's instruction, say) is computed once and copied.

mod beams;
mod candidate;
mod greedy;
pub mod processors;
mod prompt_lookup;
mod queue;
mod search;
pub mod settings;
pub mod stop;

use rayon::prelude::*;
use reft_core::adaptation::{OverlapError, Step};
use reft_core::hooks::{Hooks, NoHooks};
use reft_core::layout::{Layout, Span};
use reft_core::site::LayerId;
use tch::{Kind, Tensor, no_grad};

use self::candidate::{Candidate, SearchStep};
use self::greedy::{best_of_rows, finite_rows};
use self::processors::{LogitsProcessor, processors};
use self::prompt_lookup::PromptLookup;
use self::queue::{LaneTokens, Queue, RunningPrompt};
use self::search::{confirmed, ended};
pub use self::settings::Decoding;
use crate::attention::PastKeyValues;
use crate::kv_cache::{KvCache, RowMove};
use crate::model::{Decoder, Pass};

/// Tokens that all prompts must have in common before computing them once pays.
const SHARED: usize = 4;

/// When to stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stopping {
    /// Tokens to generate at most, the end token included.
    pub max_new: usize,
    /// Tokens that end a generation; none to go on to the last.
    pub ends: Vec<i64>,
}

/// What a prompt was continued with.
#[derive(Clone, PartialEq, Debug)]
pub struct Generation {
    /// The new tokens, the end token included.
    pub ids: Vec<i64>,
    /// With several beams: the log-probability after the length penalty.
    pub score: Option<f32>,
}

/// Prompts that cannot be continued.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Interventions overlap (Def. 3.2).
    #[error(transparent)]
    Overlap(#[from] OverlapError),
    /// A prompt without tokens: nothing follows from nothing.
    #[error("the prompt is empty: give at least one character")]
    Empty {
        /// Its number among the prompts, from 0.
        prompt: usize,
    },
    /// The model computes NaN or infinity, from which no token follows.
    #[error(
        "the model's logits are not finite at token {} of the answer: the weights of the model or of its adapter hold NaN \
         or very large values, or their type is too narrow (f16 ends at 65504)",
        token + 1
    )]
    NotFinite {
        /// The prompt's number among the prompts, from 0.
        prompt: usize,
        /// Tokens of the answer before.
        token: usize,
    },
}

impl DecodeError {
    /// The number of the prompt, from 0, where it is one prompt's fault.
    pub fn prompt(&self) -> Option<usize> {
        match self {
            Self::Overlap(_) => None,
            Self::Empty { prompt } | Self::NotFinite { prompt, .. } => Some(*prompt),
        }
    }
}

/// Says whether the continuation of prompt `index` needs no more tokens than those generated. Asked after each, and of
/// every beam that could go on.
pub type StoppingCriterion<'a> = &'a dyn Fn(usize, &[i64]) -> bool;

/// Never before the stopping rule: full decoding.
pub fn undecided(_: usize, _: &[i64]) -> bool {
    false
}

/// A model, with or without an adaptation, that continues prompts. Edits follow the positions of the adaptation, so
/// those on the prompt are part of the cache and cost nothing afterwards, while those on generated tokens
/// (`all`, `gen`, `gen[:n]`) happen as the tokens come.
#[derive(Clone)]
pub struct Generator<'a> {
    /// The model.
    pub model: &'a dyn Decoder,
    /// The adaptation, constraints met.
    pub adaptation: Option<&'a dyn Step>,
    /// Lanes that run together at most; one prompt always does, however many beams it has.
    pub batch: usize,
    /// When to stop.
    pub stop: Stopping,
    /// How tokens are chosen.
    pub decoding: &'a Decoding,
    /// Decides what is drawn by chance.
    pub seed: u64,
}

/// What a run of the generator knows besides the prompts that are running.
struct GeneratorState<'a> {
    queue: Queue<'a>,
    guesses: PromptLookup,
    done: Vec<Generation>,
}

impl Generator<'_> {
    /// Continues every prompt. Prompts begin in the order given: the longest first keeps the last passes full.
    ///
    /// # Errors
    /// When interventions overlap (Def. 3.2), a prompt is empty, or logits are NaN or infinite.
    pub fn run(&self, prompts: &[&[i64]], decided: StoppingCriterion<'_>) -> Result<Vec<Generation>, DecodeError> {
        if let Some(prompt) = prompts.iter().position(|ids| ids.is_empty()) {
            return Err(DecodeError::Empty { prompt });
        }
        match self.adaptation.and_then(Step::weights) {
            None => self.run_on_model(prompts, decided),
            Some(weights) => {
                let own = no_grad(|| self.model.on(weights)).expect("weights that it lent");
                Generator { model: own.as_ref(), ..self.clone() }.run_on_model(prompts, decided)
            }
        }
    }

    /// The same with the model's weights as they are.
    fn run_on_model(&self, prompts: &[&[i64]], decided: StoppingCriterion<'_>) -> Result<Vec<Generation>, DecodeError> {
        no_grad(|| {
            let rules = processors(self.decoding, &self.stop.ends);
            let most = if self.decoding.is_plain() { self.decoding.lookahead } else { 0 };
            let mut state = GeneratorState {
                queue: Queue::new(self, prompts, self.shared(prompts)),
                guesses: PromptLookup::new(most, prompts.len()),
                done: vec![Generation { ids: Vec::new(), score: None }; prompts.len()],
            };
            let dims = self.model.dims();
            let windows: Vec<_> = (0..dims.layers).map(|layer| self.model.window(LayerId(layer))).collect();
            let mut cache = KvCache::bounded(dims, &windows, state.queue.cache(most as i64), self.model.options());
            if let Some(beginning) = state.queue.beginning() {
                let _ = self.pass(&[beginning], &mut cache)?;
            }
            let mut running: Vec<RunningPrompt> = Vec::new();
            while !(running.is_empty() && state.queue.is_empty()) {
                state.queue.admit(self, &mut running, &mut cache);
                for one in &mut running {
                    let said = one.search.lanes()[0].len();
                    let room = (self.stop.max_new - said - 1).min(state.queue.fixed(one.prompt, said));
                    one.guess = state.guesses.of(one.prompt, room).to_vec();
                }
                let fed: Vec<Vec<LaneTokens>> = running.iter().map(|one| state.queue.feed(one)).collect();
                let lanes: Vec<usize> = fed.iter().map(Vec::len).collect();
                let logits = self.pass(&fed.into_iter().flatten().collect::<Vec<_>>(), &mut cache)?;
                let proposed = self.propose(&mut running, &state.queue, &lanes, &logits, &rules)?;
                let moves = self.accept(&mut running, proposed, &mut state, decided);
                cache.copy(&moves);
            }
            Ok(state.done)
        })
    }

    /// Every running prompt takes its tokens; those that are complete leave. Rows of the cache to be copied.
    fn accept(
        &self,
        running: &mut Vec<RunningPrompt>,
        proposed: Vec<Vec<Candidate>>,
        state: &mut GeneratorState<'_>,
        decided: StoppingCriterion<'_>,
    ) -> Vec<RowMove> {
        let mut moves = Vec::new();
        for (mut one, proposed) in std::mem::take(running).into_iter().zip(proposed) {
            match one.search.accept(&proposed, self, &ended(self, one.prompt, decided)) {
                SearchStep::Lanes(lanes) => {
                    state.guesses.learn(one.prompt, one.search.lanes()[0], one.guess.len());
                    moves.extend(state.queue.follow(&mut one, &lanes));
                    running.push(one);
                }
                SearchStep::Done(answer) => {
                    state.guesses.learn(one.prompt, &answer.ids, one.guess.len());
                    state.queue.release(&one);
                    state.done[one.prompt] = answer;
                }
            }
        }
        moves
    }

    /// Each running prompt's next tokens from the logits `[R, V]` of a pass.
    fn propose(
        &self,
        running: &mut [RunningPrompt],
        queue: &Queue<'_>,
        lanes: &[usize],
        logits: &Tensor,
        rules: &[Box<dyn LogitsProcessor>],
    ) -> Result<Vec<Vec<Candidate>>, DecodeError> {
        if self.decoding.is_plain() {
            return most_likely(running, logits);
        }
        // Every row asked for belongs to a lane here: guesses are made in plain decoding only.
        let finite = finite_rows(logits);
        let mut rest = finite.as_slice();
        for (one, &lanes) in running.iter().zip(lanes) {
            let (of_one, others) = rest.split_at(lanes);
            rest = others;
            if !of_one.iter().all(|&finite| finite) {
                return Err(one.not_finite(0));
            }
        }
        let logits = logits.to_kind(Kind::Float);
        // The rules of a beam search see log-probabilities, because beams are compared by their sums.
        let scores = if self.decoding.beams > 1 { logits.log_softmax(-1, Kind::Float) } else { logits };
        let width = scores.size()[1] as usize;
        let mut scores = Vec::<f32>::try_from(scores.flatten(0, -1)).expect("f32 scores");
        let mut rest = scores.as_mut_slice();
        let mut jobs = Vec::with_capacity(running.len());
        for (one, lanes) in running.iter_mut().zip(lanes) {
            let (rows, others) = rest.split_at_mut(lanes * width);
            rest = others;
            jobs.push((queue.prompt(one), one, rows));
        }
        let propose =
            |(prompt, one, rows): (&[i64], &mut RunningPrompt, &mut [f32])| one.search.propose(prompt, rows, rules);
        Ok(jobs.into_par_iter().map(propose).collect())
    }

    /// Tokens at the beginning of all prompts that are the same and edited the same: they need to be run only once.
    fn shared(&self, prompts: &[&[i64]]) -> i64 {
        let [first, others @ ..] = prompts else { return 0 };
        let common = |ids: &&[i64]| ids.iter().zip(*first).take_while(|(a, b)| a == b).count();
        // The last token of a prompt is always run: the first new one follows from it.
        let (shortest, longest) = lengths(prompts);
        if self.model.length_limit().is_some_and(|limit| longest as i64 > limit.tokens) {
            return 0;
        }
        let shared = others.iter().map(common).min().unwrap_or(0).min(shortest.saturating_sub(1));
        if shared < SHARED {
            return 0;
        }
        let edits = |ids: &&[i64]| {
            let span =
                Span { row: 0, past: 0, past_row: 0, len: shared as i64, prompt: ids.len() as i64, adaptation: 0 };
            self.adaptation.map(|step| step.edits(&Layout::of([span])))
        };
        let expected = edits(first);
        if others.iter().all(|ids| edits(ids) == expected) { shared as i64 } else { 0 }
    }

    /// One pass over tokens that the cache does not hold yet; logits `[R, V]` of what follows the rows asked for.
    fn pass(&self, fed: &[LaneTokens], cache: &mut KvCache) -> Result<Tensor, OverlapError> {
        let layout = Layout::of(fed.iter().map(|lane| lane.span));
        let tokens: Vec<&[i64]> = fed.iter().map(|lane| lane.ids.as_slice()).collect();
        let ids = layout.place(&tokens, self.model.options().1);
        let hooks: Box<dyn Hooks> = match self.adaptation {
            Some(step) => step.hooks(&layout)?,
            None => Box::new(NoHooks),
        };
        let last = layout.last_rows().into_iter().zip(fed);
        let asked: Vec<i64> = last.flat_map(|(last, lane)| last + 1 - lane.asked as i64..=last).collect();
        let asked = Tensor::from_slice(&asked).to_device(ids.device());
        let mut pass =
            Pass { layout: &layout, hooks: hooks.as_ref(), cache: PastKeyValues::Grow(cache), wanted: Some(&asked) };
        let h = self.model.hidden(&ids, &mut pass);
        Ok(self.model.logits(&h.index_select(0, &asked)))
    }
}

/// Of the shortest prompt and of the longest.
fn lengths(prompts: &[&[i64]]) -> (usize, usize) {
    let lengths = || prompts.iter().map(|ids| ids.len());
    (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0))
}

/// The most likely next token of every lane, and those after each token of its guess as far as they agree.
fn most_likely(running: &mut [RunningPrompt], logits: &Tensor) -> Result<Vec<Vec<Candidate>>, DecodeError> {
    let (best, finite) = best_of_rows(logits);
    let mut row = 0;
    let mut proposed = Vec::with_capacity(running.len());
    for one in running {
        let rows = row..row + 1 + one.guess.len();
        row = rows.end;
        let confirmed = confirmed(&best[rows.clone()], &one.guess);
        // What follows a token that is not said does not matter.
        if let Some(token) = finite[rows][..confirmed.len()].iter().position(|&finite| !finite) {
            return Err(one.not_finite(token));
        }
        proposed.push(confirmed);
    }
    Ok(proposed)
}
