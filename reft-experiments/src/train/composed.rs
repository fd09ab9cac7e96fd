//! Training a composed subspace (appendix G.1): each row is edited by its own set of interventions and by no other.
//!
//! A batch mixes rows of all sets, which share one orthonormal `R`.

use reft_core::adaptation::{Adaptation, OverlapError, Step};
use reft_core::layout::{Extent, Layout};
use reft_core::params::ParamSet;
use reft_models::attention::PastKeyValues;
use reft_models::model::{Decoder, Pass};
use tch::Kind;

use super::batches;
use super::causal::{Targets, labels};
use super::error::TrainError;
use super::objective::{Objective, TokenRow};
use crate::data::encode::Example;

/// A row with the set of interventions that learns from it.
#[derive(Clone, Debug)]
pub struct AssignedRow {
    /// The row.
    pub example: Example,
    /// Index of the set in `refts`.
    pub part: usize,
}

impl TokenRow for AssignedRow {
    fn tokens(&self) -> usize {
        self.example.tokens()
    }

    fn name(&self) -> &str {
        self.example.name()
    }
}

/// Eq. 4 on rows that belong to different sets of interventions.
pub struct Composed<'a> {
    /// The model.
    pub model: &'a dyn Decoder,
    /// Tokens in one pass at most; a larger batch is accumulated over several.
    pub micro_tokens: usize,
}

impl Objective for Composed<'_> {
    type Example = AssignedRow;

    fn params(&self) -> Option<&ParamSet> {
        None
    }

    fn params_mut(&mut self) -> Option<&mut ParamSet> {
        None
    }

    fn prepare(&mut self, _: &dyn Adaptation, _: &[AssignedRow], _: u64, _: u64) -> Result<(), TrainError> {
        Ok(())
    }

    fn scored(&self, batch: &[&AssignedRow]) -> usize {
        batch.iter().map(|row| labels(&row.example)).sum()
    }

    fn gradients(&self, step: &dyn Step, batch: &[&AssignedRow]) -> Result<(f64, usize), OverlapError> {
        let outputs = self.scored(batch);
        let lengths: Vec<usize> = batch.iter().map(|row| row.example.ids.len()).collect();
        let device = self.model.options().1;
        let mut loss = 0.0;
        for part in batches::micro(&lengths, self.micro_tokens) {
            let rows = &batch[part];
            let extent =
                |row: &&AssignedRow| Extent { len: row.example.ids.len() as i64, prompt: row.example.prompt as i64 };
            let parts: Vec<usize> = rows.iter().map(|row| row.part).collect();
            let layout = Layout::packed(&rows.iter().map(extent).collect::<Vec<_>>()).with_parts(&parts);
            let ids: Vec<&[i64]> = rows.iter().map(|row| row.example.ids.as_slice()).collect();
            let hooks = step.hooks(&layout)?;
            let examples: Vec<&Example> = rows.iter().map(|row| &row.example).collect();
            let targets = Targets::new(&examples, &layout, device);
            let mut pass = Pass {
                layout: &layout,
                hooks: hooks.as_ref(),
                cache: PastKeyValues::None,
                wanted: Some(&targets.rows),
            };
            let h = self.model.hidden(&layout.place(&ids, device), &mut pass);
            let mean = targets.loss_sum(self.model, &h) / outputs as f64;
            if mean.requires_grad() {
                mean.backward();
            }
            loss += mean.detach().to_kind(Kind::Double).double_value(&[]);
        }
        Ok((loss, lengths.iter().sum()))
    }
}
