//! One run from its plan to its record: train, keep the adapter, score every task.

mod rows;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::decay::Decay;
use reft_core::rng::Seed;
use reft_core::{AdaptSpec, adapter_file};

use self::rows::Data;
use crate::alpaca_eval::outputs;
use crate::classify::{self, identity};
use crate::config::parity::Point;
use crate::config::plan::{EvalSplit, RunPlan};
use crate::data::encode::Example;
use crate::data::row::Row;
use crate::data::source::Sources;
use crate::data::too_long::TooLong;
use crate::evaluate::{self, Answered, Evaluator};
use crate::machine::fast::Auto;
use crate::memory::{self, Estimate};
use crate::prediction;
use crate::say::in_a_line;
use crate::session::{Loaded, Session};
use crate::store::environment::{Environment, peak_memory_mib};
use crate::store::lock::Lock;
use crate::store::record::{Cost, Parameters, Record, Rung, Score};
use crate::store::state::Ending;
use crate::store::{RunId, RunPaths, nearest, test_reads};
use crate::tasks::TaskId;
use crate::train::causal::Causal;
use crate::train::frozen::Frozen;
use crate::train::kept::Budget;
use crate::train::learner::{HeadGradients, UpdateRules};
use crate::train::observe::Metrics;
use crate::train::progress::Progress;
use crate::train::tensorboard::TensorBoard;
use crate::train::trainer::{Plan, TrainError, Trainer};

/// Refuses to score a task without rows.
///
/// # Errors
/// When there are none.
pub(crate) fn to_score(id: TaskId, rows: &[Row]) -> Result<()> {
    if rows.is_empty() {
        bail!(
            "task {}: no rows to score: a tenth of the training file are its dev rows; give more rows, or choose another \
             data.eval_split",
            id.key()
        );
    }
    Ok(())
}

/// Identity of the rows that a plan trains on and scores.
///
/// # Errors
/// When data is missing.
pub fn data_fingerprint(plan: &RunPlan, sources: &Sources) -> Result<String> {
    match plan.glue() {
        Some(glue) => Ok(identity::data_fingerprint(plan, glue, sources)?),
        None => Data::read(plan, sources).map(|data| data.fingerprint()),
    }
}

/// Which rows that a plan scores it also trains on, in words; nothing when none are.
///
/// # Errors
/// When data is missing.
pub fn overlaps(plan: &RunPlan, sources: &Sources) -> Result<Vec<String>> {
    match plan.glue() {
        Some(glue) => Ok(identity::overlaps(plan, glue, sources)?),
        None => Data::read(plan, sources).map(|data| data.overlaps(plan.data.eval_split.scored().name())),
    }
}

/// What came of executing a plan, or a part of it.
pub enum Outcome {
    /// All of it was done.
    Complete(Box<Record>),
    /// It was trained in part, and scored.
    Rung(Rung),
}

/// What becomes of a run that was interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// It is done anew.
    Never,
    /// It goes on from its checkpoint if it has one.
    IfBegun,
    /// The same, and if it has none the nearest run is named: a user asked for it.
    Asked,
}

/// Who holds a run's claim while it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claiming {
    /// The runner takes it, and waits for whoever has it.
    ByRunner,
    /// The caller has it.
    ByCaller,
}

/// Where and how a plan is executed.
pub struct Runner<'a> {
    /// The folder of all runs.
    pub root: &'a Path,
    /// Whether an interrupted run goes on from its checkpoint.
    pub resume: Resume,
    /// Who holds the claim.
    pub claiming: Claiming,
    /// What the run is, as its answers' generator and its progress are named.
    pub title: String,
    /// Which of how many runs this is, where there are several.
    pub turn: Option<(usize, usize)>,
}

