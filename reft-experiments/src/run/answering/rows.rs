//! The rows of a causal model's run: read, limited, identified, and made into training examples.

use std::cell::RefCell;

use anyhow::{Error, Result, bail, ensure};
use rayon::prelude::*;
use reft_core::AdaptSpec;
use reft_core::rng::Seed;

use super::CausalExperiment;
use crate::config::plan::RunPlan;
use crate::data::data_file::DataFile;
use crate::data::encode::{Example, Text, encode};
use crate::data::equal_choices;
use crate::data::error::DataError;
use crate::data::left_out::LeftOut;
use crate::data::overlap::Overlap;
use crate::data::own::conversation;
use crate::data::row::{Row, limited};
use crate::data::source::DataSources;
use crate::data::split::{Split, fingerprint};
use crate::data::too_long::{LengthAction, RowUse, TooLong};
use crate::run::context::{self, Context};
use crate::run::experiment::{Experiment, RunRows};
use crate::run::folders::split_files;
use crate::run::session::{LoadedDecoder, Session};
use crate::tasks::TaskId;
use crate::tasks::template::PromptTemplate;
use crate::train::error::TrainError;
use crate::train::objective::{RowError, TrainingText};
use crate::train::sequences::Sequences;

/// The rows of a run.
pub struct CausalRows {
    pub(super) plan: RunPlan,
    train: Vec<(TaskId, Row)>,
    /// Dev rows to validate on; none where `train.validation` is off.
    dev: Vec<(TaskId, Row)>,
    /// Rows to score, by task.
    pub(super) eval: Vec<(TaskId, Vec<Row>)>,
    left_out: Vec<LeftOut>,
    /// Which files of folders are which split's.
    folders: Vec<String>,
    files: Vec<DataFile>,
}

/// The rows of a run as tokens.
pub(super) struct RunExamples {
    /// To train on.
    pub examples: Vec<Sequences>,
    /// To validate on; none where `train.validation` is off.
    pub dev: Vec<Sequences>,
    /// Training rows that were too long.
    pub too_long: Vec<TooLong>,
}

impl CausalRows {
    /// Reads and limits the rows of a plan.
    ///
    /// # Errors
    /// When data is missing or damaged, or a task has no rows.
    pub fn read(plan: &RunPlan, sources: &DataSources) -> Result<Self> {
        let data = &plan.data;
        let sources = &sources.afresh();
        let mut train = Vec::new();
        for &id in data.train.iter().filter(|_| plan.adapt.is_some()) {
            let mut rows = rows_of(plan, id, &plan.training_split(), sources)?;
            if rows.is_empty() {
                bail!("task {}: no rows to train on are left once the dev rows are held out: give more rows", id.key());
            }
            rows.truncate(limited(rows.len(), data.train_rows));
            train.extend(rows.into_iter().map(|row| (id, row)));
        }
        let mut dev = Vec::new();
        if let (Some(validation), Some(_)) = (plan.train.validation, &plan.adapt) {
            for &id in &data.train {
                let mut rows = rows_of(plan, id, &Split::Dev, sources)?;
                rows.truncate(limited(rows.len(), validation.rows));
                dev.extend(rows.into_iter().map(|row| (id, row)));
            }
            if dev.is_empty() {
                bail!(
                    "train.validation: there are no dev rows (a tenth of the training file): give more rows, or leave it out"
                );
            }
        }
        let eval = data.eval.iter().map(|&id| Ok((id, scored(plan, id, sources)?))).collect::<Result<_>>()?;
        let (left_out, folders) = (left_out(plan, sources)?, split_files(plan, sources)?);
        Ok(Self { plan: plan.clone(), train, dev, eval, left_out, folders, files: sources.files() })
    }

    /// Training and dev rows as tokens.
    ///
    /// # Errors
    /// When the tokenizer or the chat template refuses a row, one is longer than the model's context, or none has an answer within
    /// the maximum length.
    pub(super) fn encode(&self, loaded: &LoadedDecoder) -> Result<RunExamples> {
        if let Some(unlearned) = self.unlearned_turns() {
            eprintln!("{unlearned}");
        }
        let (examples, too_long) = self.examples(loaded)?;
        let dev = self.dev_examples(loaded)?;
        Ok(RunExamples { examples, dev, too_long })
    }

