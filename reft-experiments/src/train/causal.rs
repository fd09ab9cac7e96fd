//! A causal model under an objective: what of every objective is the same. Micro-batches, the activation cache, gradient
//! checkpointing, the base model's states and validation are here; the loss is the objective's.

use std::ops::Range;
use std::sync::Arc;

use reft_core::adaptation::{Adaptation, Mode, OverlapError, Step};
use reft_core::hooks::Hooks;
use reft_core::params::{ParamSet, Stack};
use reft_core::rng::Seed;
use reft_models::model::Decoder;
use tch::{Kind, Tensor};

use super::activation_caches::ActivationCaches;
use super::base_states::BaseStates;
use super::error::TrainError;
use super::frozen::{FrozenForward, SplitPass};
use super::model_with_loss::ModelWithLoss;
use super::objective::Objective;
use super::objectives::ObjectiveSpec;
use super::outputs::{AskedRows, Outputs};
use super::sequences::TrainingRow;
use super::validation::Validation;
use super::{batches, recompute};
use crate::data::encode::Example;

/// A causal model with its loss, and with what of it no update can change.
pub struct Causal<'a, E = Example> {
    /// The model.
    pub model: &'a dyn Decoder,
    /// What of it no update can change.
    pub frozen: FrozenForward<'a>,
    /// Where that is found or put when training begins; none to keep nothing new.
    pub caches: Option<&'a ActivationCaches>,
    /// Tokens in one pass at most; a larger batch is accumulated over several.
    pub micro_tokens: usize,
    /// Blocks between two states that are kept for the backward pass; 0 keeps everything.
    pub recompute: usize,
    /// Dev rows that are looked at in between; none to look at nothing.
    pub validation: Option<&'a mut Validation<E>>,
    objective: Arc<dyn Objective>,
    /// The objective's own parameters; none where it has none.
    head: Option<ParamSet>,
    base: BaseStates<'a>,
}

impl<'a, E: TrainingRow> Causal<'a, E> {
    /// This model under eq. 4: cross-entropy on the output tokens.
    pub fn new(model: &'a dyn Decoder, frozen: FrozenForward<'a>, micro_tokens: usize) -> Self {
        let objective = Arc::clone(ObjectiveSpec::default().objective());
        let base = BaseStates::new(model);
        Self { model, frozen, caches: None, micro_tokens, recompute: 0, validation: None, objective, head: None, base }
    }

    /// The same model under another objective; its own parameters, where it has some, begin at values drawn by seed 0.
    #[must_use]
    pub fn minimising(self, objective: &Arc<dyn Objective>) -> Self {
        let (frozen, objective) = (self.frozen.asked_by(objective), Arc::clone(objective));
        Self { frozen, objective, head: None, ..self }.seeded(Seed(0))
    }

    /// The same with the objective's own parameters at fresh values drawn by this seed.
    #[must_use]
    pub fn seeded(self, seed: Seed) -> Self {
        let declared = self.objective.parameters(self.model.dims().width);
        let stacks: Vec<Stack> = declared.into_iter().map(|declared| Stack { declared, sites: 1 }).collect();
        let fresh = |stacks| ParamSet::new(stacks, &mut seed.stream("head", 0), self.model.options().1);
        let head = (!stacks.is_empty()).then(|| fresh(stacks));
        Self { head, ..self }
    }

    /// What the objective is computed from, given the last block's output `[N, D]`.
    fn outputs<'m>(&self, asked: &AskedRows, model: &'m dyn Decoder, h: &Tensor, rows: &[&E]) -> Outputs<'m> {
        let parameters = self.head.iter().flat_map(ParamSet::views).map(|view| view.squeeze_dim(0)).collect();
        asked.of(model, h).with_head(rows.iter().map(|row| row.class()).collect(), parameters)
    }

    /// What `read` makes of the adapted model's outputs of each micro-batch of these rows, without dropout and gradients.
    ///
    /// # Errors
    /// When interventions overlap.
    pub fn evaluate<T>(
        &self,
        adaptation: &dyn Adaptation,
        rows: &[&E],
        read: impl Fn(&Outputs<'_>, &[&E]) -> T,
    ) -> Result<Vec<T>, OverlapError> {
        let (step, frozen) = (adaptation.begin(Mode::Eval), FrozenForward::off(self.model).asked_by(&self.objective));
        let own = step.weights().map(|weights| self.model.on(weights).expect("weights that it lent"));
        let model = own.as_deref().unwrap_or(self.model);
        let lengths: Vec<usize> = rows.iter().map(|row| row.tokens()).collect();
        let of_part = |part: Range<usize>| {
            let rows = &rows[part];
            let (split, asked) = self.lay_out(&frozen, own.as_deref(), rows);
            let hooks = step.hooks(&split.layout)?;
            Ok(tch::no_grad(|| {
                let h = split.all_blocks(model, hooks.as_ref(), &asked.rows);
                read(&self.outputs(&asked, model, &h, rows), rows)
            }))
        };
        batches::micro(&lengths, self.micro_tokens).into_iter().map(of_part).collect()
    }

    /// These rows in one pass, as the model with weights `own` of its own (where it has any) runs them.
    fn lay_out(&self, frozen: &FrozenForward<'_>, own: Option<&dyn Decoder>, rows: &[&E]) -> (SplitPass, AskedRows) {
        let adapted: Vec<&[Example]> = rows.iter().map(|row| row.adapted()).collect();
        let split = frozen.split(&adapted.iter().copied().flatten().collect::<Vec<_>>());
        let parts: Vec<usize> = rows.iter().flat_map(|row| row.adapted().iter().filter_map(|_| row.part())).collect();
        let split = if parts.is_empty() { split } else { split.with_parts(&parts) };
        let split = match own {
            None => split,
            Some(own) => split.embedded_by(own),
        };
        let asked =
            AskedRows::new(|example| self.objective.asked(example), &adapted, &split.layout, self.model.options().1);
        (split, asked)
    }

    /// What the base model puts out for these rows, `states` holding what is known already.
    fn base(&self, states: &BaseStates<'a>, rows: &[&E]) -> Outputs<'a> {
        let base: Vec<&[Example]> = rows.iter().map(|row| row.base()).collect();
        states.outputs(self.objective.as_ref(), &base)
    }

    /// Mean loss of these rows, without dropout and gradients.
    fn mean_loss(&self, adaptation: &dyn Adaptation, rows: &[E]) -> Result<f64, OverlapError> {
        let rows: Vec<&E> = rows.iter().collect();
        // Other rows of the same names are kept.
        let unknown = BaseStates::new(self.model);
        let loss = |adapted: &Outputs<'_>, rows: &[&E]| {
            self.objective.loss(adapted, &self.base(&unknown, rows)).to_kind(Kind::Double).double_value(&[])
        };
        let sum: f64 = self.evaluate(adaptation, &rows, loss)?.into_iter().sum();
        Ok(sum / self.scored(&rows).max(1) as f64)
    }

    /// Makes room for what can be kept of these rows between updates, and gives the bytes of memory that it will take anew.
    pub fn reserve(&self, examples: &[E]) -> usize {
        let Some(caches) = self.caches else { return 0 };
        let adapted: Vec<&Example> = examples.iter().flat_map(TrainingRow::adapted).collect();
        let base: Vec<&Example> = examples.iter().flat_map(TrainingRow::base).collect();
        let new = self.frozen.reserve(&adapted, self.micro_tokens, caches);
        let states = BaseStates::size(self.model, self.objective.as_ref(), &base);
        new.saturating_add(states).min(self.frozen.room().memory)
    }

    /// Keeps what can be kept between updates, and says what that is.
    fn keep(&mut self, examples: &[E], caches: &ActivationCaches) {
        let adapted: Vec<&Example> = examples.iter().flat_map(TrainingRow::adapted).collect();
        if let Some(held) = self.frozen.fill(&adapted, self.micro_tokens, caches) {
            eprintln!("{held}");
        }
        let base: Vec<&Example> = examples.iter().flat_map(TrainingRow::base).collect();
        self.base.fill(self.objective.as_ref(), &base, self.micro_tokens, self.frozen.room());
    }
}

