//! Who works on a run: claims by exclusive creation, so that two workers never do a run at once.
//!
//! A run's claims are numbered. Number `n + 1` may be created when the holder of `n` has released it or is dead, and of
//! several who try one succeeds. A holder is dead when its process is gone, or, on another machine, when the observer has seen
//! its claim untouched for [`SILENCE`]. That is measured by the observer's own monotonic clock from its first look on: clocks
//! of machines and of file servers differ.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

/// Time between two touches.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Time after which a holder on another machine counts as dead.
pub const SILENCE: Duration = Duration::from_mins(3);

/// A process on a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owner {
    /// The machine's name, for people.
    pub host: String,
    /// The machine since its last start, and the process numbering in it (containers have their own).
    machine: String,
    /// The process.
    pub pid: u32,
    /// When the process began, in the system's ticks: numbers of processes are used again.
    began: String,
    /// When it claimed, in seconds since 1970.
    pub since: u64,
}

impl Owner {
    /// This process, now.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let numbering = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let pid = std::process::id();
        Self {
            host: read("/proc/sys/kernel/hostname"),
            machine: format!("{} {}", read("/proc/sys/kernel/random/boot_id"), numbering.display()),
            pid,
            began: began(pid).unwrap_or_default(),
            since: now(),
        }
    }

    /// Whether the process still runs; none where that cannot be seen from here.
    fn runs(&self) -> Option<bool> {
        let same = self.machine == Self::here().machine;
        same.then(|| began(self.pid).is_some_and(|began| began == self.began))
    }
}

/// When a process began; none when there is none, or only its remains.
fn began(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18).map(str::to_owned) }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A claim file as others see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimView {
    /// Whose it is.
    pub owner: Owner,
    /// Whether the owner still works, as far as is known.
    pub alive: bool,
    /// Whether its last touch is so long ago by the clocks, which may differ, that it is worth being watched for [`SILENCE`].
    pub doubtful: bool,
}

/// When claims of other machines were last touched, and when this process saw that first.
#[derive(Default)]
struct Observations(HashMap<PathBuf, (SystemTime, Instant)>);

impl Observations {
    /// For how long the claim has been seen untouched.
    fn silence(&mut self, path: &Path, touched: SystemTime, now: Instant) -> Duration {
        let (seen, since) = self.0.entry(path.to_owned()).or_insert((touched, now));
        if *seen != touched {
            (*seen, *since) = (touched, now);
        }
        now.saturating_duration_since(*since)
    }
}

static OBSERVED: LazyLock<Mutex<Observations>> = LazyLock::new(Mutex::default);

/// The claim at `path`; none when there is none.
///
/// # Errors
/// When it cannot be read.
pub fn look(path: &Path) -> std::io::Result<Option<ClaimView>> {
    let mut observed = OBSERVED.lock().unwrap_or_else(PoisonError::into_inner);
    look_at(path, &mut observed, Instant::now())
}

fn look_at(path: &Path, observed: &mut Observations, now: Instant) -> std::io::Result<Option<ClaimView>> {
    let text = std::fs::read_to_string(path);
    let touched = std::fs::metadata(path).and_then(|file| file.modified());
    let (text, touched) = match text.and_then(|text| Ok((text, touched?))) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let owner: Owner = serde_json::from_str(&text).map_err(|error| std::io::Error::other(error.to_string()))?;
    let runs = owner.runs();
    let alive = runs.unwrap_or_else(|| observed.silence(path, touched, now) < SILENCE);
    let doubtful = alive && runs.is_none() && touched.elapsed().is_ok_and(|silent| silent >= SILENCE);
    Ok(Some(ClaimView { owner, alive, doubtful }))
}

/// A claim that this process holds. It is touched until it is dropped; the file stays.
#[derive(Debug)]
pub struct Claim {
    /// Whose it is.
    pub owner: Owner,
    path: PathBuf,
    heart: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Claim {
    /// Creates the claim; none when another process has it.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn take(path: &Path) -> std::io::Result<Option<Self>> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let owner = Owner::here();
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.as_file_mut().write_all(&serde_json::to_vec(&owner).expect("plain data"))?;
        file.as_file().sync_all()?;
        // Appears with its content or not at all, and only if there is none.
        let file = match file.persist_noclobber(path) {
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(None),
            persisted => persisted.map_err(|error| error.error)?,
        };
        let (stop, stopped) = channel();
        let beat = move || {
            while stopped.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                touch(&file);
            }
        };
        Ok(Some(Self { owner, path: path.to_owned(), heart: Some((stop, std::thread::spawn(beat))) }))
    }

    /// Takes the claim back, as if it had never been. For a holder that did nothing.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn withdraw(self) -> std::io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// A touch that fails is followed by another; after too many failures others take the run over, which loses nothing.
fn touch(file: &File) {
    let _ = file.set_modified(SystemTime::now());
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((stop, heart)) = self.heart.take() {
            drop(stop);
            let _ = heart.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run/claim-0000.json");
        (folder, path)
    }

    #[test]
    fn one_of_several_threads_gets_the_claim() {
        let (_folder, path) = file();
        let taken: Vec<Option<Claim>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Claim::take(&path).expect("writable"))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(taken.iter().flatten().count(), 1);
        let seen = look(&path).expect("readable").expect("there");
        assert!(seen.alive && seen.owner.pid == std::process::id());
        taken.into_iter().flatten().for_each(|claim| claim.withdraw().expect("removed"));
        assert_eq!(look(&path).expect("readable"), None);
    }

    #[test]
    fn a_local_owner_is_alive_by_its_process_and_a_remote_one_by_its_heartbeat() {
        let (_folder, path) = file();
        let mut observed = Observations::default();
        let begin = Instant::now();
        let mut seen = |change: &dyn Fn(&mut Owner), touched: SystemTime, later: Duration| {
            let mut owner = Owner::here();
            change(&mut owner);
            crate::atomic::write(&path, &serde_json::to_vec(&owner).expect("plain data")).expect("writable");
            let file = File::options().write(true).open(&path).expect("there");
            file.set_modified(touched).expect("writable");
            look_at(&path, &mut observed, begin + later).expect("readable").expect("there")
        };
        let (now, none) = (SystemTime::now(), Duration::ZERO);
        assert!(seen(&|_| (), now - SILENCE * 2, none).alive, "the process itself is what counts here");
        assert!(!seen(&|owner| owner.began = "1".to_owned(), now, none).alive, "another process with this number");
        assert!(!seen(&|owner| owner.pid = u32::MAX, now, none).alive);
        let far = |owner: &mut Owner| owner.machine = "far".to_owned();
        // By its own clock it was touched an hour ago, or will be in an hour: that says nothing yet.
        for touched in [now - Duration::from_hours(1), now + Duration::from_hours(1)] {
            assert!(seen(&far, touched, none).alive);
        }
        assert!(seen(&far, now - SILENCE * 2, none).doubtful && !seen(&far, now, none).doubtful);
        let touch = now + Duration::from_secs(1);
        assert!(seen(&far, touch, SILENCE).alive, "a touch after a long silence");
        assert!(seen(&far, touch, SILENCE + Duration::from_secs(SILENCE.as_secs() - 1)).alive);
        assert!(!seen(&far, touch, SILENCE * 2).alive, "seen untouched for so long");
    }
}