    /// Words for a user's data set whose prompts and completions have nothing between them, in any row: the two are one word then.
    fn joined(&self) -> Option<String> {
        if self.plan.data.template == PromptTemplate::Chat {
            return None;
        }
        let text = |(id, row): &(TaskId, Row)| (id.task().prompt(row), id.task().completion(row));
        let joins = |row: &&(TaskId, Row)| {
            let (prompt, completion) = text(row);
            let ends = [prompt.chars().next_back(), completion.chars().next()];
            ends.iter().all(|end| end.is_some_and(|end| end.is_ascii_graphic()))
        };
        let of_user = |(id, row): &&(TaskId, Row)| id.task().own().is_some() && row.conversation.is_empty();
        let (id, row) = self.train.iter().find(of_user)?;
        let all = self.train.iter().filter(of_user).all(|row| joins(&row));
        let (prompt, completion) = text(&(*id, row.clone()));
        let end: String = prompt.chars().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect();
        let begin: String = completion.chars().take(20).collect();
        all.then(|| {
            format!(
                "{}: nothing stands between prompt and completion (`{end}{begin}`): end the prompt with a space or a line break, such as \
                 \"{{{{ question }}}}\\n\"",
                id.key()
            )
        })
    }

    /// Words for conversations that go on after the assistant's last turn: what follows is not learned.
    fn unlearned_turns(&self) -> Option<String> {
        let goes_on = |row: &&Row| {
            !row.conversation.is_empty()
                && conversation::turns(&row.conversation).last().is_some_and(|turn| turn["role"] != "assistant")
        };
        let going_on: Vec<&Row> = self.train.iter().map(|(_, row)| row).filter(goes_on).collect();
        let first = &going_on.first()?.place;
        let (count, of) = (going_on.len(), self.train.len());
        Some(format!(
            "{count} of {of} conversations go on after the assistant's last turn ({first} first): that is not learned"
        ))
    }

    /// Refuses rows to score whose conversations the chat template refuses: training would be over by then.
    pub(super) fn check_prompts(&self, loaded: &LoadedDecoder) -> Result<()> {
        let mut rows = self.eval.iter().flat_map(|(id, rows)| rows.iter().map(move |row| (id, row)));
        let put = |(id, row): (&TaskId, &Row)| self.plan.data.template.prompt(id.task(), row, &loaded.tokenizer);
        rows.try_for_each(|row| {
            let place = &row.1.place;
            ensure!(
                !put(row)?.is_empty(),
                "{place}: the chat template writes nothing before the answer: take another one"
            );
            Ok(())
        })
    }

    /// Training rows as tokens; rows whose answer lies beyond the maximum length are left out. These are counted, and those
    /// whose answer loses its end.
    fn examples(&self, loaded: &LoadedDecoder) -> Result<(Vec<Sequences>, Vec<TooLong>)> {
        let max_length = self.plan.data.max_length;
        let examples = self.encoded(&self.train, loaded)?;
        let of = examples.len();
        let (examples, beyond): (Vec<Sequences>, Vec<Sequences>) = examples.into_iter().partition(is_answered);
        let tasks: Vec<&str> = self.plan.data.train.iter().map(|id| id.key()).collect();
        let too_long = |fate, rows: Vec<&Sequences>| {
            let (task, purpose, end) = (tasks.join("+"), RowUse::Training, String::new());
            let names = rows.iter().filter_map(|row| row.adapted.first()).map(|example| example.name.clone());
            TooLong { task, purpose, fate, rows: rows.len(), of, max_length, named: Vec::new(), end }
                .naming(names)
                .some()
        };
        let lost = |row: &&Sequences| row.adapted.iter().any(|example| example.lost > 0);
        let cut = examples.iter().filter(lost).collect();
        let too_long: Vec<TooLong> =
            [too_long(LengthAction::LeftOut, beyond.iter().collect()), too_long(LengthAction::Cut, cut)]
                .into_iter()
                .flatten()
                .collect();
        for rows in &too_long {
            eprintln!("{rows}");
        }
        if let Some(endless) = self.endless(&examples, loaded) {
            eprintln!("{endless}");
        }
        if examples.is_empty() {
            return Err(TrainError::NoLabels { max_length }.into());
        }
        Ok((examples, too_long))
    }

