//! Context distillation (Askell et al. 2021, Snell et al. 2022): the adapted model learns to say without a context what the base
//! model says with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Reduction, Tensor};

use crate::data::encode::Example;
use crate::train::objective::{Objective, ObjectiveSettings, RowError, TrainingText};
use crate::train::outputs::Outputs;
use crate::train::sequences::Sequences;

/// Context distillation: KL divergence of the adapted model from the base model that is given a context before each prompt,
/// over the output tokens.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextDistillation {
    /// The text before each prompt, with whatever separates it from the prompt: an instruction, a persona, worked examples.
    pub context: String,
}

impl Objective for ContextDistillation {
    fn check(&self) -> Result<(), String> {
        if self.context.trim().is_empty() {
            return Err("context is empty: write the text that the base model is given before each prompt".to_owned());
        }
        Ok(())
    }

    /// The base model reads context and prompt, and is asked about the very tokens that the adapted model is asked about.
    fn sequences(&self, example: Example, text: &TrainingText<'_>) -> Result<Sequences, RowError> {
        let Some(prompt) = &text.prompt else {
            let reason =
                "a context cannot be put before a conversation, whose text the chat template writes: give prompt \
                          and completion"
                    .to_owned();
            return Err(RowError::Unfit { name: example.name, reason });
        };
        let mut ids = (text.tokenise)(&format!("{}{prompt}", self.context))?;
        let with_context = ids.len();
        ids.extend(&example.ids[example.ids.len() - example.labels()..]);
        let base = Example { ids, prompt: with_context, name: example.name.clone(), lost: example.lost };
        Ok(Sequences { name: example.name.clone(), adapted: vec![example], base: vec![base], class: None })
    }

    fn loss(&self, adapted: &Outputs<'_>, base: &Outputs<'_>) -> Tensor {
        let (student, teacher) = (adapted.logits(), base.logits());
        let log_probabilities = |logits: &Tensor| logits.log_softmax(-1, tch::Kind::Float);
        log_probabilities(&student).kl_div(&log_probabilities(&teacher).detach(), Reduction::Sum, true)
    }
}

impl ObjectiveSettings for ContextDistillation {
    const KEY: &'static str = "context_distillation";
    const TITLE: &'static str = "context distillation";

    fn example() -> Self {
        Self { context: "Answer in one word.\n".to_owned() }
    }
}
