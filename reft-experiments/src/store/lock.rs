//! One process at a time on a run, whichever command started it: the claim that sweeps take, taken for a single run. Who comes
//! second waits, and then finds the record or goes on from the checkpoint.

use std::time::Duration;

use anyhow::{Context, Result};
use time::OffsetDateTime;

use super::RunPaths;
use super::claim::{Claim, ClaimView};
use super::state::{AttemptEnd, RunState};

/// Time between two looks at a run that another process does.
const POLL: Duration = Duration::from_millis(500);

/// A run that this process may work on, until this is dropped.
pub struct Lock {
    claim: Claim,
    state: RunState,
    paths: RunPaths,
    /// Whether another process worked on it before, while this one waited.
    pub waited: bool,
}

impl Lock {
    /// Waits until no other process works on the run; none when it is complete by then. Its holder is named once.
    ///
    /// # Errors
    /// When files of the run cannot be read or written.
    pub fn take(paths: &RunPaths) -> Result<Option<Self>> {
        let claiming = || format!("{}: cannot be claimed", paths.folder().display());
        let (mut said, mut waited) = (None, false);
        while !paths.record().exists() {
            let state = RunState::read(paths)?;
            match state.next_claim(paths).with_context(claiming)? {
                Err(seen) => {
                    if said.as_ref() != Some(&seen.owner) {
                        eprintln!("{}", waiting(paths, &seen));
                    }
                    (said, waited) = (Some(seen.owner), true);
                    std::thread::sleep(POLL);
                }
                Ok(number) => {
                    // None when another process was faster: the next look shows it.
                    let claim = Claim::take(&paths.claim(number)).with_context(claiming)?;
                    if let Some(claim) = claim
                        && let Some(lock) = Self::begin(paths, claim, number, &state, waited)?
                    {
                        return Ok(Some(lock));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Notes the attempt; none when another process made one between the look and the claim.
    fn begin(paths: &RunPaths, claim: Claim, number: usize, seen: &RunState, waited: bool) -> Result<Option<Self>> {
        let claiming = || format!("{}: cannot be claimed", paths.folder().display());
        let mut state = RunState::read(paths)?;
        if state != *seen || paths.record().exists() {
            claim.withdraw().with_context(claiming)?;
            return Ok(None);
        }
        state.begin(number, claim.owner.clone(), paths).with_context(claiming)?;
        if let Err(error) = state.save(&paths.state()) {
            claim.withdraw().with_context(claiming)?;
            return Err(error.into());
        }
        Ok(Some(Self { claim, state, paths: paths.clone(), waited }))
    }

    /// Notes how the attempt ended, and lets the next process in.
    pub fn release(mut self, ending: AttemptEnd) {
        self.state.end(ending);
        // What cannot be noted is found out: this process is gone by then, or the record is there.
        if self.state.save(&self.paths.state()).is_err() {
            let _ = self.claim.withdraw();
        }
    }
}

/// Who works on a run, since when, and that it is waited for.
fn waiting(paths: &RunPaths, seen: &ClaimView) -> String {
    let owner = &seen.owner;
    let since = i64::try_from(owner.since).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let since = since.map_or(String::new(), |at| {
        format!(
            " since {:04}-{:02}-{:02} {:02}:{:02} UTC",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute()
        )
    });
    format!(
        "{}: process {} on {} does this run{since}: waiting for it",
        paths.folder().display(),
        owner.pid,
        owner.host
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RunId;

    fn paths(folder: &std::path::Path) -> RunPaths {
        let id: RunId = serde_json::from_str("\"0123\"").expect("an id");
        RunPaths::new(folder, &id)
    }

    #[test]
    fn a_second_process_waits_and_finds_the_record_or_its_turn() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let paths = paths(folder.path());
        let first = Lock::take(&paths).expect("writable").expect("free");
        assert!(!first.waited);
        let second = std::thread::scope(|scope| {
            let second = scope.spawn(|| Lock::take(&paths).expect("writable"));
            std::thread::sleep(POLL / 2);
            assert!(!second.is_finished(), "it waits");
            first.release(AttemptEnd::PutBack("a failure".to_owned()));
            second.join().expect("no panic").expect("its turn")
        });
        assert!(second.waited);
        let third = std::thread::scope(|scope| {
            let third = scope.spawn(|| Lock::take(&paths).expect("writable"));
            std::thread::sleep(POLL / 2);
            crate::atomic::write(&paths.record(), b"{}").expect("writable");
            second.release(AttemptEnd::Complete);
            third.join().expect("no panic")
        });
        assert!(third.is_none(), "the record is there");
        let endings: Vec<_> = RunState::read(&paths).expect("readable").attempts.into_iter().map(|a| a.ended).collect();
        assert_eq!(endings.len(), 2, "who waited and found the record made no attempt");
        assert!(endings.iter().all(Option::is_some));
    }
}