impl Runner<'_> {
    /// The title with the turn, for people who wait.
    pub(crate) fn label(&self) -> String {
        self.turn.map_or(String::new(), |(turn, of)| format!("[{turn}/{of}] ")) + &self.title
    }

    /// The record of a plan: from the store if this run was done before with the same result, else from doing it now.
    ///
    /// # Errors
    /// When anything the run needs is missing, or training does not stay finite; `failure.txt` in the run's folder says why.
    pub fn execute(&self, plan: &RunPlan, session: &mut Session) -> Result<(Record, RunPaths)> {
        match self.advance(plan, session, 1.0)? {
            (Outcome::Complete(record), paths) => Ok((*record, paths)),
            (Outcome::Rung(rung), paths) => bail!("{}: stopped at update {}", paths.folder().display(), rung.update),
        }
    }

    /// The same, but trained and scored only after this part of the updates, from 0 to 1.
    ///
    /// # Errors
    /// As for [`Runner::execute`].
    pub fn advance(&self, plan: &RunPlan, session: &mut Session, part: f64) -> Result<(Outcome, RunPaths)> {
        if let Some(glue) = plan.glue() {
            return classify::execute(self, plan, glue, session, part);
        }
        let data = Data::read(plan, &session.sources)?;
        let loaded = session.load(plan)?;
        let environment = Environment::here(data.fingerprint(), &loaded.identity);
        self.once(plan, environment, |named| {
            data.overlaps(plan.data.eval_split.scored().name()).iter().for_each(|said| eprintln!("{said}"));
            self.perform(&Started { named, data: &data, loaded: &loaded, part })
        })
    }

    /// What came of a run in this environment: from the store, or from performing it now. Another process that does the same
    /// run is waited for.
    ///
    /// # Errors
    /// What performing it reports, noted in the run's folder.
    pub(crate) fn once(
        &self,
        plan: &RunPlan,
        environment: Environment,
        perform: impl FnOnce(&Named<'_>) -> Result<Outcome>,
    ) -> Result<(Outcome, RunPaths)> {
        let dtype = Auto::here(plan.device).account(plan.dtype);
        let environment = Environment { dtype, ..environment };
        let id = RunId::new(plan, &environment);
        let paths = RunPaths::new(self.root, &id);
        loop {
            if let Some(record) = Record::find(&paths.record())? {
                return Ok((Outcome::Complete(Box::new(record)), paths));
            }
            let lock = match self.claiming {
                Claiming::ByCaller => None,
                Claiming::ByRunner => match Lock::take(&paths)? {
                    // Another process completed it.
                    None => continue,
                    taken => taken,
                },
            };
            let resume = self.resume != Resume::Never || lock.as_ref().is_some_and(|lock| lock.waited);
            let named = Named { plan, environment, id, paths, resume };
            let outcome = self.noted(&named, perform);
            if let Some(lock) = lock {
                lock.release(ending(&outcome));
            }
            return outcome.map(|outcome| (outcome, named.paths));
        }
    }

    /// Performs a run whose claim is held. Its configuration is kept before, that it reads test rows, and why it failed.
    fn noted(&self, named: &Named<'_>, perform: impl FnOnce(&Named<'_>) -> Result<Outcome>) -> Result<Outcome> {
        let Named { plan, environment, id, paths, .. } = named;
        if self.resume == Resume::Asked && !paths.checkpoint().exists() {
            eprintln!("{}", nearest::explain(self.root, id, plan, environment));
        }
        // What was interrupted goes on: it reads its test rows by the same choice, once in all.
        let noted = paths.config().exists() && test_reads::noted(self.root, id)?;
        save_config(plan, environment, paths)?;
        if let EvalSplit::Test(selection) = &plan.data.eval_split
            && !noted
        {
            let tasks: Vec<&str> = plan.data.eval.iter().map(|id| id.key()).collect();
            test_reads::note(self.root, id, &tasks, selection)?;
        }
        let outcome = perform(named);
        if let Err(error) = &outcome {
            let text = in_a_line(error) + "\n";
            // The failure itself matters more than that it could not be noted.
            if let Err(unnoted) = crate::atomic::write(&paths.failure(), text.as_bytes()) {
                eprintln!("{}: cannot be written: {unnoted}", paths.failure().display());
            }
        }
        outcome
    }

    fn perform(&self, run: &Started<'_>) -> Result<Outcome> {
        let Started { named: Named { plan, paths, .. }, loaded, .. } = run;
        let mut cost = Cost::default();
        let dims = loaded.decoder.dims();
        let mut adaptation = match &plan.adapt {
            Some(spec) => Some((spec, spec.build_on(dims, &loaded.lender(), Seed(plan.seed), plan.device.0)?)),
            None => None,
        };
        let (mut end, mut total) = (0, 0);
        let mut too_long = Vec::new();
        if let Some((spec, adaptation)) = &mut adaptation {
            let began = Instant::now();
            let (examples, rows) = run.data.examples(plan, loaded)?;
            too_long.extend(rows);
            (end, total, cost.train_tokens) = self.train(run, &examples, spec, adaptation.as_mut())?;
            cost.train_seconds = began.elapsed().as_secs_f64();
        }
        let began = Instant::now();
        let adaptation = adaptation.as_ref().map(|(_, adaptation)| adaptation.as_ref());
        let (scores, cut) = self.score(run, adaptation)?;
        too_long.extend(cut);
        if end < total {
            return Ok(Outcome::Rung(Rung { part: run.part, update: end, total, scores }));
        }
        cost.eval_seconds = began.elapsed().as_secs_f64();
        cost.peak_memory_mib = peak_memory_mib();
        let trainable = adaptation.map_or(0, |adaptation| adaptation.params().count());
        let record = Record {
            id: run.named.id.clone(),
            plan: (*plan).clone(),
            environment: run.named.environment.clone(),
            scores,
            best: None,
            left_out: Vec::new(),
            too_long,
            data_files: run.data.files.clone(),
            parameters: Parameters { trainable, base: loaded.decoder.parameters(), head: 0 },
            cost,
        };
        record.save(&paths.record())?;
        Ok(Outcome::Complete(Box::new(record)))
    }

    /// Trains and keeps the adapter; after a loss that is not finite, the adapter of the last finite one. Gives the update
    /// it ended at, those of the whole run, and the tokens seen.
    fn train(
        &self,
        run: &Started<'_>,
        examples: &[Example],
        spec: &AdaptSpec,
        adaptation: &mut dyn Adaptation,
    ) -> Result<(u64, u64, u64)> {
        let Started { named: Named { plan, paths, .. }, loaded, part, .. } = run;
        let model = loaded.decoder.as_ref();
        let frozen = match budget(plan) {
            Some(budget) => Frozen::new(model, adaptation, longest(examples), budget),
            None => Frozen::off(model),
        };
        let micro_tokens = plan.train.micro_batch_tokens;
        // What is seen once is not kept: it would not be asked for again.
        let shelf = (plan.train.epochs > 1).then_some(&loaded.shelf);
        let kept = shelf.map_or(0, |shelf| frozen.reserve(examples, micro_tokens, shelf));
        if shelf.is_none() {
            // What this run has no use for may be the memory that it needs.
            loaded.shelf.clear();
        }
        check_memory(plan, loaded, adaptation, longest(examples), kept)?;
        let mut objective =
            Causal { shelf, recompute: plan.train.recompute_blocks, ..Causal::new(model, frozen, micro_tokens) };
        let mut trainer = Trainer {
            objective: &mut objective,
            adaptation,
            plan: train_plan(plan),
            seed: Seed(plan.seed),
            examples,
            checkpoint: paths.checkpoint(),
        };
        let mut events = TensorBoard::new(paths.events(), paths.metrics());
        let mut metrics = Metrics::new(paths.metrics());
        let mut progress = Progress::new(self.label());
        let (end, total) = (trainer.until(*part), trainer.total());
        let outcome = trainer.fit(end, run.named.resume, &mut [&mut events, &mut metrics, &mut progress]);
        if outcome.as_ref().map_or_else(TrainError::keeps_parameters, |_| true) {
            adapter_file::save(&paths.adapter(), &loaded.base, spec, trainer.adaptation)?;
        }
        let seen = outcome.with_context(|| format!("{}: training stopped", paths.folder().display()))?;
        Ok((end, total, seen))
    }

    fn score(
        &self,
        run: &Started<'_>,
        adaptation: Option<&dyn Adaptation>,
    ) -> Result<(BTreeMap<String, Score>, Vec<TooLong>)> {
        let Started { named: Named { plan, paths, .. }, data, loaded, .. } = run;
        let step = adaptation.map(|adaptation| adaptation.begin(Mode::Eval));
        let evaluator = Evaluator {
            loaded,
            adaptation: step.as_deref(),
            plan: &plan.eval,
            max_length: plan.data.max_length,
            template: plan.data.template,
            seed: plan.seed,
        };
        let (mut scores, mut too_long) = (BTreeMap::new(), Vec::new());
        for (id, rows) in &data.eval {
            let Answered { predictions, too_long: cut } = evaluator.answer(id.task(), rows)?;
            if let Some(cut) = &cut {
                eprintln!("{}: {cut}", self.label());
            }
            too_long.extend(cut);
            prediction::save(&predictions, &paths.predictions(id.key()))?;
            if id.task().judged() {
                let path = paths.outputs(id.key());
                outputs::write(&path, &evaluate::outputs(&predictions, id.key(), &self.title))?;
                eprintln!("{}: {} answers to {} in {}", self.label(), predictions.len(), id.key(), path.display());
                continue;
            }
            let score = evaluate::score(&predictions);
            eprintln!("{}: {} {:.1} % of {}", self.label(), id.key(), score.percent(), score.n());
            scores.insert(id.key().to_owned(), score);
        }
        Ok((scores, too_long))
    }
}

