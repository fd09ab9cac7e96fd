//! A causal model that answers in words: trained on completions (eq. 4), scored by what it generates.

pub mod evaluation;
mod likelihoods;
mod memory;
mod rows;
pub mod saved;

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::{Result, ensure};
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::rng::Seed;
use reft_core::{AdaptSpec, adapter_file};

use self::evaluation::{AnsweredTask, Evaluator};
use self::memory::CausalMemory;
pub use self::rows::CausalRows;
use self::rows::RunExamples;
use super::experiment::{Experiment, RunRows, SelectedParameters, TaskScore, Trainee, check_settings};
use super::fit::{Fit, TrainingReached};
use super::memory::settle;
use super::named::NamedRun;
use super::prediction::{Prediction, graded};
use super::saved_task::SavedTask;
use super::session::LoadedDecoder;
use crate::config::plan::{RunPlan, ValidationPlan};
use crate::data::encode::Example;
use crate::data::labels::Labels;
use crate::data::row::Row;
use crate::data::too_long::TooLong;
use crate::score::metric::LabelledPredictions;
use crate::store::record::{Parameters, Score};
use crate::tasks::TaskId;
use crate::tasks::labelled::LabelledTask;
use crate::train::activation_cache::CacheBudget;
use crate::train::best::Best;
use crate::train::causal::Causal;
use crate::train::frozen::FrozenForward;
use crate::train::model_with_loss::TokenRow;
use crate::train::sequences::{Sequences, TrainingRow};
use crate::train::validation::{Validation, ValidationRule};

/// Rows and the causal model that answers them.
pub struct CausalExperiment {
    rows: CausalRows,
    loaded: Rc<LoadedDecoder>,
    /// Rows as tokens between the check and the beginning of the run.
    encoded: RefCell<Option<RunExamples>>,
}

impl Experiment for CausalExperiment {
    fn rows(&self) -> &dyn RunRows {
        &self.rows
    }

    fn check(&self, plan: &RunPlan) -> Result<()> {
        check_settings(plan, self.loaded.decoder.dims(), &self.loaded.lender())?;
        if self.rows.has_conversations() {
            self.loaded.tokenizer.check_chat(None)?;
            self.rows.check_prompts(&self.loaded)?;
        }
        if plan.adapt.is_some() {
            *self.encoded.borrow_mut() = Some(self.rows.encode(&self.loaded)?);
        }
        Ok(())
    }

    fn begin<'a>(&'a self, run: &'a NamedRun<'a>) -> Result<Box<dyn Trainee + 'a>> {
        let (plan, dims) = (run.plan, self.loaded.decoder.dims());
        let adapted = match &plan.adapt {
            Some(spec) => {
                let adaptation = spec.build_on(dims, &self.loaded.lender(), Seed(plan.seed), plan.device.0)?;
                let checked = self.encoded.borrow_mut().take();
                let RunExamples { examples, dev, too_long } =
                    checked.map_or_else(|| self.rows.encode(&self.loaded), Ok)?;
                let validation = validation(run, dev);
                Some(CausalTrainee { spec, adaptation, examples, validation, too_long })
            }
            None => None,
        };
        Ok(Box::new(Answerer { run, rows: &self.rows, loaded: &self.loaded, adapted }))
    }
}

/// How a run validates; only the process that leads does.
fn validation(run: &NamedRun<'_>, rows: Vec<Sequences>) -> Option<Validation<Sequences>> {
    let ValidationPlan { every, patience, .. } = run.plan.train.validation.filter(|_| run.leads())?;
    let best = Best::new(run.paths.validation(), run.paths.best());
    Some(Validation { rows, rule: ValidationRule { every, patience }, best })
}

/// What is trained, and on what.
struct CausalTrainee<'a> {
    spec: &'a AdaptSpec,
    adaptation: Box<dyn Adaptation>,
    examples: Vec<Sequences>,
    validation: Option<Validation<Sequences>>,
    too_long: Vec<TooLong>,
}

/// The model with its adaptation; without one it is scored as it is.
struct Answerer<'a> {
    run: &'a NamedRun<'a>,
    rows: &'a CausalRows,
    loaded: &'a LoadedDecoder,
    adapted: Option<CausalTrainee<'a>>,
}

impl Trainee for Answerer<'_> {
    fn train(&mut self, fit: &Fit<'_>) -> Result<TrainingReached> {
        let Some(CausalTrainee { adaptation, examples, validation, .. }) = &mut self.adapted else {
            return Ok(TrainingReached::default());
        };
        train(self.loaded, adaptation.as_mut(), examples, validation.as_mut(), fit)
    }

    fn select(&mut self) -> Result<SelectedParameters> {
        let Some(CausalTrainee { adaptation, validation: Some(validation), .. }) = &mut self.adapted else {
            return Ok(SelectedParameters::default());
        };
        let step = validation.best.restore(vec![adaptation.params_mut()])?;
        Ok(SelectedParameters { epoch: None, step })
    }

    fn keep(&self) -> Result<()> {
        if let Some(CausalTrainee { spec, adaptation, .. }) = &self.adapted {
            adapter_file::save(&self.run.paths.adapter(), &self.loaded.base, spec, adaptation.as_ref())?;
            SavedTask::of(self.run, None).save(&self.run.paths.adapter())?;
        }
        Ok(())
    }

    fn tidy(&self) {
        if let Some(CausalTrainee { validation: Some(validation), .. }) = &self.adapted {
            validation.best.forget();
        }
    }

    fn rung(&self, _: &TrainingReached) -> Result<Option<Vec<(String, Score)>>> {
        Ok(None)
    }

    fn score(&self, each: &mut dyn FnMut(TaskScore) -> Result<()>) -> Result<()> {
        let adaptation = self.adapted.as_ref().map(|adapted| adapted.adaptation.as_ref());
        let step = adaptation.map(|adaptation| adaptation.begin(Mode::Eval));
        let evaluator = Evaluator::new(self.loaded, step.as_deref(), self.run.plan);
        self.rows.eval.iter().try_for_each(|(id, rows)| each(answer(&evaluator, *id, rows)?))
    }

    fn too_long(&self) -> &[TooLong] {
        self.adapted.as_ref().map_or(&[], |adapted| &adapted.too_long)
    }

    fn parameters(&self) -> Parameters {
        let trainable = self.adapted.as_ref().map_or(0, |adapted| adapted.adaptation.params().count());
        Parameters { trainable, base: self.loaded.decoder.parameters(), head: 0 }
    }

    fn weight_copies(&self) -> Option<usize> {
        self.adapted.as_ref().map(|_| self.loaded.held.copies.count())
    }
}

