//! The part of forward passes that training cannot change, computed once: what fills the activation cache.
//!
//! The base model is frozen, so two parts of an example's forward pass are the same in every epoch:
//!
//! - the output of all blocks below the first intervention ([`Frontier`]), and
//! - in a causal model, the keys and values of every token left of the first edited position.
//!
//! An example is therefore split at its first edited token: what lies to the left is [cached](ActivationCache), and a training pass runs
//! the tokens from there on, through the blocks from the frontier on, attending to the keys and values that were kept.
//! Losses and gradients are those of the whole pass (tested in f32). Without anything to keep, the split is at token 0
//! and block 0, and the same code is the plain pass.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use reft_core::adaptation::{Adaptation, Frontier};
use reft_core::hooks::{Hooks, NoHooks};
use reft_core::layout::{Extent, Layout, Span};
use reft_core::site::{Component, LayerId, Site};
use reft_models::attention::PastKeyValues;
use reft_models::kv_cache::KvCache;
use reft_models::model::{Decoder, Pass};
use sha2::{Digest, Sha256};
use tch::{Tensor, no_grad};

use super::activation_cache::{ActivationCache, CacheBudget, CachedExample};
use super::activation_caches::{ActivationCacheKey, ActivationCaches};
use super::batches;
use super::objective::Objective;
use super::objectives::ObjectiveSpec;
use crate::data::encode::Example;

/// Splits examples into the part that cannot change and the part that is trained, and remembers the former.
pub struct FrozenForward<'a> {
    model: &'a dyn Decoder,
    frontier: Frontier,
    /// First edited token, by prompt length.
    first_edited: Vec<i64>,
    /// Says which states are asked for.
    objective: Arc<dyn Objective>,
    budget: CacheBudget,
    kept: Rc<ActivationCache>,
}

/// The tokens of a pass, from each example's first edited one on, ready for the blocks from the frontier on.
pub struct SplitPass {
    /// Which row is which token.
    pub layout: Layout,
    /// Token ids `[N]`.
    ids: Tensor,
    h: Tensor,
    past: Option<KvCache>,
    frontier: Frontier,
}

impl<'a> FrozenForward<'a> {
    /// Takes nothing for granted: every pass is the whole pass.
    pub fn off(model: &'a dyn Decoder) -> Self {
        Self::with(model, Frontier::NONE, Vec::new(), CacheBudget { memory: 0, disk: 0 })
    }

    /// Splits where the influence of an adaptation of this kind begins, and keeps what the budget allows. `longest` is
    /// the length of the longest prompt.
    pub fn new(model: &'a dyn Decoder, adaptation: &dyn Adaptation, longest: usize, budget: CacheBudget) -> Self {
        // Asked for at once, so that the adaptation is free to be trained meanwhile.
        let first_edited = (0..=longest as i64).map(|prompt| adaptation.first_edited(prompt).unwrap_or(0)).collect();
        Self::with(model, adaptation.frontier(), first_edited, budget)
    }

    fn with(model: &'a dyn Decoder, frontier: Frontier, first_edited: Vec<i64>, budget: CacheBudget) -> Self {
        let objective = Arc::clone(ObjectiveSpec::default().objective());
        Self { model, frontier, first_edited, objective, budget, kept: Rc::new(ActivationCache::new(budget)) }
    }

    /// The same, but no state that this objective asks for is among what is left out of a pass.
    #[must_use]
    pub fn asked_by(self, objective: &Arc<dyn Objective>) -> Self {
        Self { objective: Arc::clone(objective), ..self }
    }

    /// What the budget has left beside what is kept.
    pub fn room(&self) -> CacheBudget {
        let CacheBudget { memory, disk } = self.budget;
        CacheBudget { memory: memory.saturating_sub(self.kept.memory()), disk: disk.saturating_sub(self.kept.disk()) }
    }

    /// Tokens of an example that no parameter reaches, up to the first whose state is asked for.
    fn left(&self, example: &Example) -> i64 {
        // Beyond this length keys would depend on how much of the example a pass holds.
        if self.model.length_limit().is_some_and(|limit| example.ids.len() as i64 > limit.tokens) {
            return 0;
        }
        let first = self.first_edited.get(example.prompt).copied().unwrap_or(0);
        let asked = self.objective.asked(example).start.min(example.ids.len() - 1);
        first.min(asked as i64)
    }

    /// Tokens of an example that a pass computes gradients for.
    pub fn trained(&self, example: &Example) -> usize {
        example.ids.len() - self.left(example) as usize
    }

    /// Whether keeping anything pays: a tenth of the blocks, or the tokens left of the edits.
    fn pays(&self) -> bool {
        self.frontier.blocks * 10 >= self.model.dims().layers || self.first_edited.iter().any(|&first| first > 0)
    }

