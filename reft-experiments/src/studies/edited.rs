//! The model of a study's run, and the same with trained edits.

use anyhow::{Context, Result};
use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::lender::Lender;
use reft_core::rng::Seed;
use reft_models::decode::{Decoding, Generator, Stopping};
use reft_models::model::Decoder;
use reft_models::tokenizer::{Specials, Tokenizer, TokenizerError};

/// What a measure knows of its run.
#[derive(Clone, Copy)]
pub struct StudyContext<'a> {
    /// The model.
    pub model: &'a dyn Decoder,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The model, to methods that compute with its weights.
    pub lender: &'a dyn Lender,
    /// What [`StudyMeasure::material`](super::study::StudyMeasure::material) read.
    pub material: &'a str,
    /// Decides texts, answers and the beginning of edits.
    pub seed: Seed,
    /// `data.max_length`: tokens of a text at most.
    pub max_length: usize,
    /// `data.train_rows`: rows to learn from at most; 0 for all.
    pub train_rows: usize,
    /// `data.eval_rows`: rows to measure at most; 0 for all.
    pub eval_rows: usize,
    /// `eval.max_new_tokens`: tokens of an answer at most.
    pub max_new_tokens: usize,
    /// `eval.batch_size`: prompts that are decoded together at most.
    pub batch_size: usize,
}

impl StudyContext<'_> {
    /// Token ids of a text as a prompt has them.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>, TokenizerError> {
        self.tokenizer.encode(text, Specials::AsModel)
    }

    /// The text of token ids, without special tokens.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn decode(&self, ids: &[i64]) -> Result<String, TokenizerError> {
        self.tokenizer.decode(ids, true)
    }

    /// The end token, which answers of several lengths need.
    ///
    /// # Errors
    /// When there is none.
    pub fn end(&self) -> Result<i64> {
        self.tokenizer.eos().context("the tokenizer has no end token, which answers need")
    }
}

/// A model with the edits of a run, as trained.
pub struct EditedModel<'a> {
    /// The model.
    pub context: StudyContext<'a>,
    /// What was trained.
    pub spec: &'a AdaptSpec,
    /// The same with its parameters.
    pub adaptation: &'a dyn Adaptation,
}

impl EditedModel<'_> {
    /// What was trained, with its sets of interventions at these strengths.
    ///
    /// # Errors
    /// When there are not as many sets.
    pub fn at(&self, strengths: &[f64]) -> Result<Box<dyn Adaptation>> {
        let StudyContext { model, lender, seed, .. } = self.context;
        let spec = self.spec.with_strengths(strengths).context("strengths")?;
        let mut used = spec.build_on(model.dims(), lender, seed, model.options().1)?;
        used.params_mut().load(&self.adaptation.params().flat().detach());
        Ok(used)
    }

    /// Answers to each prompt, chosen greedily, of so many tokens at most; the end token is left out.
    ///
    /// # Errors
    /// When interventions overlap.
    pub fn answers(&self, prompts: &[&[i64]], most: usize) -> Result<Vec<Vec<i64>>> {
        self.context.answers(self.adaptation, prompts, most)
    }
}

impl StudyContext<'_> {
    /// Answers of the model with these edits to each prompt, chosen greedily, of so many tokens at most; the end token is left
    /// out.
    ///
    /// # Errors
    /// When interventions overlap.
    pub fn answers(&self, edits: &dyn Adaptation, prompts: &[&[i64]], most: usize) -> Result<Vec<Vec<i64>>> {
        let ends = self.tokenizer.answer_ends();
        let decoding = Decoding::default();
        let step = edits.begin(Mode::Eval);
        let generator = Generator {
            model: self.model,
            adaptation: Some(step.as_ref()),
            batch: self.batch_size,
            stop: Stopping { max_new: most, ends: ends.clone() },
            decoding: &decoding,
            seed: self.seed.0,
        };
        let answers = generator.run(prompts, &|_, _| false)?;
        let text = |ids: Vec<i64>| ids.into_iter().take_while(|id| !ends.contains(id)).collect();
        Ok(answers.into_iter().map(|answer| text(answer.ids)).collect())
    }
}