/// Trains an adaptation on rows as tokens, with the activation cache, once it is sure that this fits into memory.
///
/// # Errors
/// When it does not, the loss is not finite, or a file cannot be written.
pub(super) fn train<E: TrainingRow>(
    loaded: &LoadedDecoder,
    adaptation: &mut dyn Adaptation,
    examples: &[E],
    validation: Option<&mut Validation<E>>,
    fit: &Fit<'_>,
) -> Result<TrainingReached> {
    let plan = fit.named.plan;
    let (model, longest, train) = (loaded.decoder.as_ref(), longest(examples), &plan.train);
    let frozen = match budget(plan) {
        Some(budget) => FrozenForward::new(model, adaptation, longest, budget),
        None => FrozenForward::off(model),
    };
    // What is seen once is not kept: it would not be asked for again.
    let caches = (train.epochs > 1).then_some(&loaded.caches);
    let causal = Causal::new(model, frozen, train.micro_batch_tokens);
    let mut causal = causal.minimising(train.objective.objective());
    (causal.recompute, causal.validation, causal.caches) = (train.recompute_blocks, validation, caches);
    let kept = causal.reserve(examples);
    if caches.is_none() {
        // What this run has no use for may be the memory that it needs.
        loaded.caches.clear();
    }
    let (dims, parameters) = (model.dims(), model.parameters());
    let graph = dims.layers - adaptation.frontier().blocks;
    let outputs = |example: &Example| example.ids.len().saturating_sub(example.prompt);
    let asked = examples.iter().map(|row| row.adapted().iter().map(outputs).sum()).max().unwrap_or(0);
    let memory = CausalMemory::new(plan, dims, loaded.held.trained(), longest, graph, kept)
        .with_logits(plan, dims.vocab, asked)
        .with_trainable(plan, adaptation.params().count(), parameters);
    settle(&memory, plan.device.0, loaded.held.once)?;
    fit.run("", &mut causal, adaptation, examples)
}

/// Answers and scores the rows of a task.
///
/// # Errors
/// When a text cannot be encoded, interventions overlap, or logits or the score are not finite.
pub fn answer(evaluator: &Evaluator<'_>, task: TaskId, rows: &[Row]) -> Result<TaskScore> {
    if let Some(said) = evaluator.beyond_new_tokens(task.task(), rows)? {
        eprintln!("{said}");
    }
    let AnsweredTask { predictions, too_long } = evaluator.answer(task.task(), rows)?;
    let score = (!task.task().judged()).then(|| match task.task().labelled() {
        Some(task) => measured(task, rows, &predictions),
        None => graded(task.task().scoring(), &predictions),
    });
    ensure!(
        score.is_none_or(|score| score.figure().is_finite()),
        "{}: the {} of {} rows is not a finite number: an adapter that diverged, or weights beyond their type, say such things; \
         train at a lower rate, or take dtype: f32",
        task.key(),
        task.task().scoring(),
        rows.len()
    );
    Ok(TaskScore { task, predictions, too_long, score })
}

/// What labels in words come to, by the metric of their task.
fn measured(task: &dyn LabelledTask, rows: &[Row], predictions: &[Prediction]) -> Score {
    let labels = task.known().unwrap_or_else(|| Labels::among(rows.iter().map(|row| row.answer.as_str())));
    let pair = |(row, prediction): (&Row, &Prediction)| {
        let right = labels.of(row);
        (right, labels.taken(&prediction.answer, right))
    };
    let answers = LabelledPredictions { pairs: rows.iter().zip(predictions).map(pair).collect() };
    let cut = predictions.iter().filter(|prediction| prediction.cut).count();
    if let Some(said) = Score::undefined(task.metric(), &answers) {
        eprintln!("{}: {said}", task.key());
    }
    Score::measured(task.metric(), task.second(), &answers, cut)
}

/// Tokens of the longest row.
fn longest<E: TokenRow>(examples: &[E]) -> usize {
    examples.iter().map(TokenRow::tokens).max().unwrap_or(0)
}

/// What the activation cache may take.
fn budget(plan: &RunPlan) -> Option<CacheBudget> {
    let train = &plan.train;
    let budget = CacheBudget { memory: train.frozen_memory_mib << 20, disk: train.frozen_disk_mib << 20 };
    train.frozen_cache.then_some(budget)
}
