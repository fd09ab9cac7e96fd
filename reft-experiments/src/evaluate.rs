//! Scoring a task: generate every answer, compare, keep what was said.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use reft_core::adaptation::Step;
use reft_models::decode::{DecodeError, Generator, Stopping, stop};
use reft_models::tokenizer::TokenizerError;
use serde::{Deserialize, Serialize};

use crate::alpaca_eval::outputs::ModelOutput;
use crate::config::plan::EvalPlan;
use crate::context::{self, BeyondContext};
use crate::data::row::Row;
use crate::data::template::Template;
use crate::score::verdict::Verdicts;
use crate::session::Loaded;
use crate::store::record::Score;
use crate::tasks::Task;

/// One row's answer, as `predictions-TASK.jsonl` keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prediction {
    /// What the model was asked.
    pub instruction: String,
    /// What it said, special tokens left out; cut where it could no longer become right, if `eval.early_verdict`.
    pub said: String,
    /// The answer found in it.
    pub answer: String,
    /// The right answer.
    pub expected: String,
    /// Whether they agree.
    pub correct: bool,
}

/// Why a task cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// Two interventions edit one token, or logits are not finite.
    #[error("{task}{}: {source}", row.map_or(String::new(), |row| format!(" row {}", row + 1)))]
    Decode {
        /// The task.
        task: &'static str,
        /// The row's number, from 0, where it is one row's fault.
        row: Option<usize>,
        /// What happened.
        source: DecodeError,
    },
    /// A prompt cannot be encoded or an answer decoded.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A prompt is longer than the model reads.
    #[error(transparent)]
    Context(#[from] BeyondContext),
    /// The predictions cannot be written.
    #[error("{path}: {source}: check the path, its permissions and the space left")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
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
    /// Answers every row of a task; predictions in the order of the rows.
    ///
    /// # Errors
    /// When a text cannot be tokenised, interventions overlap, or the model's logits are NaN or infinite.
    pub fn answer(&self, task: &dyn Task, rows: &[Row]) -> Result<Vec<Prediction>, EvalError> {
        let tokenizer = &self.loaded.tokenizer;
        let (template, max_length) = (self.template, self.max_length);
        let encode = |row| template.encode(task, row, tokenizer, max_length);
        let prompts: Vec<Vec<i64>> = rows.par_iter().map(encode).collect::<Result<_, TokenizerError>>()?;
        self.check_context(task, &prompts)?;
        // The longest first: the last passes then hold short prompts, and no straggler runs alone.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(prompts[index].len()));
        let ids: Vec<&[i64]> = order.iter().map(|&index| prompts[index].as_slice()).collect();
        let ends = match template {
            Template::Task => tokenizer.ends().to_vec(),
            Template::Chat => tokenizer.turn_ends(),
        };
        if let (Template::Chat, Some(date)) = (template, tokenizer.chat_date()) {
            eprintln!("the chat template writes the date {date} into prompts: REFT_DATE={date} keeps it");
        }
        let generator = Generator {
            model: self.loaded.decoder.as_ref(),
            adaptation: self.adaptation,
            batch: self.plan.batch_size,
            stop: Stopping { max_new: self.plan.max_new_tokens, ends },
            decoding: &self.plan.decoding,
            seed: self.seed,
        };
        let continued = ids.iter().map(|prompt| tokenizer.after(prompt)).collect::<Result<Vec<_>, _>>()?;
        // A hopeless beam must go on: another may win by a score that its end would have changed.
        let early = self.plan.early_verdict && self.plan.decoding.beams == 1;
        let sought = |row| if early { task.sought(row) } else { None };
        let bytes = rows.first().and_then(sought).and_then(|_| tokenizer.token_bytes());
        let verdicts = Verdicts::new(rows.iter().filter_map(sought), bytes);
        let stops = &self.plan.decoding.stop;
        let decided = |place: usize, generated: &[i64]| {
            let sought = sought(&rows[order[place]]);
            if sought.is_none() && stops.is_empty() {
                return false;
            }
            let Ok(said) = continued[place].text(generated) else { return false };
            let left = self.plan.max_new_tokens - generated.len();
            let hopeless =
                |sought| verdicts.hopeless(&sought, stop::settled(stops, &said), &spoken(bytes, generated), left);
            stop::find(stops, &said).is_some() || sought.is_some_and(hopeless)
        };
        let answers = generator.run(&ids, &decided).map_err(|source| {
            let row = source.prompt().map(|place| order[place]);
            EvalError::Decode { task: task.key(), row, source }
        })?;
        let mut predictions: Vec<Option<Prediction>> = vec![None; rows.len()];
        for ((&index, answer), continued) in order.iter().zip(answers).zip(&continued) {
            let said = continued.text(&answer.ids)?;
            predictions[index] = Some(judge(task, &rows[index], stop::cut(stops, &said).to_owned()));
        }
        Ok(predictions.into_iter().flatten().collect())
    }

    /// Refuses prompts that are longer than the model reads, and says how many answers could be.
    fn check_context(&self, task: &dyn Task, prompts: &[Vec<i64>]) -> Result<(), BeyondContext> {
        let context = self.loaded.decoder.context();
        for (row, ids) in prompts.iter().enumerate() {
            context::check_row(&format!("{} row {row}", task.key()), ids.len(), context)?;
        }
        let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
        if let Some(beyond) = context::answers_beyond(&lengths, self.plan.max_new_tokens, context) {
            eprintln!("{}: {beyond}", task.key());
        }
        Ok(())
    }
}

/// The bytes of these tokens, where they are known.
fn spoken(bytes: Option<&[Vec<u8>]>, ids: &[i64]) -> Vec<u8> {
    let known = |&id: &i64| bytes?.get(usize::try_from(id).ok()?);
    ids.iter().filter_map(known).flatten().copied().collect()
}

fn judge(task: &dyn Task, row: &Row, said: String) -> Prediction {
    let answer = task.extract(&said);
    let correct = task.correct(row, &answer);
    Prediction { instruction: row.instruction.clone(), said, answer, expected: row.answer.clone(), correct }
}

/// Right answers among the predictions.
pub fn score(predictions: &[Prediction]) -> Score {
    Score::Counts { correct: predictions.iter().filter(|prediction| prediction.correct).count(), n: predictions.len() }
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

/// Predictions that were kept.
///
/// # Errors
/// When the file is missing or damaged.
pub fn load(path: &Path) -> Result<Vec<Prediction>, EvalError> {
    let error = |source| EvalError::Io { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(error)?;
    let lines = text.lines().map(|line| serde_json::from_str(line).map_err(|cause| error(cause.into())));
    lines.collect()
}

/// Keeps the predictions, one JSON object a line.
///
/// # Errors
/// When the file system refuses.
pub fn save(predictions: &[Prediction], path: &Path) -> Result<(), EvalError> {
    let line = |prediction| serde_json::to_string(prediction).expect("plain data") + "\n";
    let lines: String = predictions.iter().map(line).collect();
    crate::atomic::write(path, lines.as_bytes()).map_err(|source| EvalError::Io { path: path.to_owned(), source })
}
