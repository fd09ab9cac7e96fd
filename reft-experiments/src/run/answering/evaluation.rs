//! Scoring a task by what a causal model generates: every answer, compared with the right one.

use rayon::prelude::*;
use reft_core::adaptation::{OverlapError, Step};
use reft_models::decode::{DecodeError, Generator, Stopping, stop};
use reft_models::tokenizer::{Specials, TokenizerError};

use crate::config::plan::{AnsweredBy, EvalPlan, RunPlan};
use crate::data::options::OptionsError;
use crate::data::row::Row;
use crate::data::too_long::{LengthAction, RowUse, TooLong, ending};
use crate::run::context::{BeyondContext, Context, ContextRequest, Remedy};
use crate::run::prediction::Prediction;
use crate::run::session::LoadedDecoder;
use crate::score::scoring::{Scoring, ScoringKind};
use crate::score::verdict::Verdicts;
use crate::tasks::Task;
use crate::tasks::labelled::LabelledTask;
use crate::tasks::template::PromptTemplate;

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
    /// Two interventions edit one token.
    #[error("{task}: {source}")]
    Overlap {
        /// The task.
        task: &'static str,
        /// What happened.
        source: OverlapError,
    },
    /// A row has no options to choose from.
    #[error("{task} row {}: {source}", row + 1)]
    Options {
        /// The task.
        task: &'static str,
        /// The row's number, from 0.
        row: usize,
        /// What is wrong with it.
        source: OptionsError,
    },
    /// A prompt is longer than the model reads.
    #[error(transparent)]
    Context(#[from] BeyondContext),
}

/// A task's rows, answered.
pub struct AnsweredTask {
    /// In the order of the rows.
    pub predictions: Vec<Prediction>,
    /// The prompts that were longer than the maximum and lost their ends; none if there are none.
    pub too_long: Option<TooLong>,
}

/// A model, with or without an adaptation, and how it answers.
pub struct Evaluator<'a> {
    /// The model.
    pub loaded: &'a LoadedDecoder,
    /// The adaptation, constraints met.
    pub adaptation: Option<&'a dyn Step>,
    /// How answers are generated.
    pub plan: &'a EvalPlan,
    /// Tokens of a prompt at most.
    pub max_length: usize,
    /// How a question is put.
    pub template: PromptTemplate,
    /// Decides what is drawn by chance.
    pub seed: u64,
    /// Tokens in one pass at most, where nothing is generated.
    pub tokens: usize,
}

impl<'a> Evaluator<'a> {
    /// Answers as a plan sets it.
    pub fn new(loaded: &'a LoadedDecoder, adaptation: Option<&'a dyn Step>, plan: &'a RunPlan) -> Self {
        let (max_length, template) = (plan.data.max_length, plan.data.template);
        Self {
            loaded,
            adaptation,
            plan: &plan.eval,
            max_length,
            template,
            seed: plan.seed,
            tokens: plan.train.micro_batch_tokens,
        }
    }

    /// Answers every row of a task. Prompts that are too long lose their ends, as in the reference library.
    ///
    /// # Errors
    /// When a text cannot be tokenised, interventions overlap, or the model's logits are NaN or infinite.
    pub fn answer(&self, task: &dyn Task, rows: &[Row]) -> Result<AnsweredTask, EvalError> {
        match task.scoring().kind() {
            ScoringKind::Likelihood => self.completions(task, rows),
            ScoringKind::Choices => self.choices(task, rows),
            _ if task.own().is_none() && self.plan.by == AnsweredBy::Likelihood => self.options(task, rows),
            ScoringKind::Answers | ScoringKind::Classes | ScoringKind::Numbers => self.generate(task, rows),
        }
    }

    /// Words for rows of a user's whose wanted answer has more tokens than may be said, and so cannot be; nothing where there are none,
    /// or nothing is said.
    ///
    /// # Errors
    /// When a text cannot be encoded.
    pub fn beyond_new_tokens(&self, task: &dyn Task, rows: &[Row]) -> Result<Option<String>, TokenizerError> {
        let most = self.plan.max_new_tokens;
        if task.own().is_none() || task.scoring().kind() != ScoringKind::Answers {
            return Ok(None);
        }
        // What is found in an answer stands at its end: all that is learned must be said before.
        let found = matches!(
            task.scoring(),
            Scoring::Number | Scoring::Letter | Scoring::After(_) | Scoring::Regex(_) | Scoring::Judge
        );
        let wanted: fn(&Row) -> &str = if found { |row| row.output.trim() } else { |row| row.answer.trim() };
        let tokenizer = &self.loaded.tokenizer;
        let tokens = |row: &Row| tokenizer.encode(wanted(row), Specials::None).map(|ids| ids.len());
        let lengths: Vec<usize> = rows.par_iter().map(tokens).collect::<Result<_, _>>()?;
        let beyond = lengths.iter().filter(|&&tokens| tokens > most).count();
        Ok((beyond > 0).then(|| {
            format!(
                "{}: {beyond} of {} wanted answers are longer than the {most} tokens of eval.max_new_tokens (up to {}): they cannot be said whole",
                task.key(),
                rows.len(),
                lengths.iter().max().unwrap_or(&0)
            )
        }))
    }

