//! A worker: does one piece of a sweep after the other, until there is nothing left. Any number of them may work on a sweep,
//! on any machines that share its folder.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::folder::{Sweep, TrialJob, WorkerAction};
use crate::console::{in_a_line, no_room};
use crate::run::session::Session;
use crate::run::{Claiming, Resume, RunOutcome, Runner};
use crate::store::claim::Claim;
use crate::store::state::{AttemptEnd, RunState};

/// Time between two looks at what others have done: doubled while there is nothing to do, up to the longest.
const POLL: Duration = Duration::from_millis(500);
const LONGEST_POLL: Duration = Duration::from_secs(4);

/// How long a worker goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorkLimit {
    /// Nothing is left to do.
    Done,
    /// Nothing is left, or the process that started it is gone.
    Orphaned(u32),
    /// So many pieces are done, or none can be begun; of these rungs only, if a last one is named.
    Pieces {
        /// How many at most.
        most: usize,
        /// The last rung.
        rung: Option<usize>,
    },
}

impl WorkLimit {
    fn allows(self, job: &TrialJob) -> bool {
        match self {
            Self::Pieces { rung: Some(last), .. } => job.rung.is_some_and(|rung| rung <= last),
            Self::Pieces { rung: None, .. } | Self::Done | Self::Orphaned(_) => true,
        }
    }
}

/// Works on a sweep.
///
/// # Errors
/// When files cannot be read or written. A trial that fails is noted as such and is no error.
pub fn work(sweep: &mut Sweep, until: WorkLimit) -> Result<()> {
    let (mut session, mut done, mut poll) = (Session::from_env(), 0, POLL);
    // Names of runs hold how many threads they were done in.
    if sweep.manifest.threads > 0 && sweep.manifest.threads != tch::get_num_threads() {
        tch::set_num_threads(sweep.manifest.threads);
    }
    loop {
        match until {
            WorkLimit::Orphaned(parent) if std::os::unix::process::parent_id() != parent => return Ok(()),
            WorkLimit::Pieces { most, .. } if done >= most => return Ok(()),
            WorkLimit::Orphaned(_) | WorkLimit::Pieces { .. } | WorkLimit::Done => {}
        }
        let begun = match sweep.decide()? {
            WorkerAction::Done => return Ok(()),
            WorkerAction::Wait => false,
            WorkerAction::Jobs(jobs) => {
                let mut begun = false;
                for job in jobs.into_iter().filter(|job| until.allows(job)) {
                    begun = perform(sweep, &job, &mut session)?;
                    if begun {
                        break;
                    }
                }
                begun
            }
        };
        match (begun, until) {
            (true, _) => (done, poll) = (done + 1, POLL),
            (false, WorkLimit::Pieces { .. }) if !doubtful(sweep)? => return Ok(()),
            (false, WorkLimit::Pieces { .. } | WorkLimit::Done | WorkLimit::Orphaned(_)) => {
                std::thread::sleep(poll);
                poll = LONGEST_POLL.min(2 * poll);
            }
        }
    }
}

/// Whether a claim of another machine looks abandoned: a piece that may become free before long.
fn doubtful(sweep: &mut Sweep) -> Result<bool> {
    let survey = sweep.survey()?;
    let mut views = survey.trials.iter().chain(&survey.last);
    Ok(views.any(|view| view.claim.as_ref().is_err_and(|seen| seen.doubtful)))
}

/// Does a job unless another worker has it; false if so.
fn perform(sweep: &Sweep, job: &TrialJob, session: &mut Session) -> Result<bool> {
    let paths = sweep.paths(&job.run);
    let claiming = || format!("{}: cannot be claimed", paths.folder().display());
    let Some(claim) = Claim::take(&paths.claim(job.claim)).with_context(claiming)? else { return Ok(false) };
    let mut state = RunState::read(&paths)?;
    if state != job.view.state {
        // Another worker did it between the look and the claim.
        claim.withdraw().with_context(claiming)?;
        return Ok(false);
    }
    state.begin(job.claim, claim.owner.clone(), &paths)?;
    if let Err(error) = state.save(&paths.state()) {
        claim.withdraw().with_context(claiming)?;
        return Err(error.into());
    }
    let (ending, full) = attempt(sweep, job, session, &mut state);
    state.end(ending);
    let saved = state.save(&paths.state());
    full.map_or(Ok(()), Err)?;
    saved?;
    Ok(true)
}

/// Does a claimed job. How it ended, and the error if the disk is full, which no other trial would find otherwise.
fn attempt(
    sweep: &Sweep,
    job: &TrialJob,
    session: &mut Session,
    state: &mut RunState,
) -> (AttemptEnd, Option<anyhow::Error>) {
    let folder = sweep.paths(&job.run).folder().to_owned();
    let (resume, claiming) = (Resume::IfBegun, Claiming::ByCaller);
    let runner = Runner { root: sweep.runs(), resume, claiming, title: job.title.clone(), turn: None };
    let advance = || runner.advance(&job.plan, session, job.part);
    let outcome =
        catch_unwind(AssertUnwindSafe(advance)).unwrap_or_else(|_| Err(anyhow!("internal error, see the log")));
    let ending = match outcome {
        Ok((_, done)) if done.folder() != folder => AttemptEnd::Failed(
            "data or model changed since the sweep was planned: run the sweep's file again".to_owned(),
        ),
        Ok((RunOutcome::Complete(_), _)) => AttemptEnd::Complete,
        Ok((RunOutcome::Rung(rung), _)) => {
            state.rungs.retain(|other| (other.part - rung.part).abs() > 1e-9);
            state.rungs.push(rung);
            AttemptEnd::Rung
        }
        Err(error) => {
            let said = in_a_line(&error);
            eprintln!("{}: {said}", job.title);
            if no_room(&error).is_some() {
                return (AttemptEnd::PutBack(said), Some(error));
            }
            AttemptEnd::Failed(said)
        }
    };
    (ending, None)
}

/// Gives up the claims of dead processes, so that the next worker need not wait until they are known to be dead.
///
/// # Errors
/// When files cannot be read or written.
pub fn release(sweep: &mut Sweep) -> Result<()> {
    let survey = sweep.survey()?;
    let runs = sweep.manifest.runs();
    for (run, view) in runs.zip(survey.trials.iter().chain(&survey.last)) {
        let open = view.state.attempts.last().is_some_and(|attempt| attempt.ended.is_none());
        let (true, false, Ok(number)) = (open, view.complete, &view.claim) else { continue };
        let paths = sweep.paths(run);
        let claiming = || format!("{}: cannot be claimed", paths.folder().display());
        if let Some(claim) = Claim::take(&paths.claim(*number)).with_context(claiming)? {
            let mut state = RunState::read(&paths)?;
            state.begin(*number, claim.owner.clone(), &paths)?;
            state.end(AttemptEnd::TimedOut);
            state.save(&paths.state())?;
        }
    }
    Ok(())
}