/// A forward and a backward pass; the loss.
fn pass(
    model: &dyn Decoder,
    split: &SplitPass,
    hooks: &dyn Hooks,
    wanted: &Tensor,
    loss: &dyn Fn(&Tensor) -> Tensor,
) -> Tensor {
    let loss = loss(&split.all_blocks(model, hooks, wanted));
    // Where every prompt is too short to be edited, nothing depends on the parameters.
    if loss.requires_grad() {
        loss.backward();
    }
    loss.detach()
}

impl<E: TrainingRow> ModelWithLoss for Causal<'_, E> {
    type Example = E;

    fn params(&self) -> Option<&ParamSet> {
        self.head.as_ref()
    }

    fn params_mut(&mut self) -> Option<&mut ParamSet> {
        self.head.as_mut()
    }

    /// Keeps what can be kept, if there are caches to keep it in.
    fn prepare(&mut self, _: &dyn Adaptation, examples: &[E], done: u64, _: u64) -> Result<(), TrainError> {
        if let Some(validation) = &mut self.validation {
            // A look after `done` updates is behind the checkpoint that has as many.
            validation.best.resume(done + 1);
        }
        if let Some(caches) = self.caches {
            self.keep(examples, caches);
        }
        Ok(())
    }

    fn scored(&self, batch: &[&E]) -> usize {
        batch.iter().map(|row| self.objective.scored(row.adapted())).sum()
    }

    fn gradients(&self, step: &dyn Step, batch: &[&E]) -> Result<(f64, usize), OverlapError> {
        let scored = self.scored(batch) as f64;
        let trained = |row: &&E| row.adapted().iter().map(|sequence| self.frozen.trained(sequence)).sum();
        let lengths: Vec<usize> = batch.iter().map(trained).collect();
        let own = step.weights().map(|weights| self.model.on(weights).expect("weights that it lent"));
        let model = own.as_deref().unwrap_or(self.model);
        let (mut sum, mut tokens) = (0.0, 0);
        for part in batches::micro(&lengths, self.micro_tokens) {
            let rows = &batch[part];
            let (split, asked) = self.lay_out(&self.frozen, own.as_deref(), rows);
            let base = self.base(&self.base, rows);
            let hooks = step.hooks(&split.layout)?;
            let loss = |h: &Tensor| self.objective.loss(&self.outputs(&asked, model, h, rows), &base) / scored;
            let mean = match self.recompute {
                0 => pass(model, &split, hooks.as_ref(), &asked.rows, &loss),
                every => recompute::gradients(&split, model, hooks.as_ref(), &asked.rows, &loss, every),
            };
            sum += mean.to_kind(Kind::Double).double_value(&[]);
            tokens += rows.iter().map(|row| row.tokens()).sum::<usize>();
        }
        Ok((sum, tokens))
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
        // Taken out meanwhile: its rows are looked at by the model that holds it.
        let Some(validation) = self.validation.take() else { return Ok(None) };
        let sets: Vec<&ParamSet> = std::iter::once(adaptation.params()).chain(&self.head).collect();
        let looked = validation.look([done, per_epoch], &sets, |rows| self.mean_loss(adaptation, rows));
        self.validation = Some(validation);
        looked
    }

    fn stopped(&self) -> bool {
        self.validation.as_ref().is_some_and(|validation| validation.stopped())
    }
}
