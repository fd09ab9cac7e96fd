//! What sweeps did with a run so far: its attempts and its scores at rungs. Written by the holder of the claim only.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RunPaths;
use super::claim::{self, ClaimView, Owner};
use super::record::{RecordError, Rung};

/// How an attempt ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// Trained and scored up to a rung.
    Rung,
    /// The run is complete.
    Complete,
    /// It cannot be done.
    Failed(String),
    /// It could not be done, and is to be tried again.
    PutBack(String),
    /// Its time was over; it is to go on from its checkpoint.
    TimedOut,
    /// Its process died.
    Lost,
}

/// One attempt at a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// Who made it.
    pub owner: Owner,
    /// How it ended, and when in seconds since 1970; none while it lasts.
    pub ended: Option<(AttemptEnd, u64)>,
}

/// The state of a run.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct RunState {
    /// In order; attempt `n` holds claim `n`.
    pub attempts: Vec<Attempt>,
    /// Scores of the partly trained run.
    pub rungs: Vec<Rung>,
}

/// Deaths in a row after which no worker tries again: whatever kills the process would kill it once more.
const DEATHS: usize = 8;

impl RunState {
    /// The state of a run; empty when it was not tried.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(paths: &RunPaths) -> Result<Self, RecordError> {
        let path = paths.state();
        match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(RecordError::Io { path, source }),
            Ok(text) => serde_json::from_str(&text)
                .map_err(|error| RecordError::Damaged { path: path.clone(), reason: error.to_string() }),
        }
    }

    /// Writes it, complete or not at all.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn save(&self, path: &Path) -> Result<(), RecordError> {
        let json = serde_json::to_vec_pretty(self).expect("plain data");
        crate::atomic::write(path, &json).map_err(|source| RecordError::Io { path: path.to_owned(), source })
    }

    /// The number of the next claim, or who holds the present one.
    ///
    /// # Errors
    /// When a claim cannot be read.
    pub fn next_claim(&self, paths: &RunPaths) -> std::io::Result<Result<usize, ClaimView>> {
        let over = self.attempts.iter().take_while(|attempt| attempt.ended.is_some()).count();
        for number in over.. {
            match claim::look(&paths.claim(number))? {
                None => return Ok(Ok(number)),
                Some(seen) if seen.alive => return Ok(Err(seen)),
                Some(_) => {}
            }
        }
        unreachable!("claims end somewhere")
    }

    /// Notes the attempt that claim `number` begins, and those before it whose processes died.
    ///
    /// # Errors
    /// When an earlier claim cannot be read.
    pub fn begin(&mut self, number: usize, owner: Owner, paths: &RunPaths) -> std::io::Result<()> {
        let lost = Some((AttemptEnd::Lost, claim::now()));
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.ended.is_none()) {
            attempt.ended.clone_from(&lost);
        }
        for missing in self.attempts.len()..number {
            if let Some(seen) = claim::look(&paths.claim(missing))? {
                self.attempts.push(Attempt { owner: seen.owner, ended: lost.clone() });
            }
        }
        self.attempts.push(Attempt { owner, ended: None });
        Ok(())
    }

    /// Notes how the present attempt ended.
    pub fn end(&mut self, ending: AttemptEnd) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.ended = Some((ending, claim::now()));
        }
    }

    /// Why no worker should try again, if so.
    pub fn failure(&self) -> Option<String> {
        let endings = || self.attempts.iter().rev().map(|attempt| attempt.ended.as_ref().map(|(ending, _)| ending));
        let deaths = endings().take_while(|ending| *ending == Some(&AttemptEnd::Lost)).count();
        match endings().next().flatten() {
            Some(AttemptEnd::Failed(reason)) => Some(reason.clone()),
            Some(AttemptEnd::Lost) if deaths >= DEATHS => {
                Some(format!("its process died {deaths} times in a row: look for a lack of memory"))
            }
            Some(
                AttemptEnd::Rung
                | AttemptEnd::Complete
                | AttemptEnd::PutBack(_)
                | AttemptEnd::TimedOut
                | AttemptEnd::Lost,
            )
            | None => None,
        }
    }

    /// Seconds of work in attempts that ended, those of the dead aside.
    pub fn seconds(&self) -> u64 {
        let of = |attempt: &Attempt| match &attempt.ended {
            Some((AttemptEnd::Rung | AttemptEnd::Complete | AttemptEnd::Failed(_), at)) => {
                at.saturating_sub(attempt.owner.since)
            }
            Some((AttemptEnd::Lost | AttemptEnd::TimedOut | AttemptEnd::PutBack(_), _)) | None => 0,
        };
        self.attempts.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RunId;
    use crate::store::claim::Claim;

    fn paths(folder: &Path) -> RunPaths {
        let id: RunId = serde_json::from_str("\"0123\"").expect("an id");
        RunPaths::new(folder, &id)
    }

    /// A claim of a process that is gone.
    fn leave_claim(paths: &RunPaths, number: usize) {
        let mut owner = serde_json::to_value(Owner::here()).expect("plain data");
        owner["began"] = "1".into();
        crate::atomic::write(&paths.claim(number), owner.to_string().as_bytes()).expect("writable");
    }

    #[test]
    fn a_released_claim_and_that_of_a_dead_process_are_followed_by_the_next() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let paths = paths(folder.path());
        let mut state = RunState::read(&paths).expect("readable");
        assert_eq!(state.next_claim(&paths).expect("readable"), Ok(0));
        let claim = Claim::take(&paths.claim(0)).expect("writable").expect("free");
        state.begin(0, claim.owner.clone(), &paths).expect("readable");
        state.save(&paths.state()).expect("writable");
        let held = RunState::read(&paths).expect("readable").next_claim(&paths).expect("readable");
        assert_eq!(held.expect_err("held").owner.pid, std::process::id());
        state.end(AttemptEnd::Rung);
        assert_eq!(state.next_claim(&paths).expect("readable"), Ok(1), "released");
        leave_claim(&paths, 1);
        leave_claim(&paths, 2);
        assert_eq!(state.next_claim(&paths).expect("readable"), Ok(3), "two died before they wrote a state");
        state.begin(3, Owner::here(), &paths).expect("readable");
        let endings: Vec<_> = state.attempts.iter().map(|a| a.ended.clone().map(|(ending, _)| ending)).collect();
        assert_eq!(endings, [Some(AttemptEnd::Rung), Some(AttemptEnd::Lost), Some(AttemptEnd::Lost), None]);
    }

    #[test]
    fn a_reason_or_many_deaths_in_a_row_end_the_attempts() {
        let mut state = RunState::default();
        let attempt = |ending| Attempt { owner: Owner::here(), ended: Some((ending, 0)) };
        state.attempts.push(attempt(AttemptEnd::Failed("no room".to_owned())));
        assert_eq!(state.failure().as_deref(), Some("no room"));
        state.attempts = vec![attempt(AttemptEnd::Lost); DEATHS - 1];
        state.attempts.insert(0, attempt(AttemptEnd::Rung));
        assert_eq!(state.failure(), None);
        state.attempts.push(attempt(AttemptEnd::Lost));
        assert!(state.failure().is_some_and(|reason| reason.contains("died 8 times in a row")));
    }
}
