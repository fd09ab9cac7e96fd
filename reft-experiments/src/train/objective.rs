//! What an objective is: a loss of a causal model's states in the rows that it asks for.
//!
//! Micro-batches, the activation cache, gradient checkpointing, validation and the base model's states are written once, in
//! [`super::causal`]. The table of all objectives is [`super::objectives`].

use std::any::Any;
use std::fmt::Debug;
use std::ops::Range;

use reft_core::intervention::ParameterSpec;
use reft_models::tokenizer::TokenizerError;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::Tensor;

use super::outputs::Outputs;
use super::sequences::Sequences;
use crate::data::encode::{Example, Text, encode};
use crate::data::row::Row;

/// A loss of a causal model.
pub trait Objective: Any + Debug + Send + Sync {
    /// What is wrong with the settings and what to write instead.
    ///
    /// # Errors
    /// When a value is out of its range.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Parameters of its own on a model of this width, one site each, trained beside the adaptation's and not counted with them:
    /// a head. None if this is left out. The outputs hold them ([`Outputs::parameters`]).
    fn parameters(&self, _width: i64) -> Vec<ParameterSpec> {
        Vec::new()
    }

    /// The sequences of a training row: those that the adapted model runs, and those that the base model runs without edits.
    /// `example` is the row's prompt with its completion, which alone is run if this is left out.
    ///
    /// # Errors
    /// When the row lacks what the objective compares, or a text cannot be encoded.
    fn sequences(&self, example: Example, _text: &TrainingText<'_>) -> Result<Sequences, RowError> {
        Ok(Sequences::of(example))
    }

    /// Positions of a sequence whose states are asked for, below its length: those that predict an output token, if this is
    /// left out. They are asked for in the base model's sequences too.
    fn asked(&self, sequence: &Example) -> Range<usize> {
        sequence.predictors()
    }

    /// What the loss of a row with these sequences is a sum over, and the batch's mean loss a mean over: output tokens, if this
    /// is left out.
    fn scored(&self, adapted: &[Example]) -> usize {
        adapted.iter().map(Example::labels).sum()
    }

    /// Sum of the losses of the rows of one pass: a scalar in f32, differentiable in `adapted`. `base` is the base model's, from
    /// which no gradient flows.
    fn loss(&self, adapted: &Outputs<'_>, base: &Outputs<'_>) -> Tensor;
}

/// An objective with its settings, as an entry of [`super::objectives`]: `objective: {KEY: {settings}}`. What the type's own
/// documentation says stands in lists and schemas.
pub trait ObjectiveSettings: Objective + Clone + Serialize + DeserializeOwned + JsonSchema {
    /// The key in configurations.
    const KEY: &'static str;
    /// As lists print it.
    const TITLE: &'static str;

    /// Settings to show and to test with.
    fn example() -> Self;
}

/// A training row that an objective can make nothing of.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// A text that the tokenizer cannot encode.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// It lacks something.
    #[error("{name}: {reason}")]
    Unfit {
        /// The task and the row.
        name: String,
        /// What it lacks, and what to do.
        reason: String,
    },
}

/// A training row's texts, and how they become tokens.
pub struct TrainingText<'t> {
    /// The row.
    pub row: &'t Row,
    /// Its prompt as the model is given it; none of a conversation, which the model's chat template writes.
    pub prompt: Option<String>,
    /// The end token as text.
    pub eos: &'t str,
    /// Tokens of a sequence at most.
    pub max_length: usize,
    /// A text's token ids.
    pub tokenise: &'t (dyn Fn(&str) -> Result<Vec<i64>, TokenizerError> + Sync),
}

impl TrainingText<'_> {
    /// A sequence of a prompt and what follows it, with the end token.
    ///
    /// # Errors
    /// When the tokenizer cannot encode a text.
    pub fn example(&self, prompt: &str, completion: &str, name: String) -> Result<Example, RowError> {
        let text = Text { prompt: prompt.to_owned(), completion: completion.to_owned(), name };
        let mut examples = encode(&[text], self.eos, self.max_length, self.tokenise)?;
        Ok(examples.remove(0))
    }
}