    /// What the model reads, and what of it a prefix takes.
    pub(super) fn context(&self) -> Context {
        let virtual_tokens = self.adaptation.map_or(0, Step::virtual_tokens);
        Context { tokens: self.loaded.decoder.context(), virtual_tokens }
    }

    /// Generates an answer to every row, whatever the task is scored by.
    ///
    /// # Errors
    /// The same.
    pub fn generate(&self, task: &dyn Task, rows: &[Row]) -> Result<AnsweredTask, EvalError> {
        let tokenizer = &self.loaded.tokenizer;
        let template =
            if rows.iter().any(|row| !row.conversation.is_empty()) { PromptTemplate::Chat } else { self.template };
        let encode = |row| template.encode(task, row, tokenizer);
        let mut prompts: Vec<Vec<i64>> = rows.par_iter().map(encode).collect::<Result<_, TokenizerError>>()?;
        let (cut, too_long) = self.shorten(task, rows, &mut prompts)?;
        let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
        let (context, max_new) = (self.context(), self.plan.max_new_tokens);
        let asked = ContextRequest { context, max_new, remedy: Remedy::MaxLength };
        asked.check(task.key(), &lengths, |row| rows[row].name(task.key(), row))?;
        // The longest first: the last passes then hold short prompts, and no straggler runs alone.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(prompts[index].len()));
        let ids: Vec<&[i64]> = order.iter().map(|&index| prompts[index].as_slice()).collect();
        let ends = match template {
            PromptTemplate::Task => tokenizer.answer_ends(),
            PromptTemplate::Chat => tokenizer.turn_ends(),
        };
        if let (PromptTemplate::Chat, Some(date)) = (template, tokenizer.chat_date()) {
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
            predictions[index] = Some(judge(task, &rows[index], stop::cut(stops, &said).to_owned(), cut[index]));
        }
        Ok(AnsweredTask { predictions: predictions.into_iter().flatten().collect(), too_long })
    }

    /// Cuts prompts to the maximum length; which of them, and how the first of these ended.
    fn shorten(
        &self,
        task: &dyn Task,
        rows: &[Row],
        prompts: &mut [Vec<i64>],
    ) -> Result<(Vec<bool>, Option<TooLong>), EvalError> {
        let max_length = self.max_length;
        let cut: Vec<bool> = prompts.iter().map(|ids| ids.len() > max_length).collect();
        let end = match prompts.iter().find(|ids| ids.len() > max_length) {
            Some(ids) => ending(&self.loaded.tokenizer.decode(&ids[max_length..], false)?),
            None => String::new(),
        };
        for ids in prompts.iter_mut() {
            ids.truncate(max_length);
        }
        let names = cut_names(task, rows, &cut);
        let (task, purpose, fate) = (task.key().to_owned(), RowUse::Scoring, LengthAction::Cut);
        let (rows, of) = (names.len(), prompts.len());
        let too_long = TooLong { task, purpose, fate, rows, of, max_length, named: Vec::new(), end };
        Ok((cut, too_long.naming(names.into_iter()).some()))
    }
}

/// What those of a task's rows are called that were cut.
fn cut_names(task: &dyn Task, rows: &[Row], cut: &[bool]) -> Vec<String> {
    let numbered = rows.iter().enumerate().zip(cut).filter(|(_, cut)| **cut);
    numbered.map(|((number, row), _)| row.name(task.key(), number)).collect()
}

/// The bytes of these tokens, where they are known.
fn spoken(bytes: Option<&[Vec<u8>]>, ids: &[i64]) -> Vec<u8> {
    let known = |&id: &i64| bytes?.get(usize::try_from(id).ok()?);
    ids.iter().filter_map(known).flatten().copied().collect()
}

fn judge(task: &dyn Task, row: &Row, said: String, cut: bool) -> Prediction {
    let answer = task.extract(&said);
    // Of scores none is right or wrong.
    let graded = task.labelled().is_none_or(LabelledTask::has_classes);
    let correct = graded.then(|| task.correct(row, &answer));
    let (instruction, input, expected) = (row.instruction.clone(), row.input.clone(), row.answer.clone());
    Prediction { instruction, input, said, answer, expected, correct, cut, likelihood: None }
}
