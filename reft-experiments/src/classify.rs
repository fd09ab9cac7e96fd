//! One run of an encoder on a GLUE task: train interventions and a head, keep the best epoch, read the other half once.

pub mod identity;
mod rungs;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::adaptations::nothing::Nothing;
use reft_core::adapter_file;
use reft_core::rng::Seed;
use tch::Kind;

use crate::config::parity::Point;
use crate::config::plan::{EvalSplit, RunPlan};
use crate::data::data_file::DataFile;
use crate::data::halves::Halves;
use crate::data::labelled::{self, Encoded, Labelled, Target};
use crate::data::left_out::LeftOut;
use crate::data::row::Row;
use crate::data::source::{DataError, Sources};
use crate::data::split::fingerprint;
use crate::data::too_long::{Fate, TooLong, Use};
use crate::encoder_memory;
use crate::prediction::{self, Prediction};
use crate::run::{Named, Outcome, Runner, train_plan};
use crate::score::metric::Answers;
use crate::session::{LoadedEncoder, Session};
use crate::store::RunPaths;
use crate::store::environment::{Environment, peak_memory_mib};
use crate::store::record::{Cost, Parameters, Record, Score};
use crate::tasks::Task;
use crate::tasks::glue::Glue;
use crate::train::best::{Best, Epoch};
use crate::train::classification::{Classification, Watch};
use crate::train::head::Head;
use crate::train::head_file::{self, HeadNote};
use crate::train::observe::Metrics;
use crate::train::progress::Progress;
use crate::train::tensorboard::TensorBoard;
use crate::train::trainer::{TrainError, Trainer};

/// What comes of a plan, or of this part of its updates, from 0 to 1: from the store if it was done before with the
/// same result, else from doing it now.
///
/// # Errors
/// When anything the run needs is missing, or training does not stay finite.
pub fn execute(
    runner: &Runner<'_>,
    plan: &RunPlan,
    glue: &'static Glue,
    session: &mut Session,
    part: f64,
) -> Result<(Outcome, RunPaths)> {
    let data = Data::read(plan, glue, &session.sources)?;
    let loaded = session.load_encoder(plan)?;
    let environment = Environment::here(data.fingerprint(), &loaded.identity);
    runner.once(plan, environment, |named| {
        data.overlaps(plan, glue).iter().for_each(|said| eprintln!("{said}"));
        Started { part, runner, named, glue, data: &data, loaded: &loaded }.perform()
    })
}

/// The rows of a run.
struct Data {
    train: Vec<Row>,
    validation: Halves,
    left_out: Vec<LeftOut>,
    files: Vec<DataFile>,
}

impl Data {
    fn read(plan: &RunPlan, glue: &Glue, sources: &Sources) -> Result<Self, DataError> {
        let (kind, limit) = (plan.data.source, plan.data.train_rows);
        let sources = &sources.afresh();
        let mut train = glue.training(kind, sources)?;
        train.truncate(if limit == 0 { train.len() } else { limit });
        let left_out = glue.left_out(kind, sources)?;
        let validation = glue.validation(kind, sources, Seed(plan.seed))?;
        Ok(Self { train, validation, left_out, files: sources.files() })
    }

    fn fingerprint(&self) -> String {
        let parts =
            [fingerprint(&self.train), fingerprint(&self.validation.watched), self.validation.held.fingerprint()];
        fingerprint(&parts.map(|answer| Row { answer, ..Row::default() }))
    }
}

/// A run whose folder exists, with what it needs.
struct Started<'a> {
    part: f64,
    runner: &'a Runner<'a>,
    named: &'a Named<'a>,
    glue: &'static Glue,
    data: &'a Data,
    loaded: &'a LoadedEncoder,
}

/// The first of some rows; 0 for all.
fn first(rows: &[Row], limit: usize) -> &[Row] {
    &rows[..rows.len().min(if limit == 0 { rows.len() } else { limit })]
}

