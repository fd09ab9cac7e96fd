//! One update of the trainable parameters: forward and backward over a batch, clip, move, retract.

use reft_core::adaptation::{Adaptation, Mode, OverlapError};
use reft_core::hooks::Hooks;
use reft_models::model::Decoder;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::adamw::AdamW;
use super::batches;
use super::frozen::{Frozen, Split};
use super::objective::{Targets, labels};
use super::recompute;
use crate::data::encode::Example;

/// What an update did.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Update {
    /// Mean loss over the batch's output tokens, before the update.
    pub loss: f64,
    /// The gradient's norm before clipping.
    pub norm: f64,
    /// Tokens of the batch.
    pub tokens: usize,
}

/// Why an update was not done.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The loss or the gradient is NaN or infinite.
    #[error("loss {loss}, gradient norm {norm}")]
    NonFinite {
        /// The loss.
        loss: f64,
        /// The gradient's norm.
        norm: f64,
    },
    /// Two interventions edit one token.
    #[error(transparent)]
    Overlap(#[from] OverlapError),
}

/// A frozen model, a trainable adaptation and its optimiser.
pub struct Learner<'a> {
    /// The model.
    pub model: &'a dyn Decoder,
    /// What of it no update can change.
    pub frozen: Frozen<'a>,
    /// What is trained.
    pub adaptation: &'a mut dyn Adaptation,
    /// Moves it.
    pub optimiser: AdamW,
    /// Largest norm of the gradient; a larger one is scaled down to it.
    pub clip: f64,
    /// Tokens in one pass at most; a larger batch is accumulated over several.
    pub micro_tokens: usize,
    /// Blocks between two states that are kept for the way back; 0 keeps everything.
    pub recompute: usize,
    /// The parameters that gave the last finite loss, `[count]`; none before the first update.
    last_good: Option<Tensor>,
}

impl<'a> Learner<'a> {
    /// A learner that has done nothing yet.
    pub fn new(
        model: &'a dyn Decoder,
        frozen: Frozen<'a>,
        adaptation: &'a mut dyn Adaptation,
        optimiser: AdamW,
        clip: f64,
        micro_tokens: usize,
    ) -> Self {
        Self { model, frozen, adaptation, optimiser, clip, micro_tokens, recompute: 0, last_good: None }
    }

    /// One update on this batch.
    ///
    /// # Errors
    /// When interventions overlap, or the loss is not finite: the parameters are then those of the last finite loss.
    pub fn update(&mut self, batch: &[&Example], lr: f64) -> Result<Update, UpdateError> {
        let (loss, tokens) = self.gradients(batch)?;
        let flat = self.adaptation.params().flat().shallow_clone();
        let grad = flat.grad();
        let norm = if grad.defined() { grad.norm().double_value(&[]) } else { 0.0 };
        if !loss.is_finite() || !norm.is_finite() {
            if let Some(last_good) = &self.last_good {
                self.adaptation.params_mut().load(last_good);
            }
            return Err(UpdateError::NonFinite { loss, norm });
        }
        self.last_good = Some(flat.detach().copy());
        let grad = if grad.defined() { grad } else { flat.zeros_like() };
        let clipped = if norm > self.clip { grad * (self.clip / (norm + 1e-6)) } else { grad };
        self.optimiser.update(&flat, &clipped, lr);
        self.adaptation.params_mut().zero_grad();
        self.adaptation.params_mut().retract();
        Ok(Update { loss, norm, tokens })
    }

    /// Mean loss over the batch's output tokens, its gradient left in the parameters, and the tokens seen.
    ///
    /// # Errors
    /// When interventions overlap.
    pub fn gradients(&self, batch: &[&Example]) -> Result<(f64, usize), UpdateError> {
        let outputs: usize = batch.iter().map(|example| labels(example)).sum();
        let lengths: Vec<usize> = batch.iter().map(|example| self.frozen.trained(example)).collect();
        let step = self.adaptation.begin(Mode::Train);
        let (mut loss, mut tokens) = (0.0, 0);
        for part in batches::micro(&lengths, self.micro_tokens) {
            let examples = &batch[part];
            let split = self.frozen.split(examples);
            let targets = Targets::new(examples, &split.layout, self.model.options().1);
            let hooks = step.hooks(&split.layout)?;
            let mean = match self.recompute {
                0 => self.pass(&split, hooks.as_ref(), &targets, outputs),
                every => recompute::gradients(&split, self.model, hooks.as_ref(), &targets, outputs, every),
            };
            loss += mean.to_kind(Kind::Double).double_value(&[]);
            tokens += examples.iter().map(|example| example.ids.len()).sum::<usize>();
        }
        step.backprop();
        Ok((loss, tokens))
    }

    /// One pass forth and back; its part of the mean loss.
    fn pass(&self, split: &Split, hooks: &dyn Hooks, targets: &Targets, outputs: usize) -> Tensor {
        let h = split.blocks(self.model, split.enter(hooks), split.range(self.model), hooks, &targets.rows);
        let mean = targets.loss_sum(self.model, &h) / outputs as f64;
        // Where every prompt is too short to be edited, nothing depends on the parameters.
        if mean.requires_grad() {
            mean.backward();
        }
        mean.detach()
    }
}
