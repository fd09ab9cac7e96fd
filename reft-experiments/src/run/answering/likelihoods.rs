//! Scoring without generating: how likely completions or choices are.

use rayon::prelude::*;
use reft_models::tokenizer::TokenizerError;

use super::evaluation::{AnsweredTask, EvalError, Evaluator};
use crate::data::encode::{Example, Text, encode};
use crate::data::own::conversation;
use crate::data::own::spec::TrainedTurns;
use crate::data::row::Row;
use crate::data::too_long::{LengthAction, RowUse, TooLong};
use crate::run::prediction::{ByLikelihood, Prediction};
use crate::score::chosen::LikeliestChoice;
use crate::tasks::Task;
use crate::train::likelihood::{self, Likelihood};

/// A likelihood, and whether the example was cut.
type CutLikelihood = (Likelihood, bool);

impl Evaluator<'_> {
    /// The likelihood of every row's completion.
    ///
    /// # Errors
    /// When a text cannot be tokenised or is longer than the model reads, or interventions overlap.
    pub fn completions(&self, task: &dyn Task, rows: &[Row]) -> Result<AnsweredTask, EvalError> {
        let tokenizer = &self.loaded.tokenizer;
        let (template, specials) = (self.template, self.template.specials());
        let example = |(index, row): (usize, &Row)| -> Result<Vec<Example>, TokenizerError> {
            let name = format!("{} row {index}", task.key());
            if !row.conversation.is_empty() {
                return conversation::examples(&row.conversation, TrainedTurns::Last, tokenizer, usize::MAX, &name);
            }
            let prompt = template.prompt(task, row, tokenizer)?;
            let text = Text { prompt, completion: task.completion(row), name };
            encode(&[text], &tokenizer.eos_text(), usize::MAX, |text| tokenizer.encode(text, specials))
        };
        let examples: Vec<Vec<Example>> = rows.par_iter().enumerate().map(example).collect::<Result<_, _>>()?;
        let (likelihoods, too_long) = self.likelihoods(task, examples.into_iter().flatten().collect())?;
        let prediction = |(row, likelihood): (&Row, (Likelihood, bool))| {
            let (Likelihood { log, tokens }, cut) = likelihood;
            let by = ByLikelihood { logs: vec![log], tokens, chosen_by_length: None };
            prediction(row, String::new(), None, by, cut)
        };
        Ok(AnsweredTask { predictions: rows.iter().zip(likelihoods).map(prediction).collect(), too_long })
    }

    /// The likeliest of every row's choices.
    ///
    /// # Errors
    /// The same.
    pub fn choices(&self, task: &dyn Task, rows: &[Row]) -> Result<AnsweredTask, EvalError> {
        let tokenizer = &self.loaded.tokenizer;
        let (template, specials) = (self.template, self.template.specials());
        let of_row = |(index, row): (usize, &Row)| -> Result<Vec<Example>, TokenizerError> {
            let prompt = template.prompt(task, row, tokenizer)?;
            let text = |choice: &String| {
                let (prompt, completion) = likelihood::joined(&prompt, choice);
                Text { prompt, completion, name: format!("{} row {index}", task.key()) }
            };
            let texts: Vec<Text> = row.choices.iter().map(text).collect();
            // No end token: a choice's likelihood is that of its own words.
            encode(&texts, "", usize::MAX, |text| tokenizer.encode(text, specials))
        };
        let examples: Vec<Vec<Example>> = rows.par_iter().enumerate().map(of_row).collect::<Result<_, _>>()?;
        let (likelihoods, too_long) = self.likelihoods(task, examples.into_iter().flatten().collect())?;
        let mut likelihoods = likelihoods.into_iter();
        let prediction = |row: &Row| {
            let of_row: Vec<(Likelihood, bool)> = likelihoods.by_ref().take(row.choices.len()).collect();
            let logs: Vec<f64> = of_row.iter().map(|(likelihood, _)| likelihood.log).collect();
            let between = common_start(&row.choices, &row.output, &row.answer);
            let texts: Vec<&str> = row.choices.iter().map(|choice| &choice[between..]).collect();
            let chosen = LikeliestChoice::of(&logs, &texts);
            let (said, correct) = (texts[chosen.plain].to_owned(), chosen.plain == row.right);
            let by_length = Some(chosen.by_characters == row.right);
            let by = ByLikelihood {
                logs,
                tokens: of_row.iter().map(|(of, _)| of.tokens).sum(),
                chosen_by_length: by_length,
            };
            prediction(row, said, Some(correct), by, of_row.iter().any(|(_, cut)| *cut))
        };
        Ok(AnsweredTask { predictions: rows.iter().map(prediction).collect(), too_long })
    }

    /// Likelihoods of examples; those that are longer than the maximum lose the beginning of their prompts, as in
    /// lm-evaluation-harness, and are counted.
    fn likelihoods(
        &self,
        task: &dyn Task,
        mut examples: Vec<Example>,
    ) -> Result<(Vec<CutLikelihood>, Option<TooLong>), EvalError> {
        let most = self.max_length.min(self.loaded.decoder.context());
        let mut cut = Vec::new();
        for example in &mut examples {
            let lost = example.ids.len().saturating_sub(most);
            cut.push(lost > 0);
            example.ids.drain(..lost);
            example.prompt = example.prompt.saturating_sub(lost);
        }
        let (model, tokens) = (self.loaded.decoder.as_ref(), self.tokens);
        let found = likelihood::of(model, self.adaptation, &examples, tokens)
            .map_err(|source| EvalError::Overlap { task: task.key(), source })?;
        let rows = cut.iter().filter(|&&cut| cut).count();
        let (fate, max_length) = (LengthAction::BeginningCut, most);
        let (task, of) = (task.key().to_owned(), examples.len());
        let too_long = TooLong { task, purpose: RowUse::Scoring, fate, rows, of, max_length, end: String::new() };
        Ok((found.into_iter().zip(cut).collect(), too_long.some()))
    }
}

/// Bytes between prompt and choice, which do not count for a choice's length.
fn common_start(choices: &[String], output: &str, answer: &str) -> usize {
    let between = output.strip_suffix(answer).map_or(0, str::len);
    if choices.iter().all(|choice| choice.as_bytes().starts_with(&output.as_bytes()[..between])) { between } else { 0 }
}

fn prediction(row: &Row, said: String, correct: Option<bool>, by: ByLikelihood, cut: bool) -> Prediction {
    let (instruction, input, expected) = (row.instruction.clone(), row.input.clone(), row.answer.clone());
    Prediction { instruction, input, answer: said.clone(), said, expected, correct, cut, likelihood: Some(by) }
}