impl Started<'_> {
    fn perform(&self) -> Result<Outcome> {
        let Named { plan, paths, .. } = self.named;
        let (encoder, seed, device) = (&self.loaded.encoder, Seed(plan.seed), plan.device.0);
        check_length(plan, self.loaded)?;
        self.data.left_out.iter().for_each(|lines| eprintln!("{lines}"));
        let (training, watched) = (self.encode(&self.data.train)?, self.encode(self.watched())?.rows);
        let mut too_long: Vec<TooLong> = self.too_long(Use::Training, &training).into_iter().collect();
        let examples = training.rows;
        encoder_memory::check(plan, self.loaded, self.glue, [&examples, &watched])?;
        let mut adaptation = self.adaptation()?;
        let mut objective = Classification {
            encoder,
            head: Head::new(encoder.dims().width, self.glue.labels.outputs(), seed, device),
            model_dropout: plan.train.model_dropout,
            label_kind: if plan.follows_pyreft(Point::Labels) { Kind::BFloat16 } else { Kind::Float },
            micro_tokens: plan.train.micro_batch_tokens,
            watch: Some(Watch {
                rows: &watched,
                metric: self.glue.metric,
                best: Best::new(paths.epochs(), paths.best()),
            }),
        };
        let began = Instant::now();
        let (end, total, train_tokens) = self.train(&mut objective, adaptation.as_mut(), &examples)?;
        if end < total {
            return self.rung(&objective, adaptation.as_ref(), end, total).map(Outcome::Rung);
        }
        let best = restore(&mut objective, adaptation.as_mut())?;
        let train_seconds = began.elapsed().as_secs_f64();
        self.keep(adaptation.as_ref(), &objective.head)?;

        let began = Instant::now();
        let (score, cut) = self.score(&objective, adaptation.as_ref())?;
        too_long.extend(cut);
        eprintln!("{}: {} {:.1} % of {}", self.runner.label(), self.glue.key(), score.percent(), score.n());
        let eval_seconds = began.elapsed().as_secs_f64();
        let cost = Cost { train_seconds, train_tokens, eval_seconds, peak_memory_mib: peak_memory_mib() };
        let (trained, head) = (adaptation.params().count(), objective.head.params().count());
        let record = self.record(score, best, too_long, [trained, head], cost);
        record.save(&paths.record())?;
        // The adapter and the head are what remains: with trained weights a checkpoint takes thrice the model's room.
        let _ = std::fs::remove_file(paths.checkpoint());
        if let Some(watch) = &objective.watch {
            watch.best.forget();
        }
        Ok(Outcome::Complete(Box::new(record)))
    }

    fn record(
        &self,
        score: Score,
        best: Option<Epoch>,
        too_long: Vec<TooLong>,
        [trainable, head]: [i64; 2],
        cost: Cost,
    ) -> Record {
        Record {
            id: self.named.id.clone(),
            plan: self.named.plan.clone(),
            environment: self.named.environment.clone(),
            scores: BTreeMap::from([(self.glue.key().to_owned(), score)]),
            best,
            left_out: self.data.left_out.clone(),
            too_long,
            data_files: self.data.files.clone(),
            parameters: Parameters { trainable, base: self.loaded.encoder.config().parameters(), head },
            cost,
        }
    }

    /// Trains; the update it ended at, those of the whole run, and the tokens seen. After a loss that is not finite, keeps the
    /// adapter and the head of the last finite one.
    fn train(
        &self,
        objective: &mut Classification<'_>,
        adaptation: &mut dyn Adaptation,
        examples: &[Labelled],
    ) -> Result<(u64, u64, u64)> {
        let Named { plan, paths, .. } = self.named;
        let mut trainer = Trainer {
            objective,
            adaptation,
            plan: train_plan(plan),
            seed: Seed(plan.seed),
            examples,
            checkpoint: paths.checkpoint(),
        };
        let mut events = TensorBoard::new(paths.events(), paths.metrics());
        let mut metrics = Metrics::new(paths.metrics());
        let mut progress = Progress::new(format!("{} {}", self.runner.label(), self.glue.key()));
        let (end, total) = (trainer.until(self.part), trainer.total());
        let outcome = trainer.fit(end, self.named.resume, &mut [&mut events, &mut metrics, &mut progress]);
        if outcome.as_ref().is_err_and(TrainError::keeps_parameters) {
            self.keep(trainer.adaptation, &trainer.objective.head)?;
        }
        let seen = outcome.with_context(|| format!("{}: training stopped", paths.folder().display()))?;
        Ok((end, total, seen))
    }

    /// The rows that are looked at after every epoch.
    fn watched(&self) -> &[Row] {
        self.some(&self.data.validation.watched)
    }

    fn some<'r>(&self, rows: &'r [Row]) -> &'r [Row] {
        first(rows, self.named.plan.data.eval_rows)
    }

    fn encode(&self, rows: &[Row]) -> Result<Encoded> {
        let (tokenizer, max_length) = (&self.loaded.tokenizer, self.named.plan.data.max_length);
        Ok(labelled::encode(rows, self.glue.key(), |row| self.glue.target(row), tokenizer, max_length)?)
    }

    /// The rows that were cut, said where there are some.
    fn too_long(&self, purpose: Use, encoded: &Encoded) -> Option<TooLong> {
        let cut = cut(self.glue, purpose, encoded, self.named.plan.data.max_length);
        if let Some(cut) = &cut {
            eprintln!("{cut}");
        }
        cut
    }

    /// What is trained beside the head.
    fn adaptation(&self) -> Result<Box<dyn Adaptation>> {
        let plan = self.named.plan;
        let Some(spec) = &plan.adapt else { return Ok(Box::new(Nothing::new(plan.device.0))) };
        let lender = self.loaded.lender();
        Ok(spec.build_on(self.loaded.encoder.dims(), &lender, Seed(plan.seed), plan.device.0)?)
    }

    fn keep(&self, adaptation: &dyn Adaptation, head: &Head) -> Result<()> {
        let Named { plan, paths, .. } = self.named;
        if let Some(spec) = &plan.adapt {
            adapter_file::save(&paths.adapter(), &self.loaded.base, spec, adaptation)?;
        }
        let note = HeadNote { task: self.glue.key().to_owned(), base_model: self.loaded.base.clone() };
        Ok(head_file::save(&paths.head(), head, &note)?)
    }

    /// The score that is reported: of the rows that nobody has read yet, once; for a setting that is still to be chosen,
    /// of the watched ones.
    fn score(&self, objective: &Classification<'_>, adaptation: &dyn Adaptation) -> Result<(Score, Option<TooLong>)> {
        let plan = self.named.plan;
        let rows = scored(plan, &self.data.validation);
        let step = adaptation.begin(Mode::Eval);
        let encoded = self.encode(rows)?;
        let too_long = self.too_long(Use::Scoring, &encoded);
        let answers = objective.answers(step.as_ref(), &encoded.rows)?;
        if plan.data.eval_split != EvalSplit::Dev {
            keep_answers(self.glue, rows, &answers, &self.named.paths.predictions(self.glue.key()))?;
        }
        Ok((Score::measured(self.glue.metric, self.glue.second, &answers, encoded.cut), too_long))
    }
}

