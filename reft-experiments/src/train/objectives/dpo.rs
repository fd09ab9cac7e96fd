//! Direct preference optimisation (Rafailov et al. 2023, eq. 7), the base model being the reference.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::data::encode::Example;
use crate::train::objective::{Objective, ObjectiveSettings, RowError, TrainingText};
use crate::train::outputs::Outputs;
use crate::train::sequences::Sequences;

/// Direct preference optimisation (DPO): the right choice of a row is to gain likelihood over its other choices, relative to
/// the base model. Each row needs two choices or more, the right one among them. With several wrong ones the row's loss is the
/// mean over them.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dpo {
    /// How strongly the model is kept near the base model: the larger, the nearer.
    pub beta: f64,
    /// Probability that a preference is the wrong way round, 0 to below 0.5 (conservative DPO).
    pub label_smoothing: f64,
}

impl Default for Dpo {
    fn default() -> Self {
        Self { beta: 0.1, label_smoothing: 0.0 }
    }
}

impl Objective for Dpo {
    fn check(&self) -> Result<(), String> {
        if !(self.beta > 0.0 && self.beta.is_finite()) {
            return Err(format!("beta {}: give a number above 0, such as 0.1", self.beta));
        }
        if !(0.0..0.5).contains(&self.label_smoothing) {
            return Err(format!("label_smoothing {}: give a number from 0 to below 0.5", self.label_smoothing));
        }
        Ok(())
    }

    /// The right choice first, then the others; the same for the base model.
    fn sequences(&self, example: Example, text: &TrainingText<'_>) -> Result<Sequences, RowError> {
        let name = example.name;
        let (row, Some(prompt)) = (text.row, &text.prompt) else {
            let reason = "a conversation has no choices to prefer one of: give prompt, choices and answer".to_owned();
            return Err(RowError::Unfit { name, reason });
        };
        if row.choices.len() < 2 {
            let reason = "the row has no choices to prefer one of: give prompt, choices and answer, which names the \
                          preferred choice"
                .to_owned();
            return Err(RowError::Unfit { name, reason });
        }
        let others = (0..row.choices.len()).filter(|&choice| choice != row.right);
        let sequence =
            |choice: usize| text.example(prompt, &row.choices[choice], format!("{name} choice {}", choice + 1));
        let adapted = std::iter::once(row.right).chain(others).map(sequence).collect::<Result<Vec<_>, _>>()?;
        Ok(Sequences { base: adapted.clone(), adapted, name, class: None })
    }

    /// One: a row.
    fn scored(&self, _: &[Example]) -> usize {
        1
    }

    fn loss(&self, adapted: &Outputs<'_>, base: &Outputs<'_>) -> Tensor {
        let log_ratios = adapted.sums(&adapted.log_likelihoods()) - base.sums(&base.log_likelihoods()).detach();
        let (mut right, mut wrong, mut weights, mut first) = (Vec::new(), Vec::new(), Vec::new(), 0i64);
        for &choices in adapted.sequences() {
            for other in 1..choices as i64 {
                right.push(first);
                wrong.push(first + other);
                weights.push(1.0 / (choices - 1) as f32);
            }
            first += choices as i64;
        }
        let device = log_ratios.device();
        let of = |indices: &[i64]| log_ratios.index_select(0, &Tensor::from_slice(indices).to_device(device));
        let margins = (of(&right) - of(&wrong)) * self.beta;
        let losses =
            margins.log_sigmoid() * (self.label_smoothing - 1.0) - (-&margins).log_sigmoid() * self.label_smoothing;
        (losses * Tensor::from_slice(&weights).to_device(device)).sum(Kind::Float)
    }
}

impl ObjectiveSettings for Dpo {
    const KEY: &'static str = "dpo";
    const TITLE: &'static str = "DPO";

    fn example() -> Self {
        Self::default()
    }
}
