//! A study: edits of a causal model are trained, or not, and measured in the study's own way.

mod rows;

use std::rc::Rc;

use anyhow::{Context, Result};
use reft_core::adaptation::Adaptation;
use reft_core::rng::Seed;
use reft_core::{AdaptSpec, adapter_file};

pub use self::rows::StudyRows;
use super::answering;
use super::experiment::{Experiment, RunRows, SelectedParameters, TaskScore, Trainee, check_settings};
use super::fit::{Fit, TrainingReached};
use super::named::NamedRun;
use super::prediction::Prediction;
use super::session::LoadedDecoder;
use crate::config::plan::RunPlan;
use crate::data::encode::Example;
use crate::data::too_long::TooLong;
use crate::store::record::{Parameters, Score};
use crate::studies::edited::EditedModel;
use crate::studies::study::{Measurement, StudyAnswer};
use crate::tasks::TaskId;
use crate::train::sequences::AssignedRow;

/// A study and the model that it edits.
struct StudyExperiment {
    rows: StudyRows,
    loaded: Rc<LoadedDecoder>,
}

impl Experiment for StudyExperiment {
    fn rows(&self) -> &dyn RunRows {
        &self.rows
    }

    fn check(&self, plan: &RunPlan) -> Result<()> {
        check_settings(plan, self.loaded.decoder.dims(), &self.loaded.lender())?;
        self.rows.examples(&self.loaded)?;
        let lender = self.loaded.lender();
        plan.data.eval.iter().try_for_each(|&task| {
            rows::measure(task)?.measure().check_measure(&self.rows.context(task, &self.loaded, &lender))
        })
    }

    fn begin<'a>(&'a self, run: &'a NamedRun<'a>) -> Result<Box<dyn Trainee + 'a>> {
        let plan = run.plan;
        let spec = plan.adapt.as_ref().context("a study measures edits: name interventions")?;
        let dims = self.loaded.decoder.dims();
        let adaptation = spec.build_on(dims, &self.loaded.lender(), Seed(plan.seed), plan.device.0)?;
        let examples = self.rows.examples(&self.loaded)?;
        Ok(Box::new(StudyTrainee { run, rows: &self.rows, loaded: &self.loaded, spec, adaptation, examples }))
    }
}

/// The edits of a study with what they learn from.
struct StudyTrainee<'a> {
    run: &'a NamedRun<'a>,
    rows: &'a StudyRows,
    loaded: &'a LoadedDecoder,
    spec: &'a AdaptSpec,
    adaptation: Box<dyn Adaptation>,
    /// Of each trained task; of several, each is learned by the set of interventions in the same place. None where nothing is
    /// trained.
    examples: Vec<Vec<Example>>,
}

impl StudyTrainee<'_> {
    /// What a task of the plan comes to.
    fn measured(&self, task: TaskId) -> Result<TaskScore> {
        let lender = self.loaded.lender();
        let context = self.rows.context(task, self.loaded, &lender);
        let edited = EditedModel { context, spec: self.spec, adaptation: self.adaptation.as_ref() };
        let Measurement { score, answers } = rows::measure(task)?.measure().measure(&edited)?;
        let predictions = answers.into_iter().map(prediction).collect();
        Ok(TaskScore { task, predictions, too_long: None, score: Some(score) })
    }
}

fn prediction(answer: StudyAnswer) -> Prediction {
    let StudyAnswer { asked: instruction, said, expected, correct } = answer;
    let (input, answer, correct) = (String::new(), said.clone(), Some(correct));
    Prediction { instruction, input, said, answer, expected, correct, cut: false, likelihood: None }
}

impl Trainee for StudyTrainee<'_> {
    fn train(&mut self, fit: &Fit<'_>) -> Result<TrainingReached> {
        match self.examples.as_slice() {
            [] => Ok(TrainingReached::default()),
            [examples] => answering::train(self.loaded, self.adaptation.as_mut(), examples, None, fit),
            parts => {
                let assigned = |(part, examples): (usize, &Vec<Example>)| {
                    let one = move |example: &Example| AssignedRow { example: example.clone(), part };
                    examples.iter().map(one).collect::<Vec<_>>()
                };
                let rows: Vec<AssignedRow> = parts.iter().enumerate().flat_map(assigned).collect();
                answering::train(self.loaded, self.adaptation.as_mut(), &rows, None, fit)
            }
        }
    }

    fn select(&mut self) -> Result<SelectedParameters> {
        Ok(SelectedParameters::default())
    }

    fn keep(&self) -> Result<()> {
        if !self.examples.is_empty() {
            adapter_file::save(&self.run.paths.adapter(), &self.loaded.base, self.spec, self.adaptation.as_ref())?;
        }
        Ok(())
    }

    fn tidy(&self) {}

    fn rung(&self, _: &TrainingReached) -> Result<Option<Vec<(String, Score)>>> {
        Ok(None)
    }

    fn score(&self, each: &mut dyn FnMut(TaskScore) -> Result<()>) -> Result<()> {
        self.run.plan.data.eval.iter().try_for_each(|&task| each(self.measured(task)?))
    }

    fn too_long(&self) -> &[TooLong] {
        &[]
    }

    fn parameters(&self) -> Parameters {
        Parameters { trainable: self.adaptation.params().count(), base: self.loaded.decoder.parameters(), head: 0 }
    }

    fn weight_copies(&self) -> Option<usize> {
        Some(self.loaded.held.copies.count())
    }
}
