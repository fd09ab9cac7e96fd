//! An encoder under a head that gives every row its label: interventions (or weights) and head are trained, the best epoch is
//! kept, the other part of the validation rows is read once.
//!
//! A whole run is as good as the best of its epochs on the watched rows. So is a part of it: its score is the best of the
//! epochs that are over and, where it ends within an epoch, of the parameters as they are there. That depends on the updates
//! done and on nothing else, such as where earlier rungs were or how often the run was interrupted. The held rows stay closed.

mod answers;
mod memory;
mod rows;
pub mod saved;

use std::rc::Rc;

use anyhow::Result;
use reft_core::adaptation::Adaptation;
use reft_core::adaptations::nothing::NoAdaptation;
use reft_core::adapter_file;
use reft_core::rng::Seed;
use tch::Kind;

pub use self::rows::ClassificationRows;
use self::rows::scored;
use super::experiment::{Experiment, RunRows, SelectedParameters, TaskScore, Trainee, check_settings};
use super::fit::{Fit, TrainingReached};
use super::memory::settle;
use super::named::NamedRun;
use super::saved_task::SavedTask;
use super::session::LoadedEncoder;
use crate::config::parity::ParityPoint;
use crate::config::plan::{EvalSplit, RunPlan};
use crate::data::labelled::Labelled;
use crate::data::too_long::{RowUse, TooLong};
use crate::store::record::{Parameters, Score};
use crate::tasks::Task;
use crate::train::best::Best;
use crate::train::classification::{Classification, SelectionRows};
use crate::train::head::ClassificationHead;
use crate::train::head_file::{self, HeadNote};

/// Rows and the encoder that gives them labels.
pub struct ClassificationExperiment {
    rows: ClassificationRows,
    loaded: Rc<LoadedEncoder>,
}

impl Experiment for ClassificationExperiment {
    fn rows(&self) -> &dyn RunRows {
        &self.rows
    }

    fn check(&self, plan: &RunPlan) -> Result<()> {
        Ok(check_settings(plan, self.loaded.encoder.dims(), &self.loaded.lender())?)
    }

    fn begin<'a>(&'a self, run: &'a NamedRun<'a>) -> Result<Box<dyn Trainee + 'a>> {
        let Self { rows, loaded } = self;
        let (plan, outputs) = (run.plan, rows.labels.outputs());
        let reader = rows.reader(loaded);
        let (training, too_long) = reader.encode(&rows.train, RowUse::Training)?;
        let (watched, watched_cut) = reader.encode(rows.watched(), RowUse::Scoring)?;
        // Of rows that are scored in the end it is said there.
        let watched_cut = watched_cut.filter(|_| plan.data.eval_split != EvalSplit::Dev);
        for cut in too_long.iter().chain(&watched_cut) {
            eprintln!("{cut}");
        }
        // Before weights that are trained are copied.
        let estimate = memory::estimate(plan, loaded, outputs, [&training.rows, &watched.rows])?;
        settle(&estimate, plan.device.0, estimate.weights)?;
        let width = loaded.encoder.dims().width;
        let best = Best::new(run.paths.epochs(), run.paths.best());
        let objective = Classification {
            encoder: &loaded.encoder,
            head: ClassificationHead::new(width, outputs, Seed(plan.seed), plan.device.0),
            model_dropout: plan.train.model_dropout,
            label_kind: if plan.follows_pyreft(ParityPoint::Labels) { Kind::BFloat16 } else { Kind::Float },
            micro_tokens: plan.train.micro_batch_tokens,
            watch: run.leads().then(|| SelectionRows { rows: watched.rows, metric: rows.task.metric(), best }),
        };
        let (examples, too_long) = (training.rows, too_long.into_iter().collect());
        Ok(Box::new(ClassificationTrainee {
            run,
            rows,
            loaded,
            adaptation: adaptation(plan, loaded)?,
            objective,
            examples,
            too_long,
        }))
    }
}