    /// Bytes that keeping all of these would take.
    fn size(&self, examples: &[&Example]) -> usize {
        let dims = self.model.dims();
        let of = |example: &&Example| {
            let beyond = dims.layers - self.frontier.blocks;
            let left = self.left(example) as usize * beyond * 2 * (dims.kv_heads * dims.head_width) as usize;
            left + self.trained(example) * dims.width as usize
        };
        let numbers: usize = examples.iter().map(of).sum();
        numbers * self.model.options().0.elt_size_in_bytes()
    }

    fn key(&self, examples: &[&Example], tokens: usize) -> ActivationCacheKey {
        let mut hash = Sha256::new();
        for example in examples {
            hash.update(example.digest().0);
            hash.update(self.left(example).to_le_bytes());
        }
        let (frontier, first_edited) = (self.frontier, self.first_edited.clone());
        ActivationCacheKey { frontier, first_edited, tokens, budget: self.budget, examples: hash.finalize().into() }
    }

    /// Makes room in the LRU cache for all of these, within the budget, and gives the bytes of memory that they will take anew.
    pub fn reserve(&self, examples: &[&Example], tokens: usize, caches: &ActivationCaches) -> usize {
        if !self.pays() || caches.find(&self.key(examples, tokens)).is_some() {
            return 0;
        }
        let size = self.size(examples);
        caches.make_room(self.budget, size);
        size.min(self.budget.memory)
    }

    /// Takes what is kept of these examples from the LRU cache, or computes it and puts it there, as far as the budget goes
    /// and if it pays; says what is held. In the order of length, whatever order training has: a resumed run then holds
    /// the very same numbers.
    pub fn fill(&mut self, examples: &[&Example], tokens: usize, caches: &ActivationCaches) -> Option<String> {
        if !self.pays() {
            return None;
        }
        let key = self.key(examples, tokens);
        let found = caches.find(&key);
        let whence = if found.is_some() { "as an earlier run left it" } else { "computed now" };
        self.kept = found.unwrap_or_else(|| {
            caches.make_room(self.budget, self.size(examples));
            let kept = Rc::new(self.compute_all(examples, tokens));
            caches.put(key, Rc::clone(&kept));
            kept
        });
        Some(format!(
            "frozen cache, {whence}: blocks 0 to {} of {} and the tokens left of the edits; {}",
            self.frontier.blocks,
            self.model.dims().layers,
            self.kept.describe()
        ))
    }

    fn compute_all(&self, examples: &[&Example], tokens: usize) -> ActivationCache {
        let mut kept = ActivationCache::new(self.budget);
        let mut order = examples.to_vec();
        order.sort_by_key(|example| example.ids.len());
        let lengths: Vec<usize> = order.iter().map(|example| example.ids.len()).collect();
        for part in batches::micro(&lengths, tokens) {
            let bases = no_grad(|| self.compute(&order[part.clone()]));
            if order[part].iter().zip(bases).any(|(example, base)| !kept.put(example, base)) {
                break;
            }
        }
        kept
    }

    /// The pass over these examples.
    pub fn split(&self, examples: &[&Example]) -> SplitPass {
        let mut bases: Vec<Option<Rc<CachedExample>>> = examples.iter().map(|example| self.kept.get(example)).collect();
        let missing: Vec<usize> = (0..examples.len()).filter(|&index| bases[index].is_none()).collect();
        if !missing.is_empty() {
            let absent: Vec<&Example> = missing.iter().map(|&index| examples[index]).collect();
            for (index, base) in missing.into_iter().zip(no_grad(|| self.compute(&absent))) {
                bases[index] = Some(Rc::new(base));
            }
        }
        self.assemble(examples, &bases.into_iter().flatten().collect::<Vec<_>>())
    }

