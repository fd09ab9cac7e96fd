//! Eq. 4: cross-entropy on the output tokens only, with teacher forcing.

use reft_core::adaptation::{Adaptation, Mode, OverlapError, Step};
use reft_core::hooks::Hooks;
use reft_core::params::ParamSet;
use reft_models::model::Decoder;
use tch::{Kind, Tensor};

use super::error::TrainError;
use super::frozen::{FrozenForward, SplitPass};
use super::objective::{Objective, TokenRow};
use super::shelf::ActivationCaches;
pub use super::targets::{Targets, labels};
use super::validation::Validation;
use super::{batches, recompute};
use crate::data::encode::Example;

impl TokenRow for Example {
    fn tokens(&self) -> usize {
        self.ids.len()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// The loss of a language model, with what of it no update can change.
pub struct Causal<'a> {
    /// The model.
    pub model: &'a dyn Decoder,
    /// What of it no update can change.
    pub frozen: FrozenForward<'a>,
    /// Where that is found or put when training begins; none to keep nothing new.
    pub shelf: Option<&'a ActivationCaches>,
    /// Tokens in one pass at most; a larger batch is accumulated over several.
    pub micro_tokens: usize,
    /// Blocks between two states that are kept for the backward pass; 0 keeps everything.
    pub recompute: usize,
    /// Dev rows that are looked at in between; none to look at nothing.
    pub validation: Option<&'a mut Validation>,
}

impl<'a> Causal<'a> {
    /// The loss of this model.
    pub fn new(model: &'a dyn Decoder, frozen: FrozenForward<'a>, micro_tokens: usize) -> Self {
        Self { model, frozen, shelf: None, micro_tokens, recompute: 0, validation: None }
    }

    /// A forward and a backward pass; its part of the mean loss.
    fn pass(model: &dyn Decoder, split: &SplitPass, hooks: &dyn Hooks, targets: &Targets, outputs: usize) -> Tensor {
        let h = split.blocks(model, split.enter(hooks), split.range(model), hooks, &targets.rows);
        let mean = targets.loss_sum(model, &h) / outputs as f64;
        // Where every prompt is too short to be edited, nothing depends on the parameters.
        if mean.requires_grad() {
            mean.backward();
        }
        mean.detach()
    }
}

impl Objective for Causal<'_> {
    type Example = Example;

    fn params(&self) -> Option<&ParamSet> {
        None
    }

    fn params_mut(&mut self) -> Option<&mut ParamSet> {
        None
    }

    /// Keeps what can be kept, if there is a shelf.
    fn prepare(&mut self, _: &dyn Adaptation, examples: &[Example], done: u64, _: u64) -> Result<(), TrainError> {
        if let Some(validation) = &mut self.validation {
            // A look after `done` updates is behind the checkpoint that has as many.
            validation.best.resume(done + 1);
        }
        if let Some(shelf) = self.shelf
            && let Some(held) = self.frozen.fill(examples, self.micro_tokens, shelf)
        {
            eprintln!("{held}");
        }
        Ok(())
    }

    fn scored(&self, batch: &[&Example]) -> usize {
        batch.iter().map(|example| labels(example)).sum()
    }

    fn gradients(&self, step: &dyn Step, batch: &[&Example]) -> Result<(f64, usize), OverlapError> {
        let outputs = self.scored(batch);
        let lengths: Vec<usize> = batch.iter().map(|example| self.frozen.trained(example)).collect();
        let own = step.weights().map(|weights| self.model.on(weights).expect("weights that it lent"));
        let model = own.as_deref().unwrap_or(self.model);
        let (mut loss, mut tokens) = (0.0, 0);
        for part in batches::micro(&lengths, self.micro_tokens) {
            let examples = &batch[part];
            let split = match &own {
                None => self.frozen.split(examples),
                Some(own) => self.frozen.split(examples).embedded_by(own.as_ref()),
            };
            let targets = Targets::new(examples, &split.layout, self.model.options().1);
            let hooks = step.hooks(&split.layout)?;
            let mean = match self.recompute {
                0 => Self::pass(model, &split, hooks.as_ref(), &targets, outputs),
                every => recompute::gradients(&split, model, hooks.as_ref(), &targets, outputs, every),
            };
            loss += mean.to_kind(Kind::Double).double_value(&[]);
            tokens += examples.iter().map(|example| example.ids.len()).sum::<usize>();
        }
        Ok((loss, tokens))
    }

    fn after_update(
        &mut self,
        done: u64,
        per_epoch: u64,
        adaptation: &dyn Adaptation,
    ) -> Result<Option<f64>, TrainError> {
        if !adaptation.is_last_stage() {
            return Ok(None);
        }
        let (model, micro_tokens) = (self.model, self.micro_tokens);
        let loss = |rows: &[Example], adaptation: &dyn Adaptation| mean_loss(model, adaptation, rows, micro_tokens);
        match &mut self.validation {
            Some(validation) => validation.look([done, per_epoch], adaptation, loss),
            None => Ok(None),
        }
    }

    fn stopped(&self) -> bool {
        self.validation.as_ref().is_some_and(|validation| validation.stopped())
    }
}

/// Mean cross-entropy of an output token of these rows, without dropout and gradients; at most `micro_tokens` in a pass.
///
/// # Errors
/// When interventions overlap.
pub fn mean_loss(
    model: &dyn Decoder,
    adaptation: &dyn Adaptation,
    rows: &[Example],
    micro_tokens: usize,
) -> Result<f64, OverlapError> {
    let (step, frozen) = (adaptation.begin(Mode::Eval), FrozenForward::off(model));
    let own = step.weights().map(|weights| model.on(weights).expect("weights that it lent"));
    let model = own.as_deref().unwrap_or(model);
    let rows: Vec<&Example> = rows.iter().collect();
    let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
    let (mut sum, mut outputs) = (0.0, 0);
    for part in batches::micro(&lengths, micro_tokens) {
        let rows = &rows[part];
        let split = match &own {
            None => frozen.split(rows),
            Some(own) => frozen.split(rows).embedded_by(own.as_ref()),
        };
        let targets = Targets::new(rows, &split.layout, model.options().1);
        let hooks = step.hooks(&split.layout)?;
        let loss = tch::no_grad(|| {
            let h = split.blocks(model, split.enter(hooks.as_ref()), split.range(model), hooks.as_ref(), &targets.rows);
            targets.loss_sum(model, &h)
        });
        sum += loss.to_kind(Kind::Double).double_value(&[]);
        outputs += rows.iter().map(|row| labels(row)).sum::<usize>();
    }
    Ok(sum / outputs.max(1) as f64)
}