    /// Whether some rows are conversations, or are put as ones.
    pub(super) fn has_conversations(&self) -> bool {
        let scored = self.eval.iter().flat_map(|(_, rows)| rows);
        let mut rows = self.train.iter().chain(&self.dev).map(|(_, row)| row).chain(scored);
        self.plan.data.template == PromptTemplate::Chat || rows.any(|row| !row.conversation.is_empty())
    }

    /// Words for turns that the chat template writes without an end: a model does not learn from them to stop.
    fn endless(&self, examples: &[Sequences], loaded: &LoadedDecoder) -> Option<String> {
        if self.train.iter().all(|(_, row)| row.conversation.is_empty()) {
            return None;
        }
        let ends = loaded.tokenizer.turn_ends();
        let all: Vec<&Example> = examples.iter().flat_map(|row| &row.adapted).collect();
        let endless = |example: &&&Example| example.lost == 0 && example.ids.last().is_none_or(|id| !ends.contains(id));
        let endless: Vec<&&Example> = all.iter().filter(endless).collect();
        let first = &endless.first()?.name;
        Some(format!(
            "{} of {} answers have no end token, since the model's chat template writes none there ({first} first): the model does not \
             learn from them to stop; add a turn of the user's behind them, or take a model with another template",
            endless.len(),
            all.len()
        ))
    }

    /// Dev rows as tokens: those of whose answer something lies within the maximum length.
    fn dev_examples(&self, loaded: &LoadedDecoder) -> Result<Vec<Sequences>> {
        let examples = self.encoded(&self.dev, loaded)?;
        let of = examples.len();
        let examples: Vec<Sequences> = examples.into_iter().filter(is_answered).collect();
        if examples.len() < of {
            let left_out = of - examples.len();
            eprintln!("{left_out} of {of} dev rows are longer than data.max_length and left out of train.validation");
        }
        if examples.is_empty() && of > 0 {
            bail!(
                "train.validation: no dev row has an answer within data.max_length: raise it, or leave validation out"
            );
        }
        Ok(examples)
    }

    /// Rows as the sequences that the objective makes of them; of a conversation, a row for each turn that is trained.
    fn encoded(&self, rows: &[(TaskId, Row)], loaded: &LoadedDecoder) -> Result<Vec<Sequences>> {
        let (tokenizer, template, max_length) = (&loaded.tokenizer, self.plan.data.template, self.plan.data.max_length);
        let (eos, tokenise) = (tokenizer.eos_text(), |text: &str| tokenizer.encode(text, template.specials()));
        let (spec, turns) =
            (&self.plan.train.objective, |row: &&(usize, &(TaskId, Row))| !row.1.1.conversation.is_empty());
        let sequences = |example: Example, row: &Row, prompt: Option<String>| {
            let text = TrainingText { row, prompt, eos: &eos, max_length, tokenise: &tokenise };
            spec.objective().sequences(example, &text).map_err(|error| match error {
                RowError::Tokenizer(error) => error.into(),
                error @ RowError::Unfit { .. } => Error::new(error).context(format!("train.objective: {}", spec.key())),
            })
        };
        let of_text = |&(index, (id, row)): &(usize, &(TaskId, Row))| -> Result<Sequences> {
            let prompt = template.prompt(id.task(), row, tokenizer)?;
            let (completion, name) = (id.task().completion(row), row.name(id.key(), index));
            let text = Text { prompt: prompt.clone(), completion, name };
            let example = encode(&[text], &eos, max_length, tokenise)?.remove(0);
            sequences(example, row, Some(prompt))
        };
        let of_turns = |&(index, (id, row)): &(usize, &(TaskId, Row))| -> Result<Vec<Sequences>> {
            let trained = id.task().own().map(|set| set.trained).unwrap_or_default();
            let name = row.name(id.key(), index);
            let turns = conversation::examples(&row.conversation, trained, tokenizer, max_length, &name);
            let turns = turns?.into_iter();
            turns.map(|example| sequences(example, row, None)).collect()
        };
        let rows: Vec<(usize, &(TaskId, Row))> = rows.iter().enumerate().collect();
        let mut made = rows.par_iter().filter(|row| !turns(row)).map(of_text).collect::<Result<Vec<_>>>()?;
        let conversations = rows.iter().filter(turns).map(of_turns).collect::<Result<Vec<_>>>()?;
        made.extend(conversations.into_iter().flatten());
        let virtual_tokens = self.plan.adapt.as_ref().map_or(0, AdaptSpec::virtual_tokens);
        let context = Context { tokens: loaded.decoder.context(), virtual_tokens };
        for example in made.iter().filter(|row| is_answered(row)).flat_map(|row| row.adapted.iter().chain(&row.base)) {
            context::check_row(&example.name, example.ids.len(), context)?;
        }
        Ok(made)
    }
}

