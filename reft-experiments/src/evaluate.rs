//! Scoring a task: generate every answer, compare, keep what was said.

use rayon::prelude::*;
use reft_core::adaptation::{OverlapError, Step};
use reft_models::decode::{Generator, Stopping};
use reft_models::tokenizer::TokenizerError;

use crate::alpaca_eval::outputs::ModelOutput;
use crate::config::plan::EvalPlan;
use crate::data::row::Row;
use crate::data::template::Template;
use crate::data::too_long::{Fate, TooLong, Use, ending};
use crate::prediction::Prediction;
use crate::score::verdict::Verdicts;
use crate::session::Loaded;
use crate::store::record::Score;
use crate::tasks::Task;

/// Why a task cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// Two interventions edit one token.
    #[error(transparent)]
    Overlap(#[from] OverlapError),
    /// A prompt cannot be encoded or an answer decoded.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// A task's rows, answered.
pub struct Answered {
    /// In the order of the rows.
    pub predictions: Vec<Prediction>,
    /// The prompts that were longer than the maximum and lost their ends; none if there are none.
    pub too_long: Option<TooLong>,
}

/// A model, with or without an adaptation, and how it answers.
pub struct Evaluator<'a> {
    /// The model.
    pub loaded: &'a Loaded,
    /// The adaptation, constraints met.
    pub adaptation: Option<&'a dyn Step>,
    /// How answers are generated.
    pub plan: &'a EvalPlan,
    /// Tokens of a prompt at most.
    pub max_length: usize,
    /// How a question is put.
    pub template: Template,
    /// Decides what is drawn by chance.
    pub seed: u64,
}

impl Evaluator<'_> {
    /// Answers every row of a task. Prompts that are too long lose their ends, as in the reference library.
    ///
    /// # Errors
    /// When a text cannot be tokenised, or interventions overlap.
    pub fn answer(&self, task: &dyn Task, rows: &[Row]) -> Result<Answered, EvalError> {
        let tokenizer = &self.loaded.tokenizer;
        let template = self.template;
        let encode = |row| template.encode(task, row, tokenizer);
        let mut prompts: Vec<Vec<i64>> = rows.par_iter().map(encode).collect::<Result<_, TokenizerError>>()?;
        let (cut, too_long) = self.shorten(task, &mut prompts)?;
        // The longest first: the last passes then hold short prompts, and no straggler runs alone.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(prompts[index].len()));
        let ids: Vec<&[i64]> = order.iter().map(|&index| prompts[index].as_slice()).collect();
        let generator = Generator {
            model: self.loaded.decoder.as_ref(),
            adaptation: self.adaptation,
            batch: self.plan.batch_size,
            stop: Stopping { max_new: self.plan.max_new_tokens, ends: tokenizer.ends().to_vec() },
            decoding: &self.plan.decoding,
            seed: self.seed,
        };
        // A hopeless beam must go on: another may win by a score that its end would have changed.
        let early = self.plan.early_verdict && self.plan.decoding.beams == 1;
        let sought = |row| if early { task.sought(row) } else { None };
        let verdicts = match rows.first().and_then(sought) {
            Some(_) => Verdicts::new(rows.iter().filter_map(sought), tokenizer.texts()),
            None => Verdicts::new([].into_iter(), &[]),
        };
        let stop = &self.plan.decoding.stop;
        let decided = |place: usize, generated: &[i64]| {
            let sought = sought(&rows[order[place]]);
            if sought.is_none() && stop.is_empty() {
                return false;
            }
            let Ok(said) = tokenizer.decode(generated, true) else { return false };
            let left = self.plan.max_new_tokens - generated.len();
            sought.is_some_and(|sought| verdicts.hopeless(&sought, &said, left)) || stops(stop, &said)
        };
        let answers = generator.run(&ids, &decided)?;
        let mut predictions: Vec<Option<Prediction>> = vec![None; rows.len()];
        for (&index, answer) in order.iter().zip(answers) {
            predictions[index] = Some(judge(task, &rows[index], tokenizer.decode(&answer.ids, true)?, cut[index]));
        }
        Ok(Answered { predictions: predictions.into_iter().flatten().collect(), too_long })
    }

    /// Cuts prompts to the maximum length; which of them, and how the first of these ended.
    fn shorten(&self, task: &dyn Task, prompts: &mut [Vec<i64>]) -> Result<(Vec<bool>, Option<TooLong>), EvalError> {
        let max_length = self.max_length;
        let cut: Vec<bool> = prompts.iter().map(|ids| ids.len() > max_length).collect();
        let end = match prompts.iter().find(|ids| ids.len() > max_length) {
            Some(ids) => ending(&self.loaded.tokenizer.decode(&ids[max_length..], false)?),
            None => String::new(),
        };
        prompts.iter_mut().for_each(|ids| ids.truncate(max_length));
        let rows = cut.iter().filter(|&&cut| cut).count();
        let (task, purpose, fate) = (task.key().to_owned(), Use::Scoring, Fate::Cut);
        let too_long = TooLong { task, purpose, fate, rows, of: prompts.len(), max_length, end };
        Ok((cut, too_long.some()))
    }
}

/// Whether a text ends with one that stops it.
pub fn stops(stop: &[String], said: &str) -> bool {
    stop.iter().any(|end| said.ends_with(end.as_str()))
}

fn judge(task: &dyn Task, row: &Row, said: String, cut: bool) -> Prediction {
    let answer = task.extract(&said);
    let correct = Some(task.correct(row, &answer));
    let (instruction, input, expected) = (row.instruction.clone(), row.input.clone(), row.answer.clone());
    Prediction { instruction, input, said, answer, expected, correct, cut }
}

/// Right answers among the predictions.
pub fn score(predictions: &[Prediction]) -> Score {
    Score::Counts {
        correct: predictions.iter().filter(|prediction| prediction.correct == Some(true)).count(),
        n: predictions.len(),
        cut: predictions.iter().filter(|prediction| prediction.cut).count(),
    }
}

/// The predictions as a file of model outputs, to be judged.
pub fn outputs(predictions: &[Prediction], dataset: &str, generator: &str) -> Vec<ModelOutput> {
    let output = |prediction: &Prediction| ModelOutput {
        dataset: Some(dataset.to_owned()),
        instruction: prediction.instruction.clone(),
        output: prediction.answer.clone(),
        generator: generator.to_owned(),
    };
    predictions.iter().map(output).collect()
}
