//! The kinds of run: a causal model that answers, an encoder that classifies, a study with a measure of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tasks::labelled::LabelledTask;

/// What a run's model does with its rows: decided by the plan alone.
#[derive(Clone, Copy)]
pub enum RunKind {
    /// A causal model answers in words.
    Causal,
    /// An encoder under a head gives every row of this task its label.
    Encoder(&'static dyn LabelledTask),
    /// A causal model is edited and measured as a study of the paper's says.
    Study,
}

impl RunKind {
    /// Whether a classification head is trained.
    pub fn has_head(self) -> bool {
        match self {
            Self::Causal | Self::Study => false,
            Self::Encoder(_) => true,
        }
    }
}

/// How rows with labels are learned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LabelLearning {
    /// An encoder with a classification head gives the label.
    #[default]
    Head,
    /// A causal model says the label's word.
    Text,
}

impl LabelLearning {
    /// Whether it is the one that a plan has where it names none.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How a causal model's answer to a task of this program is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    /// It says the answer.
    #[default]
    Words,
    /// The likeliest of the answers that the row's answer format allows is taken, each after the same prompt (acc as in
    /// lm-evaluation-harness); nothing is generated.
    Likelihood,
}

impl AnsweredBy {
    /// Whether it is the one that a plan has where it names none.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
