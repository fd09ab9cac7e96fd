//! Distributed alignment search (DAS): `R` is learned so that interchanges in its subspace make the model say what a causal
//! model says after the same interchange of one of its variables.
//!
//! The loss is the cross-entropy of the intervened run's last token on the counterfactual label; the model is frozen.

use reft_core::adaptation::{Adaptation, Mode, OverlapError, Step};
use reft_core::layout::{Extent, Layout, Link};
use reft_models::attention::PastKeyValues;
use reft_models::model::{Decoder, Pass};
use tch::{Kind, Reduction, Tensor, no_grad};

use super::model_with_loss::{ModelWithLoss, TokenRow};

/// A run whose states are taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceRun {
    /// The set of interventions (of `refts`) that takes them.
    pub part: usize,
    /// Its tokens.
    pub ids: Vec<i64>,
    /// Where the states are put in the base run.
    pub base_positions: Vec<i64>,
    /// Where they are taken, as many.
    pub source_positions: Vec<i64>,
}

/// A base run with its sources and what a causal model says of them together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counterfactual {
    /// The base run's tokens.
    pub base: Vec<i64>,
    /// The source runs.
    pub sources: Vec<SourceRun>,
    /// The token that should follow the base run's last.
    pub label: i64,
    /// For messages.
    pub name: String,
}

impl TokenRow for Counterfactual {
    fn tokens(&self) -> usize {
        self.base.len() + self.sources.iter().map(|source| source.ids.len()).sum::<usize>()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// Base runs and source runs of several counterfactuals in one pass: the layout with its links, the tokens, and the row of
/// each base run's last token.
fn lay_out<'c>(batch: &[&'c Counterfactual]) -> (Layout, Vec<&'c [i64]>, Vec<i64>) {
    let (mut ids, mut links, mut bases) = (Vec::<&[i64]>::new(), Vec::new(), Vec::new());
    for case in batch {
        let base = ids.len();
        bases.push(base);
        ids.push(&case.base);
        for source in &case.sources {
            links.push(Link {
                part: source.part,
                base,
                base_positions: source.base_positions.clone(),
                source: ids.len(),
                source_positions: source.source_positions.clone(),
            });
            ids.push(&source.ids);
        }
    }
    let extents: Vec<Extent> =
        ids.iter().map(|ids| Extent { len: ids.len() as i64, prompt: ids.len() as i64 }).collect();
    let layout = Layout::packed(&extents).with_links(links);
    let last = layout.last_rows();
    (layout, ids, bases.into_iter().map(|base| last[base]).collect())
}

/// The loss of interchange runs.
pub struct Interchanges<'a> {
    /// The model.
    pub model: &'a dyn Decoder,
}

impl Interchanges<'_> {
    /// Logits `[B, V]` of the intervened base runs' last tokens, f32.
    ///
    /// # Errors
    /// When interventions overlap.
    pub fn logits(&self, step: &dyn Step, batch: &[&Counterfactual]) -> Result<Tensor, OverlapError> {
        let device = self.model.options().1;
        let (layout, ids, last) = lay_out(batch);
        let hooks = step.hooks(&layout)?;
        // Every row is wanted: source states are read in rows without logits.
        let mut pass = Pass { layout: &layout, hooks: hooks.as_ref(), cache: PastKeyValues::None, wanted: None };
        let h = self.model.hidden(&layout.place(&ids, device), &mut pass);
        let last = Tensor::from_slice(&last).to_device(device);
        Ok(self.model.logits(&h.index_select(0, &last)).to_kind(Kind::Float))
    }

    /// Interchange-intervention accuracy: the share of counterfactuals whose label is the most likely token.
    ///
    /// # Errors
    /// When interventions overlap.
    pub fn accuracy(
        &self,
        adaptation: &dyn Adaptation,
        cases: &[Counterfactual],
        batch: usize,
    ) -> Result<f64, OverlapError> {
        let step = adaptation.begin(Mode::Eval);
        let mut right = 0;
        for part in cases.chunks(batch) {
            let part: Vec<&Counterfactual> = part.iter().collect();
            let said = no_grad(|| self.logits(step.as_ref(), &part))?.argmax(-1, false);
            right += said.eq_tensor(&labels(&part, &said)).sum(Kind::Int64).int64_value(&[]);
        }
        Ok(right as f64 / cases.len().max(1) as f64)
    }
}

/// The labels `[B]`, where `like` lies.
fn labels(batch: &[&Counterfactual], like: &Tensor) -> Tensor {
    Tensor::from_slice(&batch.iter().map(|case| case.label).collect::<Vec<_>>()).to_device(like.device())
}

impl ModelWithLoss for Interchanges<'_> {
    type Example = Counterfactual;

    fn scored(&self, batch: &[&Counterfactual]) -> usize {
        batch.len()
    }

    fn gradients(&self, step: &dyn Step, batch: &[&Counterfactual]) -> Result<(f64, usize), OverlapError> {
        let logits = self.logits(step, batch)?;
        let loss = logits.cross_entropy_loss::<Tensor>(&labels(batch, &logits), None, Reduction::Mean, -100, 0.0);
        if loss.requires_grad() {
            loss.backward();
        }
        Ok((loss.detach().double_value(&[]), batch.iter().map(|case| case.tokens()).sum()))
    }
}
