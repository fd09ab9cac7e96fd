//! One update of the trainable parameters: forward and backward over a batch, clip, move, retract.

use std::path::Path;

use reft_core::adaptation::{Adaptation, Mode, OverlapError};
use reft_core::decay::Decay;
use reft_core::params::ParamSet;
use reft_models::distributed::{GroupError, ProcessGroup};
use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

use super::adamw::AdamW;
use super::checkpoint::{self, CheckpointError, Saved};
use super::model_with_loss::{ModelWithLoss, TokenRow};
use super::ranks;

/// What an update did.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Update {
    /// Mean loss over what the batch is scored on (output tokens, or rows), before the update.
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
    /// A process that trains with this one has ended.
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// What becomes of the clipped gradient of the model's own parameters (a head's) after an update.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HeadGradients {
    /// It is zeroed.
    #[default]
    Zeroed,
    /// It stays, and the next one is added to it before clipping: pyreft's models zero the gradients of interventions only.
    Kept,
}

/// How an update treats gradients and parameters.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct UpdateRules {
    /// Weight decay, where it applies.
    pub weight_decay: f64,
    /// Where it applies.
    pub decay: Decay,
    /// Largest norm of the gradient; a larger one is scaled down to it.
    pub clip: f64,
    /// What becomes of a head's gradient.
    pub head_gradients: HeadGradients,
    /// Peak learning rate of the run, which rates of their own are multiples of.
    pub peak: f64,
}

impl Default for UpdateRules {
    fn default() -> Self {
        Self {
            weight_decay: 0.0,
            decay: Decay::default(),
            clip: 1.0,
            head_gradients: HeadGradients::default(),
            peak: 1.0,
        }
    }
}

/// A frozen model with its loss, a trainable adaptation, and their optimisers.
pub struct Learner<'a, M> {
    /// The model and its loss.
    pub model: &'a mut M,
    /// What is trained.
    pub adaptation: &'a mut dyn Adaptation,
    /// One for the adaptation's parameters, and one for the model's own if it has some.
    pub optimisers: Vec<AdamW>,
    /// The processes that share every batch with this one.
    pub group: Option<&'a ProcessGroup>,
    clip: f64,
    peak: f64,
    /// The clipped gradient of the last update of the model's own parameters, `[count]`, where it is kept.
    pub kept: Option<Tensor>,
    /// The parameters that gave the last finite loss, `[count]` each; none before the first update.
    last_good: Vec<Tensor>,
}

impl<'a, M: ModelWithLoss> Learner<'a, M> {
    /// A learner that has done nothing yet.
    pub fn new(model: &'a mut M, adaptation: &'a mut dyn Adaptation, rules: UpdateRules) -> Self {
        let sets = std::iter::once(adaptation.params()).chain(model.params());
        let optimiser = |set: &ParamSet| AdamW::new(set.flat(), rules.weight_decay, &set.decay_mask(rules.decay));
        let mut optimisers: Vec<AdamW> = sets.map(optimiser).collect();
        optimisers[0].set_rates(adaptation.params().rates(rules.peak));
        let kept = match rules.head_gradients {
            HeadGradients::Zeroed => None,
            HeadGradients::Kept => model.params().map(|set| set.flat().zeros_like().detach()),
        };
        let (clip, peak) = (rules.clip, rules.peak);
        Self { model, adaptation, optimisers, group: None, clip, peak, kept, last_good: Vec::new() }
    }

    /// Goes to a stage, which began at update `began` of the run: with fresh moments if that is now.
    pub fn enter(&mut self, stage: usize, began: u64) {
        self.adaptation.enter(stage);
        self.optimisers[0].set_rates(self.adaptation.params().rates(self.peak));
        let fresh = self.updates() == began;
        for optimiser in &mut self.optimisers {
            optimiser.begin_at(began);
            if fresh {
                optimiser.forget();
            }
        }
    }

    /// Updates done so far.
    pub fn updates(&self) -> u64 {
        self.optimisers[0].updates
    }

    /// Everything that is trained.
    pub fn sets(&self) -> Vec<&ParamSet> {
        std::iter::once(self.adaptation.params()).chain(self.model.params()).collect()
    }

    fn sets_mut(&mut self) -> impl Iterator<Item = &mut ParamSet> {
        std::iter::once(self.adaptation.params_mut()).chain(self.model.params_mut())
    }

