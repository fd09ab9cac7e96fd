//! Rows of a file answered by a trained model, in the way that it was trained: what `reft predict` does.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use reft_core::adaptation::Mode;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::answering::evaluation::Evaluator;
use super::answering::saved::{DecoderRequest, OpenedDecoder};
use super::classifying::saved::Classifier;
use super::prediction::{Prediction, graded};
use super::saved::SavedFiles;
use super::saved_task::SavedTask;
use crate::config::plan::{DeviceSpec, Dtype, RunPlan};
use crate::data::labels::Labels;
use crate::data::own::asked::AskedRow;
use crate::data::own::spec::DataSpec;
use crate::data::row::Row;
use crate::data::too_long::TooLong;
use crate::score::metric::LabelledPredictions;
use crate::score::scoring::ScoringKind;
use crate::store::record::Score;
use crate::tasks::Task;
use crate::tasks::own::OwnTask;
use crate::train::classification::Taken;

/// What is to be answered, and by what.
pub struct Request<'a> {
    /// What the model was trained for.
    pub kept: &'a SavedTask,
    /// The task of these that the rows are of.
    pub spec: DataSpec,
    /// The folder of the adapter, or of a head that was trained alone.
    pub folder: &'a Path,
    /// The rows: a file, or a folder of files.
    pub rows: &'a Path,
    /// Another base model than the one it was trained on.
    pub model: Option<&'a str>,
    /// Another chat template than the one that it was trained with.
    pub chat_template: Option<&'a str>,
    /// Type of the base weights.
    pub dtype: Dtype,
    /// Where it computes.
    pub device: DeviceSpec,
    /// New tokens of an answer at most, where not as in training.
    pub max_new: Option<usize>,
    /// Keys of the task's templates that the caller named, whose columns must be there.
    pub named: Vec<&'static str>,
}

/// Rows that were answered.
pub struct Answered {
    /// In the order of the file.
    pub lines: Vec<Line>,
    /// What those come to whose answers are known.
    pub score: Option<Score>,
    /// Rows that were cut; none if there are none.
    pub too_long: Option<TooLong>,
    /// The name of the model that answered.
    pub model: String,
    /// The seed that it had.
    pub seed: u64,
}

/// The answer to one row.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    /// The row's number, from 1.
    pub row: usize,
    /// The answer.
    pub said: Said,
    /// The right one, where the file has it.
    pub expected: Option<String>,
    /// Whether they agree, where answers are right or wrong.
    pub correct: Option<bool>,
}

/// An answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Said {
    /// A class, with every class' probability.
    Class(String, Vec<(String, f64)>),
    /// A number.
    Number(f64),
    /// The answer found in what was said, and all of that.
    Text(String, String),
    /// The likeliest choice, with the log-likelihoods of all of them, in nats.
    Choice(String, Vec<f64>),
}

impl Line {
    /// As an object: `row` and `prediction` come first. Every line of one model has the same keys.
    pub fn object(&self) -> Map<String, Value> {
        let (prediction, more) = match &self.said {
            Said::Class(name, probabilities) => {
                let of = probabilities.iter().map(|(name, probability)| (name.clone(), json!(probability)));
                (json!(name), Some(("probabilities", Value::Object(of.collect()))))
            }
            Said::Number(number) => (json!(number), None),
            Said::Text(answer, said) => (json!(answer), Some(("said", json!(said)))),
            Said::Choice(choice, logs) => (json!(choice), Some(("log_likelihoods", json!(logs)))),
        };
        let mut object = Map::from_iter([("row".to_owned(), json!(self.row)), ("prediction".to_owned(), prediction)]);
        object.extend(more.map(|(key, value)| (key.to_owned(), value)));
        object.extend(self.expected.iter().map(|expected| ("expected".to_owned(), json!(expected))));
        object.extend(self.correct.iter().map(|correct| ("correct".to_owned(), json!(correct))));
        object
    }
}

impl Serialize for Line {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object().serialize(serializer)
    }
}

