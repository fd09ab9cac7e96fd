//! Scoring without generating: how likely completions or choices are.

use rayon::prelude::*;
use reft_models::tokenizer::TokenizerError;

use super::evaluation::{AnsweredTask, EvalError, Evaluator};
use crate::data::encode::{Example, Text, encode};
use crate::data::options;
use crate::data::own::conversation;
use crate::data::own::rows::RowParts;
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
            let name = row.name(task.key(), index);
            if !row.conversation.is_empty() {
                return conversation::examples(&row.conversation, TrainedTurns::Last, tokenizer, usize::MAX, &name);
            }
            let prompt = template.prompt(task, row, tokenizer)?;
            let text = Text { prompt, completion: task.completion(row), name };
            encode(&[text], &tokenizer.eos_text(), usize::MAX, |text| tokenizer.encode(text, specials))
        };
        let examples: Vec<Vec<Example>> = rows.par_iter().enumerate().map(example).collect::<Result<_, _>>()?;
        let (likelihoods, too_long) = self.likelihoods(task, rows.len(), examples.into_iter().flatten().collect())?;
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
                Text { prompt, completion, name: row.name(task.key(), index) }
            };
            let texts: Vec<Text> = row.choices.iter().map(text).collect();
            // No end token: a choice's likelihood is that of its own words.
            encode(&texts, "", usize::MAX, |text| tokenizer.encode(text, specials))
        };
        let examples: Vec<Vec<Example>> = rows.par_iter().enumerate().map(of_row).collect::<Result<_, _>>()?;
        let (likelihoods, too_long) = self.likelihoods(task, rows.len(), examples.into_iter().flatten().collect())?;
        let mut likelihoods = likelihoods.into_iter();
        let prediction = |row: &Row| {
            let of_row: Vec<(Likelihood, bool)> = likelihoods.by_ref().take(row.choices.len()).collect();
            let logs: Vec<f64> = of_row.iter().map(|(likelihood, _)| likelihood.log).collect();
            let between = match task.own().map(|set| &set.parts) {
                Some(RowParts::Completion { between, .. }) => between.len(),
                Some(RowParts::Conversation(_) | RowParts::Labelled { .. }) | None => {
                    common_start(&row.choices, &row.output, &row.answer)
                }
            };
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

    /// The likeliest of the completions that a row's answer format allows, after the prompt that answers in words have.
    ///
    /// # Errors
    /// The same, and when a row names no answer format or another answer than those.
    pub fn options(&self, task: &dyn Task, rows: &[Row]) -> Result<AnsweredTask, EvalError> {
        let with_options = |(index, row): (usize, &Row)| {
            let options =
                options::of(row).map_err(|source| EvalError::Options { task: task.key(), row: index, source })?;
            let completion = |answer: &String| task.completion(&Row { answer: answer.clone(), ..row.clone() });
            let (output, choices) = (task.completion(row), options.answers.iter().map(completion).collect());
            Ok(Row { output, choices, right: options.right, ..row.clone() })
        };
        let rows: Vec<Row> = rows.iter().enumerate().map(with_options).collect::<Result<_, EvalError>>()?;
        self.choices(task, &rows)
    }

    /// Likelihoods of examples; those that are longer than the maximum lose the beginning of their prompts, as in
    /// lm-evaluation-harness; the rows, of which there are so many, that have such are counted and named.
    fn likelihoods(
        &self,
        task: &dyn Task,
        rows: usize,
        mut examples: Vec<Example>,
    ) -> Result<(Vec<CutLikelihood>, Option<TooLong>), EvalError> {
        let most = self.max_length.min(self.context().room());
        let mut cut = Vec::new();
        for example in &mut examples {
            let lost = example.ids.len().saturating_sub(most);
            cut.push(lost > 0);
            example.ids.drain(..lost);
            example.prompt = example.prompt.saturating_sub(lost);
        }
        // Of a row's choices each may be too long.
        let mut names: Vec<String> =
            examples.iter().zip(&cut).filter(|(_, cut)| **cut).map(|(example, _)| example.name.clone()).collect();
        names.dedup();
        let (model, tokens) = (self.loaded.decoder.as_ref(), self.tokens);
        let found = likelihood::of(model, self.adaptation, &examples, tokens)
            .map_err(|source| EvalError::Overlap { task: task.key(), source })?;
        let (task, end) = (task.key().to_owned(), String::new());
        let (purpose, fate, max_length) = (RowUse::Scoring, LengthAction::BeginningCut, most);
        let too_long = TooLong { task, purpose, fate, rows: names.len(), of: rows, max_length, named: Vec::new(), end };
        Ok((found.into_iter().zip(cut).collect(), too_long.naming(names.into_iter()).some()))
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