    /// The base model's pass over these examples: up to the frontier for all tokens, beyond it for those on the left.
    fn compute(&self, examples: &[&Example]) -> Vec<CachedExample> {
        let (kind, device) = self.model.options();
        let extent = |example: &&Example| Extent { len: example.ids.len() as i64, prompt: example.prompt as i64 };
        let layout = Layout::packed(&examples.iter().map(extent).collect::<Vec<_>>());
        let ids: Vec<&[i64]> = examples.iter().map(|example| example.ids.as_slice()).collect();
        let mut pass = Pass { layout: &layout, hooks: &NoHooks, cache: PastKeyValues::None, wanted: None };
        let begin = self.model.embed(&layout.place(&ids, device), &pass);
        let h = self.model.layers(begin, 0..self.frontier.blocks, &mut pass);
        let left = Layout::of(examples.iter().zip(layout.spans()).scan(0, |past_row, (example, span)| {
            let span = Span { len: self.left(example), past_row: *past_row, ..*span };
            *past_row += span.len;
            Some(span)
        }));
        let end = self.model.dims().layers;
        let past = (left.rows() > 0 && self.frontier.blocks < end).then(|| {
            let rows = layout.spans().iter().zip(left.spans()).flat_map(|(span, left)| span.row..span.row + left.len);
            let rows = Tensor::from_slice(&rows.collect::<Vec<_>>()).to_device(device);
            let mut cache = KvCache::new(self.model.dims(), LayerId(self.frontier.blocks), left.rows(), (kind, device));
            // Keys and values are all that is asked for: of the last block's output a single row will do.
            let wanted = Tensor::from_slice(&[0i64]).to_device(device);
            let mut pass =
                Pass { layout: &left, hooks: &NoHooks, cache: PastKeyValues::Grow(&mut cache), wanted: Some(&wanted) };
            let _ = self.model.layers(h.index_select(0, &rows), self.frontier.blocks..end, &mut pass);
            cache
        });
        let base = |(span, left): (&Span, &Span)| CachedExample {
            h: h.narrow(0, span.row + left.len, span.len - left.len).copy(),
            past: past.as_ref().filter(|_| left.len > 0).map(|past| past.part(left.row, left.len)),
        };
        layout.spans().iter().zip(left.spans()).map(base).collect()
    }

    fn assemble(&self, examples: &[&Example], bases: &[Rc<CachedExample>]) -> SplitPass {
        let layout = Layout::of(examples.iter().scan(0, |past_row, example| {
            let past = self.left(example);
            let (len, prompt) = (example.ids.len() as i64 - past, example.prompt as i64);
            let span = Span { row: 0, past, past_row: *past_row, len, prompt, adaptation: 0 };
            *past_row += past;
            Some(span)
        }));
        let of = |part: fn(&(Tensor, Tensor)) -> &Tensor| {
            let parts: Vec<&Tensor> = bases.iter().filter_map(|base| base.past.as_ref()).map(part).collect();
            (!parts.is_empty()).then(|| Tensor::cat(&parts, 1))
        };
        let first = LayerId(self.frontier.blocks);
        let past = of(|past| &past.0).zip(of(|past| &past.1));
        let ids: Vec<&[i64]> = examples.iter().map(|example| &example.ids[self.left(example) as usize..]).collect();
        SplitPass {
            ids: layout.place(&ids, self.model.options().1),
            h: Tensor::cat(&bases.iter().map(|base| &base.h).collect::<Vec<_>>(), 0),
            past: past.map(|(keys, values)| KvCache::from_parts(first, &keys, &values)),
            layout,
            frontier: self.frontier,
        }
    }
}

impl SplitPass {
    /// The same for a model whose own weights are trained, the embedding perhaps among them: nothing of it is kept.
    #[must_use]
    pub fn embedded_by(self, model: &dyn Decoder) -> Self {
        assert!(self.frontier.blocks == 0 && self.past.is_none(), "own weights act from the embedding on");
        let pass = Pass { layout: &self.layout, hooks: &NoHooks, cache: PastKeyValues::None, wanted: None };
        Self { h: model.embed(&self.ids, &pass), ..self }
    }

    /// The same, but each sequence is edited by one set of interventions alone ([`Layout::with_parts`]).
    #[must_use]
    pub fn with_parts(self, parts: &[usize]) -> Self {
        Self { layout: self.layout.with_parts(parts), ..self }
    }

    /// The blocks that a pass runs through.
    pub fn range(&self, model: &dyn Decoder) -> Range<usize> {
        self.frontier.blocks..model.dims().layers
    }

    /// Input of the first of them, after the visit that comes first, `[N, D]`.
    pub fn enter(&self, hooks: &dyn Hooks) -> Tensor {
        let h = self.h.shallow_clone();
        match self.frontier.site() {
            Some(site) => hooks.visit(site, &self.h, h),
            None if self.frontier.blocks == 0 => {
                hooks.visit(Site { layer: LayerId(0), component: Component::Embedding }, &self.ids, h)
            }
            None => h,
        }
    }

    /// All of them, from the first one's input on; the output `[N, D]` is right in the rows `wanted`.
    pub fn all_blocks(&self, model: &dyn Decoder, hooks: &dyn Hooks, wanted: &Tensor) -> Tensor {
        self.blocks(model, self.enter(hooks), self.range(model), hooks, wanted)
    }

    /// Some of them; the last one's output is right in the rows `wanted`.
    pub fn blocks(
        &self,
        model: &dyn Decoder,
        h: Tensor,
        range: Range<usize>,
        hooks: &dyn Hooks,
        wanted: &Tensor,
    ) -> Tensor {
        let cache = self.past.as_ref().map_or(PastKeyValues::None, PastKeyValues::Fixed);
        let mut pass = Pass { layout: &self.layout, hooks, cache, wanted: Some(wanted) };
        model.layers(h, range, &mut pass)
    }
}