impl Request<'_> {
    /// Answers the rows.
    ///
    /// # Errors
    /// When the rows or the model cannot be read, a row is too long, or the model's scores are not finite.
    pub fn answer(&self) -> Result<Answered> {
        let task = OwnTask::over(self.spec.clone()).map_err(anyhow::Error::msg)?;
        let asked = task.set().asked(self.rows, &self.named)?;
        let mut plan =
            RunPlan { dtype: self.dtype, device: self.device, tokenizer: self.kept.tokenizer, ..RunPlan::default() };
        (plan.data.max_length, plan.data.template) = (self.kept.max_length, self.kept.template);
        plan.eval = self.kept.eval.clone();
        plan.eval.max_new_tokens = self.max_new.unwrap_or(plan.eval.max_new_tokens);
        // Answers that are not known end nowhere early.
        plan.eval.early_verdict = false;
        match &self.kept.labels {
            Some(_) => self.classes(task, &asked, &plan),
            None => self.texts(task, &asked, &plan),
        }
    }

    /// What was trained, by its files.
    fn files(&self) -> SavedFiles {
        let adapter: Option<PathBuf> = self.folder.join("adapter_config.json").exists().then(|| self.folder.to_owned());
        let head = match adapter {
            Some(_) => None,
            None => Some(self.folder.join("head.safetensors")),
        };
        SavedFiles { adapter, head, tokenizer: Some(self.kept.tokenizer) }
    }

    fn classes(&self, task: &'static OwnTask, asked: &[AskedRow], plan: &RunPlan) -> Result<Answered> {
        let labelled = task.labelled().context("the task that the model was trained for has no labels: train anew")?;
        let classifier = Classifier::open(&self.files(), self.model, plan, labelled)?;
        let (labels, model) = (classifier.labels(), classifier.base().id.clone());
        check_labels(labels, asked)?;
        let rows: Vec<Row> = asked.iter().map(|asked| asked.row.clone()).collect();
        let (taken, too_long) = classifier.taken(&rows, plan)?;
        let known = |asked: &AskedRow| labels.target(&asked.row.answer).filter(|_| asked.answered);
        let lines = asked.iter().zip(&taken).enumerate().map(|(index, (asked, taken))| {
            let said = said(labels, taken);
            let right = known(asked);
            let correct = right.filter(|_| labels.are_classes()).map(|right| right == taken.target);
            Line { row: index + 1, said, expected: right.map(|_| asked.row.answer.clone()), correct }
        });
        let pairs = asked.iter().zip(&taken).filter_map(|(asked, taken)| Some((known(asked)?, taken.target))).collect();
        let (answers, cut) = (LabelledPredictions { pairs }, too_long.as_ref().map_or(0, |cut: &TooLong| cut.rows));
        if let Some(said) = Score::undefined(task.metric(), &answers) {
            eprintln!("{said}");
        }
        let score = (!answers.pairs.is_empty()).then(|| Score::measured(task.metric(), None, &answers, cut));
        Ok(Answered { lines: lines.collect(), score, too_long, model, seed: plan.seed })
    }

    fn texts(&self, task: &'static OwnTask, asked: &[AskedRow], plan: &RunPlan) -> Result<Answered> {
        let adapters = self.files().adapter;
        let opened = OpenedDecoder::open(&DecoderRequest {
            adapters: adapters.as_slice(),
            strengths: &[],
            model: self.model,
            chat_template: self.chat_template,
            tokenizer: Some(plan.tokenizer),
            dtype: plan.dtype,
            device: plan.device,
        })?;
        let step = opened.adapters.first().map(|(_, adaptation)| adaptation.begin(Mode::Eval));
        let evaluator = Evaluator::new(&opened.loaded, step.as_deref(), plan);
        let rows: Vec<Row> = asked.iter().map(|asked| asked.row.clone()).collect();
        let kind = task.scoring().kind();
        let answered = match kind {
            ScoringKind::Choices => evaluator.choices(task, &rows)?,
            ScoringKind::Answers | ScoringKind::Likelihood | ScoringKind::Classes | ScoringKind::Numbers => {
                evaluator.generate(task, &rows)?
            }
        };
        let line = |(index, (asked, one)): (usize, (&AskedRow, &Prediction))| {
            let said = match &one.likelihood {
                Some(by) => Said::Choice(one.said.clone(), by.logs.clone()),
                None => Said::Text(one.answer.clone(), one.said.clone()),
            };
            let expected = asked.answered.then(|| asked.row.answer.clone());
            let graded = asked.answered && kind != ScoringKind::Likelihood && !task.judged();
            Line { row: index + 1, said, expected, correct: one.correct.filter(|_| graded) }
        };
        let lines = asked.iter().zip(&answered.predictions).enumerate().map(line).collect();
        let known: Vec<Row> = asked.iter().filter(|asked| asked.answered).map(|asked| asked.row.clone()).collect();
        let predictions = match kind {
            ScoringKind::Likelihood => evaluator.completions(task, &known)?.predictions,
            _ => {
                asked.iter().zip(answered.predictions).filter(|(asked, _)| asked.answered).map(|(_, one)| one).collect()
            }
        };
        let score = (!predictions.is_empty() && !task.judged()).then(|| graded(task.scoring(), &predictions));
        let (model, too_long) = (opened.loaded.base.id.clone(), answered.too_long);
        Ok(Answered { lines, score, too_long, model, seed: plan.seed })
    }
}

/// Refuses a label that the model does not know: left out it would flatter the score.
fn check_labels(labels: Labels, asked: &[AskedRow]) -> Result<()> {
    let strange = |asked: &&AskedRow| asked.answered && labels.target(&asked.row.answer).is_none();
    let Some(AskedRow { row, .. }) = asked.iter().find(strange) else { return Ok(()) };
    let known = labels.describe();
    bail!(
        "{}: the label `{}` is none of {known}, which the model was trained on: correct it, or take the row out",
        row.place,
        row.answer
    )
}

fn said(labels: Labels, taken: &Taken) -> Said {
    match labels {
        Labels::Classes(names) => {
            let probabilities = names.iter().map(|name| (*name).to_owned()).zip(taken.probabilities()).collect();
            Said::Class(labels.name(taken.target), probabilities)
        }
        Labels::Score(_) | Labels::Number => Said::Number(taken.target.number()),
    }
}
