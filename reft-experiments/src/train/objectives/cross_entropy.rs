//! Eq. 4: cross-entropy on the output tokens only, with teacher forcing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Reduction, Tensor};

use crate::train::objective::{Objective, ObjectiveSettings};
use crate::train::outputs::Outputs;

/// Cross-entropy of the output tokens given what precedes them, eq. 4 of the paper: their mean negative log-likelihood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CrossEntropy {}

impl Objective for CrossEntropy {
    fn loss(&self, adapted: &Outputs<'_>, _: &Outputs<'_>) -> Tensor {
        adapted.logits().cross_entropy_loss::<Tensor>(&adapted.next, None, Reduction::Sum, -100, 0.0)
    }
}

impl ObjectiveSettings for CrossEntropy {
    const KEY: &'static str = "cross_entropy";
    const TITLE: &'static str = "cross-entropy";

    fn example() -> Self {
        Self {}
    }
}
