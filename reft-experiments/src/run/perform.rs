//! What a run does, in order, and what of it is kept. Every kind of run follows these policies:
//!
//! - The rows that are also trained on, and broken lines that were left out, are said before anything is done.
//! - A row longer than the model's context is refused before the first update (`context.rs`).
//! - What was trained is kept once training ends: at its end with the parameters that model selection chose, at a rung as it is
//!   there, and after a loss that is not finite as of the last finite one.
//! - Predictions are kept for every row that is scored, in one format.
//! - A complete run has no checkpoint: what was trained is what remains.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Error, Result};
use reft_core::adapter_file;

use super::experiment::{Experiment, SelectedParameters, TaskScore, Trainee};
use super::fit::{Fit, TrainingReached};
use super::named::{NamedRun, RunOutcome};
use super::prediction::{self, outputs_of};
use crate::alpaca_eval::outputs;
use crate::data::too_long::TooLong;
use crate::store::environment::{forget_peak_memory, peak_memory_mib};
use crate::store::record::{Record, RunCost, Score};
use crate::train::error::TrainError;
use crate::train::validation::DevLoss;

/// Does a run, or this part of its updates, from 0 to 1.
pub(super) fn perform(experiment: &dyn Experiment, run: &NamedRun<'_>, part: f64) -> Result<RunOutcome> {
    let rows = experiment.rows();
    rows.warnings().iter().for_each(|said| eprintln!("{said}"));
    rows.left_out().iter().for_each(|lines| eprintln!("{lines}"));
    forget_peak_memory();
    let mut trainee = experiment.begin(run)?;
    let trainee = trainee.as_mut();
    let (mut cost, mut best) = (RunCost::default(), SelectedParameters::default());
    if run.plan.trains() {
        let began = Instant::now();
        let reached = train(trainee, &Fit { named: run, part })?;
        if !reached.complete() {
            trainee.keep()?;
            let scores = rung(trainee, run, &reached)?;
            return Ok(RunOutcome::Rung(reached.rung(part, scores)));
        }
        best = trainee.select()?;
        if let Some(DevLoss { update, loss: Some(loss) }) = best.step {
            eprintln!("{}: the parameters after update {update} are kept: dev loss {loss:.4}", run.label);
        }
        trainee.keep()?;
        (cost.train_seconds, cost.train_tokens) = (began.elapsed().as_secs_f64(), reached.tokens);
        cost.adapter_bytes = adapter_file::tensor_bytes(&run.paths.adapter());
        cost.weight_copies = trainee.weight_copies();
    }
    let began = Instant::now();
    let (scores, cut) = score(trainee, run)?;
    (cost.eval_seconds, cost.peak_memory_mib) = (began.elapsed().as_secs_f64(), peak_memory_mib());
    let too_long = trainee.too_long().iter().cloned().chain(cut).collect();
    let record = record(experiment, trainee, run, RunResults { scores, best, too_long, cost });
    record.save(&run.paths.record())?;
    // What cannot be deleted takes room and does no other harm.
    let _ = std::fs::remove_file(run.paths.checkpoint());
    trainee.tidy();
    Ok(RunOutcome::Complete(Box::new(record)))
}

/// Trains; after a loss that is not finite, the parameters of the last finite one are kept.
fn train(trainee: &mut dyn Trainee, fit: &Fit<'_>) -> Result<TrainingReached> {
    let keeps = |error: &Error| error.downcast_ref::<TrainError>().is_some_and(TrainError::keeps_parameters);
    let outcome = trainee.train(fit);
    if outcome.as_ref().is_err_and(keeps) {
        trainee.keep()?;
    }
    outcome
}

/// Scores of a run that stopped in part.
fn rung(trainee: &dyn Trainee, run: &NamedRun<'_>, reached: &TrainingReached) -> Result<Vec<(String, Score)>> {
    let Some(scores) = trainee.rung(reached)? else {
        return Ok(score(trainee, run)?.0.into_iter().collect());
    };
    for (task, score) in &scores {
        let (label, figure, n, update) = (&run.label, score.unit().with(score.figure()), score.n(), reached.update);
        eprintln!("{label}: {task} {figure} of {n} watched after update {update}");
    }
    Ok(scores)
}

/// Scores every task, and keeps what was answered.
fn score(trainee: &dyn Trainee, run: &NamedRun<'_>) -> Result<(BTreeMap<String, Score>, Vec<TooLong>)> {
    let (mut scores, mut too_long) = (BTreeMap::new(), Vec::new());
    trainee.score(&mut |scored| {
        let (key, label) = (scored.task.key(), &run.label);
        if let Some(cut) = &scored.too_long {
            eprintln!("{label}: {cut}");
        }
        let outputs = run.paths.outputs(key);
        scored
            .save(&PredictionFile { predictions: run.paths.predictions(key), outputs: outputs.clone() }, &run.title)?;
        match scored.score {
            Some(score) => {
                eprintln!("{label}: {key} {}", in_words(score));
                scores.insert(key.to_owned(), score);
            }
            None => eprintln!("{label}: {} answers to {key} in {}", scored.predictions.len(), outputs.display()),
        }
        too_long.extend(scored.too_long);
        Ok(())
    })?;
    Ok((scores, too_long))
}

/// A score with the number of rows.
fn in_words(score: Score) -> String {
    match score {
        Score::Timed { added_ms, plain_ms, n, .. } => {
            format!("{added_ms:+.2} ms on {plain_ms:.0} ms in {n} pairs of runs")
        }
        Score::Counts { .. } | Score::Measured { .. } | Score::Graded { .. } => {
            format!("{} of {}", score.unit().with(score.figure()), score.n())
        }
    }
}

/// Where a task's answers are kept.
pub struct PredictionFile {
    /// Every row's.
    pub predictions: PathBuf,
    /// Those that a judge reads, where the task is judged.
    pub outputs: PathBuf,
}

impl TaskScore {
    /// Keeps the answers; `generator` names who gave them to a judge.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn save(&self, to: &PredictionFile, generator: &str) -> Result<()> {
        prediction::save(&self.predictions, &to.predictions)?;
        if self.task.task().judged() {
            outputs::write(&to.outputs, &outputs_of(&self.predictions, self.task.key(), generator))?;
        }
        Ok(())
    }
}

/// What came out of a run.
struct RunResults {
    scores: BTreeMap<String, Score>,
    best: SelectedParameters,
    too_long: Vec<TooLong>,
    cost: RunCost,
}

fn record(experiment: &dyn Experiment, trainee: &dyn Trainee, run: &NamedRun<'_>, results: RunResults) -> Record {
    let RunResults { scores, best, too_long, cost } = results;
    let rows = experiment.rows();
    Record {
        id: run.id.clone(),
        plan: run.plan.clone(),
        environment: run.environment.clone(),
        scores,
        best: best.epoch,
        best_step: best.step,
        left_out: rows.left_out().to_vec(),
        too_long,
        data_files: rows.files().to_vec(),
        parameters: trainee.parameters(),
        cost,
    }
}
