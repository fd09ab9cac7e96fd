//! A run's name, its claim and its folder: the record comes from the store if the run was done before with the same result,
//! else from performing it now.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use reft_models::distributed::ProcessGroup;

use super::choice;
use super::experiment::RunRows;
use super::fit::Fit;
use super::named::{NamedRun, RunOutcome};
use super::perform::perform;
use super::session::Session;
use crate::config::plan::{EvalSplit, RunPlan};
use crate::console::in_a_line;
use crate::machine::fast::AutoDtype;
use crate::store::environment::Environment;
use crate::store::lock::Lock;
use crate::store::record::Record;
use crate::store::state::AttemptEnd;
use crate::store::{RunId, RunPaths, nearest, test_reads};
use crate::train::checkpoint::Saved;
use crate::train::ranks::Word;

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
    /// The runner takes it, and waits for the process that has it.
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
    /// The title with the turn, for lines of progress.
    fn label(&self) -> String {
        self.turn.map_or(String::new(), |(turn, of)| format!("[{turn}/{of}] ")) + &self.title
    }

    /// The record of a plan: from the store if this run was done before with the same result, else from doing it now.
    ///
    /// # Errors
    /// When anything the run needs is missing, or training does not stay finite; `failure.txt` in the run's folder says why.
    pub fn execute(&self, plan: &RunPlan, session: &mut Session) -> Result<(Record, RunPaths)> {
        match self.advance(plan, session, 1.0)? {
            (RunOutcome::Complete(record), paths) => Ok((*record, paths)),
            (RunOutcome::Rung(rung), paths) => bail!("{}: stopped at update {}", paths.folder().display(), rung.update),
        }
    }

    /// Refuses a plan that its rows or its model do not fit, before several are executed. A complete run needs no model.
    ///
    /// # Errors
    /// When they do not, or something is missing.
    pub fn check(&self, plan: &RunPlan, session: &mut Session) -> Result<()> {
        let rows = choice::rows(plan, &session.sources)?;
        let id = RunId::new(plan, &environment(plan, rows.as_ref(), session)?);
        match Record::find(&RunPaths::new(self.root, &id).record())? {
            Some(_) => Ok(()),
            None => rows.load(session)?.check(plan),
        }
    }

    /// As [`Runner::execute`], but a plan is trained and scored only after this part of the updates, from 0 to 1.
    ///
    /// # Errors
    /// As for [`Runner::execute`].
    pub fn advance(&self, plan: &RunPlan, session: &mut Session, part: f64) -> Result<(RunOutcome, RunPaths)> {
        let rows = choice::rows(plan, &session.sources)?;
        let environment = environment(plan, rows.as_ref(), session)?;
        let group = session.group.clone();
        let id = RunId::new(plan, &environment);
        let paths = RunPaths::new(self.root, &id);
        // A complete run needs no model, which may not fit into memory here.
        if let Some(record) = Record::find(&paths.record())? {
            eprintln!("{}: done already, in {}: nothing is trained", self.label(), paths.folder().display());
            group.map_or(Ok(()), |group| Word::Done.tell(&group, &id.to_string()))?;
            return Ok((RunOutcome::Complete(Box::new(record)), paths));
        }
        let experiment = rows.load(session)?;
        experiment.check(plan)?;
        self.once(plan, environment, group, |named| perform(experiment.as_ref(), named, part))
    }

    /// Trains a plan's run as one of the ranks above 0: rank 0 executes it, and this process computes its share of every update.
    ///
    /// # Errors
    /// When anything the run needs is missing, another rank has ended, or rank 0 does another run.
    pub fn assist(&self, plan: &RunPlan, session: &mut Session) -> Result<()> {
        let rows = choice::rows(plan, &session.sources)?;
        let environment = environment(plan, rows.as_ref(), session)?;
        let Some(group) = session.group.clone() else { return Ok(()) };
        let id = RunId::new(plan, &environment);
        let paths = RunPaths::new(self.root, &id);
        let complete = Record::find(&paths.record())?.is_some();
        let experiment = if complete { None } else { Some(rows.load(session)?) };
        if Word::hear(&group, &id.to_string())? == Word::Done {
            return Ok(());
        }
        let Some(experiment) = experiment else {
            bail!(
                "{}: complete here and not at rank 0: all ranks need the same folder of runs",
                paths.folder().display()
            );
        };
        let (title, label) = (self.title.clone(), self.label());
        let named = NamedRun { plan, environment, id, paths, title, label, resume: false, group: Some(group) };
        experiment.begin(&named)?.train(&Fit { named: &named, part: 1.0 }).map(drop)
    }

    /// What came of a run in this environment: from the store, or from performing it now. Another process that does the same
    /// run is waited for.
    ///
    /// # Errors
    /// What performing it reports, noted in the run's folder.
    fn once(
        &self,
        plan: &RunPlan,
        environment: Environment,
        group: Option<Rc<ProcessGroup>>,
        perform: impl FnOnce(&NamedRun<'_>) -> Result<RunOutcome>,
    ) -> Result<(RunOutcome, RunPaths)> {
        let tell = |word: Word, id: &RunId| group.as_ref().map_or(Ok(()), |group| word.tell(group, &id.to_string()));
        let id = RunId::new(plan, &environment);
        let paths = RunPaths::new(self.root, &id);
        loop {
            if let Some(record) = Record::find(&paths.record())? {
                tell(Word::Done, &id)?;
                return Ok((RunOutcome::Complete(Box::new(record)), paths));
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
            let (title, label) = (self.title.clone(), self.label());
            tell(Word::Train, &id)?;
            let named = NamedRun { plan, environment, id, paths, title, label, resume, group };
            let outcome = self.noted(&named, perform);
            if let Some(lock) = lock {
                lock.release(ending(&outcome));
            }
            return outcome.map(|outcome| (outcome, named.paths));
        }
    }

    /// Performs a run whose claim is held. Its configuration is kept before, that it reads test rows, and why it failed.
    fn noted(
        &self,
        named: &NamedRun<'_>,
        perform: impl FnOnce(&NamedRun<'_>) -> Result<RunOutcome>,
    ) -> Result<RunOutcome> {
        let NamedRun { plan, environment, id, paths, .. } = named;
        if !named.resume
            && let Some(saved) = Saved::read(&paths.checkpoint())?
        {
            let (folder, update) = (paths.folder().display(), saved.updates());
            bail!(
                "{folder}: interrupted after update {update}: go on with --resume, or delete the folder to begin anew"
            );
        }
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
}

/// The name of a plan's run.
///
/// # Errors
/// When data or the model's files are missing.
pub fn run_name(plan: &RunPlan, session: &mut Session) -> Result<RunId> {
    let rows = choice::rows(plan, &session.sources)?;
    Ok(RunId::new(plan, &environment(plan, rows.as_ref(), session)?))
}

/// What a run depends on beside its plan.
fn environment(plan: &RunPlan, rows: &dyn RunRows, session: &mut Session) -> Result<Environment> {
    let here = Environment::here(rows.fingerprint(), session.identity(plan)?);
    let processes = session.group.as_ref().map_or(1, |group| group.size());
    Ok(Environment { dtype: AutoDtype::here(plan.device).account(plan.dtype), processes, ..here })
}

/// How an attempt ended. A run that failed may be tried again: starting it once more asks for that.
fn ending(outcome: &Result<RunOutcome>) -> AttemptEnd {
    match outcome {
        Ok(RunOutcome::Complete(_)) => AttemptEnd::Complete,
        Ok(RunOutcome::Rung(_)) => AttemptEnd::Rung,
        Err(error) => AttemptEnd::PutBack(in_a_line(error)),
    }
}

/// The resolved configuration beside the run: `reft train` accepts it again, the environment stands in comments.
fn save_config(plan: &RunPlan, environment: &Environment, paths: &RunPaths) -> Result<()> {
    let environment = serde_saphyr::to_string(environment)?;
    let comments: String = environment.lines().map(|line| format!("# {line}\n")).collect();
    let text = format!("{comments}{}", serde_saphyr::to_string(plan)?);
    crate::atomic::write(&paths.config(), text.as_bytes()).with_context(|| paths.config().display().to_string())
}