/// The validation rows that a plan scores: the watched ones, or the others for a setting that is chosen.
pub(crate) fn scored<'r>(plan: &RunPlan, validation: &'r Halves) -> &'r [Row] {
    let rows = match &plan.data.eval_split {
        EvalSplit::Dev => &validation.watched,
        EvalSplit::Test(selection) => validation.held.open(selection),
    };
    first(rows, plan.data.eval_rows)
}

/// Refuses rows that are longer than the encoder reads.
///
/// # Errors
/// When they may be.
pub(crate) fn check_length(plan: &RunPlan, loaded: &LoadedEncoder) -> Result<()> {
    let (given, most) = (plan.data.max_length, loaded.encoder.config().longest());
    if given > most {
        bail!("data.max_length: {given} tokens are more than {} reads: {most} at most", loaded.base.id);
    }
    Ok(())
}

/// Puts the best epoch's parameters back.
fn restore(objective: &mut Classification<'_>, adaptation: &mut dyn Adaptation) -> Result<Option<Epoch>> {
    let Some(watch) = &objective.watch else { return Ok(None) };
    Ok(watch.best.restore(vec![adaptation.params_mut(), objective.head.params_mut()])?)
}

/// Rows of a use whose texts were cut; none if there are none.
pub(crate) fn cut(glue: &Glue, purpose: Use, encoded: &Encoded, max_length: usize) -> Option<TooLong> {
    let (task, of) = (glue.key().to_owned(), encoded.rows.len());
    TooLong { task, purpose, fate: Fate::PairCut, rows: encoded.cut, of, max_length, end: String::new() }.some()
}

/// Keeps what these rows were taken for, a line each.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn keep_answers(glue: &Glue, rows: &[Row], answers: &Answers, path: &Path) -> Result<()> {
    let predictions: Vec<Prediction> = rows.iter().zip(&answers.pairs).map(|pair| prediction(glue, pair)).collect();
    Ok(prediction::save(&predictions, path)?)
}

/// What a row was taken for. Of scores none is right or wrong.
fn prediction(glue: &Glue, (row, (right, taken)): (&Row, &(Target, Target))) -> Prediction {
    let (instruction, input, expected) = (row.instruction.clone(), row.input.clone(), row.answer.clone());
    let said = glue.labels.name(*taken);
    let correct = glue.labels.are_classes().then(|| right == taken);
    Prediction { instruction, input, answer: said.clone(), said, expected, correct, cut: false }
}
