//! Eq. 6: cross-entropy of the right class given a sequence's first token, or mean squared error where a score is learned.

use reft_core::adaptation::{Adaptation, Mode, OverlapError, Step};
use reft_core::layout::{Extent, Layout};
use reft_core::params::ParamSet;
use reft_models::encoder::{DropoutRates, Encoder, EncoderPass};
use tch::{Device, Kind, Reduction, Tensor};

use super::batches;
use super::best::{Best, Epoch};
use super::error::TrainError;
use super::head::ClassificationHead;
use super::model_with_loss::{ModelWithLoss, TokenRow};
use crate::data::labelled::{Labelled, Target};
use crate::score::metric::{LabelledPredictions, Metric};

impl TokenRow for Labelled {
    fn tokens(&self) -> usize {
        self.ids.len()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// The model-selection rows, scored after every epoch.
pub struct SelectionRows {
    /// The rows.
    pub rows: Vec<Labelled>,
    /// How they are scored.
    pub metric: Metric,
    /// What they scored.
    pub best: Best<Epoch>,
}

/// A frozen encoder under a trainable head.
pub struct Classification<'a> {
    /// The encoder.
    pub encoder: &'a Encoder,
    /// The head.
    pub head: ClassificationHead,
    /// Whether the dropout that encoder and head were made with is on in training; the adaptation has its own.
    pub model_dropout: bool,
    /// Type that scores to be learned are rounded to in the loss: f32, or bf16 as pyreft's trainer does. They are always
    /// measured as they are.
    pub label_kind: Kind,
    /// Tokens in one pass at most; a larger batch is accumulated over several.
    pub micro_tokens: usize,
    /// What is looked at after every epoch; none to look at nothing.
    pub watch: Option<SelectionRows>,
}

impl Classification<'_> {
    /// Scores of the classes `[B, C]` of these rows in one pass, f32; `mode` is the encoder's and the head's.
    fn scores(&self, step: &dyn Step, rows: &[&Labelled], mode: Mode) -> Result<Tensor, OverlapError> {
        let extent = |row: &&Labelled| Extent { len: row.ids.len() as i64, prompt: row.ids.len() as i64 };
        let layout = Layout::packed(&rows.iter().map(extent).collect::<Vec<_>>());
        let (_, device) = self.encoder.options();
        let place =
            |of: fn(&Labelled) -> &[i64]| layout.place(&rows.iter().map(|row| of(row)).collect::<Vec<_>>(), device);
        let (ids, types) = (place(|row| &row.ids), place(|row| &row.types));
        let hooks = step.hooks(&layout)?;
        let trained = step.weights().map(|weights| self.encoder.on(weights).expect("weights that it lent"));
        let encoder = trained.as_ref().unwrap_or(self.encoder);
        let h = encoder.hidden(&ids, Some(&types), &EncoderPass { layout: &layout, hooks: hooks.as_ref(), mode });
        let pooled = encoder.pooled(&h, &layout);
        let dropout = match mode {
            Mode::Train => encoder.config().dropout,
            Mode::Eval => DropoutRates::OFF,
        };
        Ok(self.head.forward(&pooled, dropout))
    }

    /// What the watched rows score now; none where none are watched, or the metric is undefined.
    ///
    /// # Errors
    /// When interventions overlap.
    pub fn watched(&self, adaptation: &dyn Adaptation) -> Result<Option<f64>, OverlapError> {
        let Some(watch) = &self.watch else { return Ok(None) };
        let step = adaptation.begin(Mode::Eval);
        match self.answers(step.as_ref(), &watch.rows) {
            Ok(answers) => Ok(watch.metric.of(&answers)),
            Err(AnswersError::Overlap(error)) => Err(error),
            // Such an epoch is not the best; the next loss ends training.
            Err(AnswersError::NotFinite { .. }) => Ok(None),
        }
    }

    /// What these rows are taken for, in their order: a class each, or a score.
    ///
    /// # Errors
    /// When interventions overlap, or the model's scores are NaN or infinite.
    pub fn answers(&self, step: &dyn Step, rows: &[Labelled]) -> Result<LabelledPredictions, AnswersError> {
        let taken = self.taken(step, rows)?;
        Ok(LabelledPredictions {
            pairs: rows.iter().zip(taken).map(|(row, taken)| (row.target, taken.target)).collect(),
        })
    }

    /// The same with the head's outputs. Whether a class or a score is wanted is said by the rows' targets.
    ///
    /// # Errors
    /// The same.
    pub fn taken(&self, step: &dyn Step, rows: &[Labelled]) -> Result<Vec<Taken>, AnswersError> {
        // Rows of similar length together.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&index| rows[index].ids.len());
        let lengths: Vec<usize> = order.iter().map(|&index| rows[index].ids.len()).collect();
        let mut said: Vec<(usize, Taken)> = Vec::with_capacity(rows.len());
        for part in batches::micro(&lengths, self.micro_tokens) {
            let part = &order[part];
            let scores = tch::no_grad(|| {
                self.scores(step, &part.iter().map(|&index| &rows[index]).collect::<Vec<_>>(), Mode::Eval)
            })?;
            let finite = Vec::<bool>::try_from(scores.isfinite().all_dim(-1, false)).expect("one value for each row");
            if let Some(row) = finite.iter().position(|&finite| !finite) {
                return Err(AnswersError::NotFinite { row: rows[part[row]].name.clone() });
            }
            let answer = |(row, &index): (usize, &usize)| {
                let of_row = scores.get(row as i64);
                let target = match rows[index].target {
                    Target::Class(_) => Target::Class(of_row.argmax(0, false).int64_value(&[])),
                    Target::Score(_) => Target::Score(of_row.double_value(&[0])),
                };
                let outputs = Vec::<f32>::try_from(&of_row.to_device(Device::Cpu)).expect("a vector of f32");
                (index, Taken { target, outputs })
            };
            said.extend(part.iter().enumerate().map(|(row, index)| answer((row, index))));
        }
        said.sort_by_key(|(index, _)| *index);
        Ok(said.into_iter().map(|(_, taken)| taken).collect())
    }
}

