//! The base model's states in the rows that an objective asks for: what a preference loss or a distillation compares with.
//!
//! No update changes them, so they are computed once: `[M, D]` for each sequence, of which logits are made when they are needed.

use std::rc::Rc;

use reft_core::hooks::NoHooks;
use reft_core::layout::{Extent, Layout};
use reft_models::attention::PastKeyValues;
use reft_models::model::{Decoder, Pass};
use tch::{Tensor, no_grad};

use super::activation_cache::{ActivationCache, CacheBudget, CachedExample};
use super::batches;
use super::objective::Objective;
use super::outputs::{AskedRows, Outputs};
use crate::data::encode::Example;

/// The base model, and what it said already.
pub struct BaseStates<'a> {
    model: &'a dyn Decoder,
    kept: ActivationCache,
}

impl<'a> BaseStates<'a> {
    /// Nothing is kept yet.
    pub fn new(model: &'a dyn Decoder) -> Self {
        Self { model, kept: ActivationCache::new(CacheBudget { memory: 0, disk: 0 }) }
    }

    /// Bytes that keeping the states of these sequences takes.
    pub fn size(model: &dyn Decoder, objective: &dyn Objective, sequences: &[&Example]) -> usize {
        let rows: usize = sequences.iter().map(|sequence| objective.asked(sequence).len()).sum();
        rows * model.dims().width as usize * model.options().0.elt_size_in_bytes()
    }

    /// Computes and keeps the states of these sequences, as far as the budget goes. In the order of length, whatever order
    /// training has: a resumed run then holds the very same numbers.
    pub fn fill(&mut self, objective: &dyn Objective, sequences: &[&Example], tokens: usize, budget: CacheBudget) {
        self.kept = ActivationCache::new(budget);
        let mut order = sequences.to_vec();
        order.sort_by_key(|sequence| sequence.ids.len());
        let lengths: Vec<usize> = order.iter().map(|sequence| sequence.ids.len()).collect();
        for part in batches::micro(&lengths, tokens) {
            let part = &order[part];
            let states = self.compute(objective, part);
            let bases = states.into_iter().map(|h| CachedExample { h, past: None });
            if part.iter().zip(bases).any(|(sequence, base)| !self.kept.put(sequence, base)) {
                break;
            }
        }
    }

    /// Outputs of the base model for some training rows, each with its sequences.
    pub fn outputs(&self, objective: &dyn Objective, of: &[&[Example]]) -> Outputs<'a> {
        let sequences: Vec<&Example> = of.iter().copied().flatten().collect();
        let (asked, _) = self.lay_out(objective, of);
        let kept: Vec<Option<Rc<CachedExample>>> = sequences.iter().map(|sequence| self.kept.get(sequence)).collect();
        let missing: Vec<&Example> =
            sequences.iter().zip(&kept).filter(|(_, kept)| kept.is_none()).map(|(sequence, _)| *sequence).collect();
        let mut computed = self.compute(objective, &missing).into_iter();
        let states = kept.iter().map(|kept| match kept {
            Some(base) => base.h.shallow_clone(),
            None => computed.next().expect("one for each that is missing"),
        });
        let states: Vec<Tensor> = states.collect();
        let (kind, device) = self.model.options();
        let states = match states.as_slice() {
            [] => Tensor::zeros([0, self.model.dims().width], (kind, device)),
            states => Tensor::cat(states, 0),
        };
        asked.with_states(self.model, states)
    }

    /// The rows asked for of whole sequences in one pass, and the pass's layout.
    fn lay_out(&self, objective: &dyn Objective, of: &[&[Example]]) -> (AskedRows, Layout) {
        let extent = |example: &Example| Extent { len: example.ids.len() as i64, prompt: example.prompt as i64 };
        let layout = Layout::packed(&of.iter().copied().flatten().map(extent).collect::<Vec<_>>());
        (AskedRows::new(|example| objective.asked(example), of, &layout, self.model.options().1), layout)
    }

    /// States `[m, D]` of each of these sequences, in one pass.
    fn compute(&self, objective: &dyn Objective, sequences: &[&Example]) -> Vec<Tensor> {
        if sequences.is_empty() {
            return Vec::new();
        }
        let each: Vec<&[Example]> = sequences.iter().map(|sequence| std::slice::from_ref(*sequence)).collect();
        let (asked, layout) = self.lay_out(objective, &each);
        let ids: Vec<&[i64]> = sequences.iter().map(|sequence| sequence.ids.as_slice()).collect();
        let states = no_grad(|| {
            let mut pass =
                Pass { layout: &layout, hooks: &NoHooks, cache: PastKeyValues::None, wanted: Some(&asked.rows) };
            let h = self.model.hidden(&layout.place(&ids, self.model.options().1), &mut pass);
            h.index_select(0, &asked.rows)
        });
        // A part of a tensor keeps all of it in memory.
        states.split_with_sizes(asked.counts(), 0).iter().map(Tensor::copy).collect()
    }
}