    /// Writes everything that updates change.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn save(&self, checkpoint: &Path) -> Result<(), CheckpointError> {
        checkpoint::save(checkpoint, &self.sets(), &self.optimisers, self.kept.as_ref())
    }

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// When it is damaged or belongs to other parameters; nothing is changed then.
    pub fn load(&mut self, saved: &Saved) -> Result<(), CheckpointError> {
        let sets = std::iter::once(self.adaptation.params_mut()).chain(self.model.params_mut()).collect();
        saved.restore(sets, &mut self.optimisers, self.kept.as_mut())
    }

    /// Takes over everything that rank 0 has: a checkpoint that it went on from, or initial values.
    ///
    /// # Errors
    /// When a rank has ended.
    pub fn take_over(&mut self, group: &ProcessGroup) -> Result<(), GroupError> {
        let mut updates = Tensor::from_slice(&[self.updates() as i64]);
        group.broadcast(&mut updates)?;
        for set in self.sets_mut() {
            let mut values = set.flat().detach().copy();
            group.broadcast(&mut values)?;
            set.load(&values);
        }
        for optimiser in &mut self.optimisers {
            optimiser.updates = updates.int64_value(&[0]) as u64;
            group.broadcast(&mut optimiser.first)?;
            group.broadcast(&mut optimiser.second)?;
        }
        self.kept.as_mut().map_or(Ok(()), |kept| group.broadcast(kept))
    }

    /// One update on this batch.
    ///
    /// # Errors
    /// When interventions overlap, or the loss is not finite: the parameters are then those of the last finite loss.
    pub fn update(&mut self, batch: &[&M::Example], lr: f64) -> Result<Update, UpdateError> {
        let (loss, tokens, mut grads) = self.batch_gradients(batch)?;
        if let (Some(kept), [_, head]) = (&self.kept, grads.as_mut_slice()) {
            *head = kept + &*head;
        }
        let leaves = self.leaves();
        let norm = grads.iter().map(norm).fold(0.0, f64::hypot);
        if !loss.is_finite() || !norm.is_finite() {
            self.restore_last_good();
            return Err(UpdateError::NonFinite { loss, norm });
        }
        self.remember(&leaves);
        let scale = (self.clip / (norm + 1e-6)).min(1.0);
        let clipped: Vec<Tensor> =
            grads.into_iter().map(|grad| if scale < 1.0 { grad * scale } else { grad }).collect();
        for (optimiser, (leaf, grad)) in self.optimisers.iter_mut().zip(leaves.iter().zip(&clipped)) {
            optimiser.update(leaf, grad, lr);
        }
        if let (Some(kept), [_, head]) = (&mut self.kept, clipped.as_slice()) {
            kept.copy_(head);
        }
        for set in self.sets_mut() {
            set.zero_grad();
            set.retract();
        }
        Ok(Update { loss, norm, tokens })
    }

    /// Whether the parameters are finite after the last update; else they are then those of the last finite loss.
    pub fn ends_finite(&mut self) -> bool {
        let finite = self.leaves().iter().all(|leaf| leaf.isfinite().all().int64_value(&[]) == 1);
        if !finite {
            self.restore_last_good();
        }
        finite
    }

    /// Puts the parameters back that gave the last finite loss, if there was one.
    fn restore_last_good(&mut self) {
        let last_good = std::mem::take(&mut self.last_good);
        self.sets_mut().zip(&last_good).for_each(|(set, values)| set.load(values));
    }

    fn leaves(&self) -> Vec<Tensor> {
        self.sets().iter().map(|set| set.flat().shallow_clone()).collect()
    }

    /// Mean loss over a batch, its tokens, and the gradient of every set: of the share that is this rank's, summed with those of
    /// the others, where there are several.
    fn batch_gradients(&self, batch: &[&M::Example]) -> Result<(f64, usize, Vec<Tensor>), UpdateError> {
        let of_leaf = |leaf: &Tensor| if leaf.grad().defined() { leaf.grad() } else { leaf.zeros_like() };
        let grads = || self.leaves().iter().map(of_leaf).collect::<Vec<_>>();
        let Some(group) = self.group else {
            let (loss, tokens) = self.gradients(batch)?;
            return Ok((loss, tokens, grads()));
        };
        let lengths: Vec<usize> = batch.iter().map(|example| example.tokens()).collect();
        let own: Vec<&M::Example> =
            ranks::share(&lengths, group.rank(), group.size()).into_iter().map(|row| batch[row]).collect();
        let loss = if own.is_empty() { 0.0 } else { self.gradients(&own)?.0 };
        let part = self.model.scored(&own) as f64 / self.model.scored(batch) as f64;
        let (loss, grads) = ranks::reduce(group, loss, &grads(), part)?;
        Ok((loss, lengths.iter().sum(), grads))
    }

    /// Remembers the parameters that gave a finite loss, in the same memory at every update.
    fn remember(&mut self, leaves: &[Tensor]) {
        if self.last_good.is_empty() {
            self.last_good = leaves.iter().map(|leaf| leaf.detach().copy()).collect();
        } else {
            no_grad(|| self.last_good.iter_mut().zip(leaves).for_each(|(values, leaf)| values.copy_(leaf)));
        }
    }

    /// Mean loss over a batch, its gradient left in the parameters, and the tokens seen.
    ///
    /// # Errors
    /// When interventions overlap.
    pub fn gradients(&self, batch: &[&M::Example]) -> Result<(f64, usize), UpdateError> {
        let step = self.adaptation.begin(Mode::Train);
        let done = self.model.gradients(step.as_ref(), batch)?;
        step.backprop();
        Ok(done)
    }
}

/// Numbers whose squares are added up in f32; more of them lose digits.
const PIECE: i64 = 1 << 16;

/// Euclidean norm of a gradient `[count]`.
fn norm(grad: &Tensor) -> f64 {
    grad.split(PIECE, 0).iter().map(|piece| piece.norm().double_value(&[])).fold(0.0, f64::hypot)
}