/// What a row is taken for.
#[derive(Clone, PartialEq, Debug)]
pub struct Taken {
    /// The class of the largest output, or the score.
    pub target: Target,
    /// The head's outputs: of classes the logarithms of their likelihoods, up to a constant.
    pub outputs: Vec<f32>,
}

impl Taken {
    /// The probability of every class: the softmax of the outputs.
    pub fn probabilities(&self) -> Vec<f64> {
        let largest = self.outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let parts: Vec<f64> = self.outputs.iter().map(|output| f64::from(output - largest).exp()).collect();
        let sum: f64 = parts.iter().sum();
        parts.into_iter().map(|part| part / sum).collect()
    }
}

/// Rows that cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// Two interventions edit one token.
    #[error(transparent)]
    Overlap(#[from] OverlapError),
    /// NaN or infinity, of which no class follows.
    #[error(
        "{row}: the model's scores are not finite: the weights of the model, of its adapter or of its head hold NaN or very \
         large values, or their type is too narrow (f16 ends at 65504)"
    )]
    NotFinite {
        /// The task and the row.
        row: String,
    },
}

/// Sum of the losses of scores `[B, C]`; scores to be learned are rounded to `label_kind` before.
fn loss_sum(scores: &Tensor, rows: &[&Labelled], label_kind: Kind) -> Tensor {
    let classes: Vec<i64> = rows.iter().filter_map(|row| row.target.class()).collect();
    if classes.len() == rows.len() {
        let classes = Tensor::from_slice(&classes).to_device(scores.device());
        return scores.cross_entropy_loss::<Tensor>(&classes, None, Reduction::Sum, -100, 0.0);
    }
    let wanted: Vec<f32> = rows.iter().map(|row| row.target.number() as f32).collect();
    let wanted = Tensor::from_slice(&wanted).to_kind(label_kind).to_kind(scores.kind()).to_device(scores.device());
    scores.squeeze_dim(-1).mse_loss(&wanted, Reduction::Sum)
}

impl ModelWithLoss for Classification<'_> {
    type Example = Labelled;

    fn params(&self) -> Option<&ParamSet> {
        Some(self.head.params())
    }

    fn params_mut(&mut self) -> Option<&mut ParamSet> {
        Some(self.head.params_mut())
    }

    fn prepare(&mut self, _: &dyn Adaptation, _: &[Labelled], done: u64, per_epoch: u64) -> Result<(), TrainError> {
        if let Some(watch) = &mut self.watch {
            watch.best.resume(done / per_epoch);
        }
        Ok(())
    }

    fn scored(&self, batch: &[&Labelled]) -> usize {
        batch.len()
    }

    fn gradients(&self, step: &dyn Step, batch: &[&Labelled]) -> Result<(f64, usize), OverlapError> {
        let lengths: Vec<usize> = batch.iter().map(|row| row.ids.len()).collect();
        let mode = if self.model_dropout { Mode::Train } else { Mode::Eval };
        let (mut loss, mut tokens) = (0.0, 0);
        for part in batches::micro(&lengths, self.micro_tokens) {
            let rows = &batch[part];
            let mean = loss_sum(&self.scores(step, rows, mode)?, rows, self.label_kind) / batch.len() as f64;
            mean.backward();
            loss += mean.to_kind(Kind::Double).double_value(&[]);
            tokens += rows.iter().map(|row| row.ids.len()).sum::<usize>();
        }
        Ok((loss, tokens))
    }

    fn after_update(
        &mut self,
        done: u64,
        per_epoch: u64,
        adaptation: &dyn Adaptation,
    ) -> Result<Option<f64>, TrainError> {
        if !done.is_multiple_of(per_epoch) || !adaptation.is_last_stage() {
            return Ok(None);
        }
        let epoch = done / per_epoch - 1;
        let value = self.watched(adaptation)?;
        let sets = [adaptation.params(), self.head.params()];
        let Some(watch) = &mut self.watch else { return Ok(None) };
        watch.best.offer(Epoch { epoch, value }, &sets)?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_regression_are_rounded_in_the_loss_on_request() {
        let row = |score| Labelled { ids: vec![1], types: vec![0], target: Target::Score(score), name: String::new() };
        let rows = [row(3.8), row(0.25)];
        let rows: Vec<&Labelled> = rows.iter().collect();
        let scores = Tensor::from_slice(&[1.0f32, 2.0]).unsqueeze(1);
        let loss = |kind| loss_sum(&scores, &rows, kind).double_value(&[]);
        let expected = |first: f64| (first - 1.0).powi(2) + 1.75f64.powi(2);
        // Eight bits of precision: 3.8 becomes 3.796875, a quarter stays.
        assert!((loss(Kind::Float) - expected(3.8)).abs() < 1e-5);
        assert!((loss(Kind::BFloat16) - expected(3.796_875)).abs() < 1e-5);
    }
}