/// What is trained beside the head.
fn adaptation(plan: &RunPlan, loaded: &LoadedEncoder) -> Result<Box<dyn Adaptation>> {
    let Some(spec) = &plan.adapt else { return Ok(Box::new(NoAdaptation::new(plan.device.0))) };
    Ok(spec.build_on(loaded.encoder.dims(), &loaded.lender(), Seed(plan.seed), plan.device.0)?)
}

/// The encoder with its adaptation and its head.
struct ClassificationTrainee<'a> {
    run: &'a NamedRun<'a>,
    rows: &'a ClassificationRows,
    loaded: &'a LoadedEncoder,
    adaptation: Box<dyn Adaptation>,
    objective: Classification<'a>,
    examples: Vec<Labelled>,
    too_long: Vec<TooLong>,
}

impl ClassificationTrainee<'_> {
    fn task(&self) -> &'static dyn Task {
        self.rows.id().task()
    }
}

impl Trainee for ClassificationTrainee<'_> {
    fn train(&mut self, fit: &Fit<'_>) -> Result<TrainingReached> {
        let title = self.task().key();
        fit.run(title, &mut self.objective, self.adaptation.as_mut(), &self.examples)
    }

    fn select(&mut self) -> Result<SelectedParameters> {
        let Some(watch) = &self.objective.watch else { return Ok(SelectedParameters::default()) };
        let epoch = watch.best.restore(vec![self.adaptation.params_mut(), self.objective.head.params_mut()])?;
        Ok(SelectedParameters { epoch, step: None })
    }

    fn keep(&self) -> Result<()> {
        let NamedRun { plan, paths, .. } = self.run;
        if let Some(spec) = &plan.adapt {
            adapter_file::save(&paths.adapter(), &self.loaded.base, spec, self.adaptation.as_ref())?;
        }
        let kept = SavedTask::of(self.run, Some(self.rows.labels));
        kept.save(&if plan.adapt.is_some() { paths.adapter() } else { paths.folder().to_owned() })?;
        let (task, base_model) = (self.task().key().to_owned(), self.loaded.base.clone());
        let note =
            HeadNote { task, base_model, labels: Some(self.rows.labels.into()), run: Some(self.run.id.to_string()) };
        Ok(head_file::save(&paths.head(), &self.objective.head, &note)?)
    }

    fn tidy(&self) {
        if let Some(watch) = &self.objective.watch {
            watch.best.forget();
        }
    }

    /// The score after `reached.update` updates; 0 where the metric was undefined all the time, as in a record.
    fn rung(&self, reached: &TrainingReached) -> Result<Option<Vec<(String, Score)>>> {
        let Some(watch) = &self.objective.watch else { return Ok(None) };
        let over = watch.best.mark().and_then(|epoch| epoch.value);
        let epochs = self.run.plan.train.epochs * self.adaptation.stages() as u64;
        let per_epoch = reached.total / epochs;
        let within = !reached.update.is_multiple_of(per_epoch);
        let here = if within { self.objective.watched(self.adaptation.as_ref())? } else { None };
        let value = over.into_iter().chain(here).reduce(f64::max).unwrap_or(0.0);
        let score = Score::Measured { metric: watch.metric, value, n: watch.rows.len(), cut: 0, second: None };
        Ok(Some(vec![(self.task().key().to_owned(), score)]))
    }

    /// The score that is reported: of the rows that no run has read yet, once; for a setting that is still to be chosen, of
    /// the watched ones.
    fn score(&self, each: &mut dyn FnMut(TaskScore) -> Result<()>) -> Result<()> {
        let plan = self.run.plan;
        let rows = scored(plan, &self.rows.validation);
        each(self.rows.reader(self.loaded).answer(self.rows.id(), rows, &self.objective, self.adaptation.as_ref())?)
    }

    fn too_long(&self) -> &[TooLong] {
        &self.too_long
    }

    fn parameters(&self) -> Parameters {
        Parameters {
            trainable: self.adaptation.params().count(),
            base: self.loaded.encoder.config().parameters(),
            head: self.objective.head.params().count(),
        }
    }
}