/// A run whose folder exists.
pub(crate) struct Named<'a> {
    pub plan: &'a RunPlan,
    pub environment: Environment,
    pub id: RunId,
    pub paths: RunPaths,
    /// Whether it goes on from its checkpoint.
    pub resume: bool,
}

/// How an attempt ended. A failure is no reason not to try again: whoever starts the run once more wants that.
fn ending(outcome: &Result<Outcome>) -> Ending {
    match outcome {
        Ok(Outcome::Complete(_)) => Ending::Complete,
        Ok(Outcome::Rung(_)) => Ending::Rung,
        Err(error) => Ending::PutBack(in_a_line(error)),
    }
}

/// The same with what it needs.
struct Started<'a> {
    named: &'a Named<'a>,
    data: &'a Data,
    loaded: &'a Loaded,
    part: f64,
}

/// Tokens of the longest row.
fn longest(examples: &[Example]) -> usize {
    examples.iter().map(|example| example.ids.len()).max().unwrap_or(0)
}

/// Says what memory the run will take, `kept` bytes of it in the frozen cache, and refuses one that cannot fit. The weights
/// are there already.
fn check_memory(
    plan: &RunPlan,
    loaded: &Loaded,
    adaptation: &dyn Adaptation,
    longest: usize,
    kept: usize,
) -> Result<()> {
    let (model, parameters) = (loaded.decoder.as_ref(), loaded.decoder.parameters());
    let graph = model.dims().layers - adaptation.frontier().blocks;
    let estimate = Estimate::new(plan, model.dims(), parameters, longest, graph, kept);
    let estimate = estimate.training_numbers(plan, adaptation.params().count(), parameters);
    let loaded = parameters as usize * plan.dtype.kind().elt_size_in_bytes();
    estimate.check(memory::available(plan.device.0).map(|available| available.plus(loaded)))?;
    eprintln!("memory: about {} MiB ({})", estimate.total() >> 20, estimate.describe());
    Ok(())
}

