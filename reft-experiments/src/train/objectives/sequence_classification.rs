//! Sequence classification on a causal model, as transformers' `AutoModelForSequenceClassification` does it: a linear map without
//! bias, `score` `[C, D]`, of the last prompt token's state behind the final norm; cross-entropy over the classes.
//!
//! For programs of one's own ([`Causal::minimising`](crate::train::causal::Causal::minimising)): it is no entry of the table, since a
//! run's answers are generated and its folder keeps no parameters of an objective.

use std::ops::Range;

use reft_core::decay::ParameterRole;
use reft_core::intervention::{Constraint, Init, ParameterSpec};
use tch::{Kind, Reduction, Tensor};

use crate::data::encode::Example;
use crate::train::objective::Objective;
use crate::train::outputs::Outputs;
use crate::train::sequences::Sequences;

/// Standard deviation of fresh weights, as transformers' `initializer_range`.
const SD: f32 = 0.02;

/// Cross-entropy of a row's class, by a linear map of the last prompt token's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SequenceClassification {
    /// How many classes there are.
    pub classes: i64,
}

impl SequenceClassification {
    /// A prompt with its class, from 0.
    pub fn row(ids: Vec<i64>, class: i64, name: String) -> Sequences {
        let prompt = ids.len();
        Sequences { class: Some(class), ..Sequences::of(Example { ids, prompt, name, lost: 0 }) }
    }

    /// Scores of the classes `[R, C]` of rows of one prompt each, f32: logarithms of their likelihoods, up to a constant.
    pub fn scores(self, adapted: &Outputs<'_>) -> Tensor {
        adapted.normalised().to_kind(Kind::Float).linear(&adapted.parameters[0], None::<Tensor>)
    }
}

impl Objective for SequenceClassification {
    fn check(&self) -> Result<(), String> {
        if self.classes >= 2 { Ok(()) } else { Err(format!("classes: {} is too few: at least 2", self.classes)) }
    }

    fn parameters(&self, width: i64) -> Vec<ParameterSpec> {
        let (shape, init) = (vec![self.classes, width], Init::Normal { sd: SD });
        vec![ParameterSpec { name: "score", shape, init, constraint: Constraint::Free, role: ParameterRole::Matrix }]
    }

    /// The last prompt token.
    fn asked(&self, sequence: &Example) -> Range<usize> {
        let end = sequence.prompt.min(sequence.ids.len());
        end.saturating_sub(1)..end
    }

    /// One for each row.
    fn scored(&self, _: &[Example]) -> usize {
        1
    }

    fn loss(&self, adapted: &Outputs<'_>, _: &Outputs<'_>) -> Tensor {
        let scores = self.scores(adapted);
        let classes: Vec<i64> = adapted.classes().iter().map(|class| class.expect("every row has a class")).collect();
        let classes = Tensor::from_slice(&classes).to_device(scores.device());
        scores.cross_entropy_loss::<Tensor>(&classes, None, Reduction::Sum, -100, 0.0)
    }
}