impl RunRows for CausalRows {
    fn fingerprint(&self) -> String {
        let trained = self.train.iter().chain(&self.dev).map(|(_, row)| row);
        fingerprint(trained.chain(self.eval.iter().flat_map(|(_, rows)| rows)))
    }

    fn warnings(&self) -> Vec<String> {
        let split = self.plan.data.eval_split.scored();
        let trained = || self.train.iter().map(|(_, row)| row);
        let of = |(id, rows): &(TaskId, Vec<Row>)| {
            [Overlap::new(rows, trained()).describe(id.key(), split.name()), equal_choices::describe(id.key(), rows)]
        };
        self.folders.iter().cloned().chain(self.joined()).chain(self.eval.iter().flat_map(of).flatten()).collect()
    }

    fn files(&self) -> &[DataFile] {
        &self.files
    }

    fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    fn load(self: Box<Self>, session: &mut Session) -> Result<Box<dyn Experiment>> {
        let loaded = session.load(&self.plan)?;
        Ok(Box::new(CausalExperiment { rows: *self, loaded, encoded: RefCell::default() }))
    }
}

/// Whether something of every answer in these sequences is within the maximum length.
fn is_answered(row: &Sequences) -> bool {
    row.adapted.iter().all(|example| example.labels() > 0)
}

/// The rows of a split. The validation rows of a labelled task are split by the run's seed, as for an encoder: the watched ones
/// are its dev rows.
fn rows_of(plan: &RunPlan, id: TaskId, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError> {
    let kind = plan.data.source;
    let Some(task) = id.task().labelled() else { return id.task().rows(kind, split, sources) };
    match split {
        Split::Train | Split::TrainWithoutDev => task.training(kind, sources),
        Split::Dev => Ok(task.validation(kind, sources, Seed(plan.seed))?.watched),
        Split::Test(selection) => Ok(task.validation(kind, sources, Seed(plan.seed))?.held.open(selection).to_vec()),
    }
}

/// What the files of tasks with labels and of the user's have beside rows.
fn left_out(plan: &RunPlan, sources: &DataSources) -> Result<Vec<LeftOut>, DataError> {
    let mut tasks: Vec<TaskId> = plan.data.train.iter().chain(&plan.data.eval).copied().collect();
    tasks.sort();
    tasks.dedup();
    let of = |id: TaskId| match (id.task().labelled(), id.task().own()) {
        (Some(task), _) => task.left_out(plan.data.source, sources),
        (None, Some(set)) => set.left_out(sources),
        (None, None) => Ok(Vec::new()),
    };
    Ok(tasks.into_iter().map(of).collect::<Result<Vec<_>, _>>()?.concat())
}

/// The rows of a task that a plan scores.
///
/// # Errors
/// When data is missing or damaged, or there are none.
pub fn scored(plan: &RunPlan, id: TaskId, sources: &DataSources) -> Result<Vec<Row>> {
    let mut rows = rows_of(plan, id, &plan.data.eval_split.scored(), sources)?;
    if rows.is_empty() {
        bail!(
            "task {}: no rows to score: a tenth of the training file are its dev rows; give more rows, or choose another \
             data.eval_split",
            id.key()
        );
    }
    rows.truncate(limited(rows.len(), plan.data.eval_rows));
    Ok(rows)
}