/// How a run trains.
pub(crate) fn train_plan(plan: &RunPlan) -> Plan {
    let train = plan.train;
    Plan {
        epochs: train.epochs,
        lr: train.lr,
        batch: train.batch_size,
        warmup_ratio: train.warmup_ratio,
        rules: UpdateRules {
            weight_decay: train.weight_decay,
            decay: if plan.follows_pyreft(Point::Decay) { Decay::Pyreft } else { Decay::Matrices },
            clip: train.clip,
            peak: train.lr,
            head_gradients: if plan.follows_pyreft(Point::HeadGradients) {
                HeadGradients::Kept
            } else {
                HeadGradients::Zeroed
            },
        },
        checkpoint_every: train.checkpoint_every,
    }
}

/// What may be kept of what training cannot change.
fn budget(plan: &RunPlan) -> Option<Budget> {
    let train = plan.train;
    let budget = Budget { memory: train.frozen_memory_mib << 20, disk: train.frozen_disk_mib << 20 };
    train.frozen_cache.then_some(budget)
}

/// The resolved configuration beside the run: `reft train` accepts it again, the environment stands in comments.
fn save_config(plan: &RunPlan, environment: &Environment, paths: &RunPaths) -> Result<()> {
    let environment = serde_saphyr::to_string(environment)?;
    let comments: String = environment.lines().map(|line| format!("# {line}\n")).collect();
    let text = format!("{comments}{}", serde_saphyr::to_string(plan)?);
    crate::atomic::write(&paths.config(), text.as_bytes()).with_context(|| paths.config().display().to_string())
}
