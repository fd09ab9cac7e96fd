//! Workers as processes of this machine, with the cores divided among them and a GPU each.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::machine::last_words::{LastWords, last_line};
use crate::machine::{cores, env, gpus, openmp, root};

/// How many workers, and what each may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalLauncher {
    /// Processes.
    pub workers: usize,
    /// Threads of each.
    pub threads: usize,
    /// Values of `CUDA_VISIBLE_DEVICES`, dealt out in turn; none to leave it as it is.
    pub gpus: Vec<String>,
}

/// Time between two looks at the workers.
const TICK: Duration = Duration::from_millis(200);

/// Ends in a row, without work in between, after which a worker is not started again.
const ENDS: usize = 5;

/// A place for a worker: the process in it, and how often one died there in a row.
struct WorkerSlot {
    log: PathBuf,
    worker: Option<WorkerProcess>,
    deaths: usize,
}

/// A worker's process.
struct WorkerProcess {
    child: Child,
    /// What it left on its standard output.
    said: Option<LastWords>,
}

impl WorkerProcess {
    fn new(mut child: Child) -> Self {
        let said = child.stdout.take().map(LastWords::of);
        Self { child, said }
    }

    /// Why it ended, by its own words: the last that it left for us, or else the last line of its log.
    fn last_words(&mut self, log: &Path) -> String {
        let mut text = self.said.take().map(LastWords::text).unwrap_or_default();
        if text.trim().is_empty() {
            text = std::fs::read_to_string(log).unwrap_or_default();
        }
        last_line(&text).unwrap_or("nothing").to_owned()
    }
}

impl LocalLauncher {
    /// The cores that this process may use divided among `workers`, unless `OMP_NUM_THREADS` says how many threads each has:
    /// digits depend on that. A GPU each, of those that `CUDA_VISIBLE_DEVICES` names or the system has.
    pub fn new(workers: usize) -> Self {
        let workers = workers.max(1);
        let threads = openmp::asked(&env).unwrap_or_else(|| cores::usable(root(), &env) / workers);
        Self { workers, threads: threads.max(1), gpus: gpus::visible() }
    }

    /// Starts the workers and waits until all have ended because nothing was left. One that dies is started again. `tick`
    /// is called about five times a second and says how much work is done; where it grows, deaths count anew.
    ///
    /// # Errors
    /// When a worker cannot be started, or dies time and again.
    pub fn run(&self, folder: &Path, runs: &Path, tick: &mut dyn FnMut() -> Result<usize>) -> Result<()> {
        let place = |number| WorkerSlot { log: folder.join(format!("worker-{number}.log")), worker: None, deaths: 0 };
        let mut places: Vec<WorkerSlot> = (0..self.workers).map(place).collect();
        for (number, place) in places.iter_mut().enumerate() {
            place.worker = Some(self.start(number, &place.log, folder, runs)?);
        }
        let mut done = 0;
        while places.iter().any(|place| place.worker.is_some()) {
            std::thread::sleep(TICK);
            let now = tick()?;
            if now > done {
                for place in &mut places {
                    place.deaths = 0;
                }
            }
            done = now;
            for (number, place) in places.iter_mut().enumerate() {
                let Some(worker) = &mut place.worker else { continue };
                let ended = worker.child.try_wait().context("a worker cannot be waited for")?;
                let Some(status) = ended else { continue };
                if status.success() {
                    place.worker = None;
                    continue;
                }
                place.deaths += 1;
                let (log, said) = (place.log.display(), worker.last_words(&place.log));
                if place.deaths >= ENDS {
                    bail!(
                        "worker {number} ended {ENDS} times in a row ({status}): {said}: see {log}; what is done is kept"
                    );
                }
                eprintln!("worker {number} ended ({status}) and is started again; it said in {log}: {said}");
                place.worker = Some(self.start(number, &place.log, folder, runs)?);
            }
        }
        Ok(())
    }

    fn start(&self, number: usize, log: &Path, folder: &Path, runs: &Path) -> Result<WorkerProcess> {
        let open = || File::options().create(true).append(true).open(log);
        let said = |name: &Path| format!("{}: cannot be opened", name.display());
        let program = std::env::current_exe().context("the program's own path is not known")?;
        let mut command = Command::new(&program);
        command.args(["sweep", "work"]).arg(folder).arg("--runs").arg(runs);
        command.arg("--parent").arg(std::process::id().to_string());
        for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"] {
            command.env(variable, self.threads.to_string());
        }
        command.envs(openmp::waiting(&env, self.threads));
        if let Some(gpu) = self.gpus.get(number % self.gpus.len().max(1)) {
            command.env(gpus::VISIBLE, gpu);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(open().with_context(|| said(log))?);
        command.spawn().map(WorkerProcess::new).with_context(|| said(&program))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_says_more_than_a_pipe_holds_goes_on_and_its_last_words_are_kept() {
        let script = "i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done; echo the end";
        let child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("a shell");
        let mut worker = WorkerProcess::new(child);
        assert!(worker.child.wait().expect("it ends").success());
        assert_eq!(worker.last_words(Path::new("no such log")), "the end");
    }

    #[test]
    fn last_words_of_a_worker_without_output_come_from_its_log() {
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(log.path(), "one\ntwo\n\n").expect("writable");
        let child = Command::new("true").stdout(Stdio::piped()).spawn().expect("a program");
        assert_eq!(WorkerProcess::new(child).last_words(log.path()), "two");
    }
}
