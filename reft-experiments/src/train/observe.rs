//! Observers of a run: what is told of each update, and its trace.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::TrainError;
use super::learner::Update;

/// One update, as `metrics.jsonl` keeps it. Holds nothing that depends on the clock, so that a resumed run's trace is
/// the uninterrupted one's.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct StepInfo {
    /// The update, from 0.
    pub step: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// What it did.
    #[serde(flatten)]
    pub update: Update,
    /// The learning rate.
    pub lr: f64,
    /// The mean loss of the dev rows after it, where they were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev_loss: Option<f64>,
}

/// A follower of a run: a trace, a progress line.
pub trait Observer {
    /// The run begins, or goes on at update `done` of `total`.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn start(&mut self, done: u64, total: u64) -> Result<(), TrainError>;

    /// An update is done.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn step(&mut self, info: &StepInfo) -> Result<(), TrainError>;
}

/// Makes an `io::Error` name its file.
pub fn at(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError {
    let path = path.to_owned();
    move |source| TrainError::Observe { path, source }
}

/// The trace of a run as JSON lines, one an update.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: Option<File>,
}

impl Metrics {
    /// Whether a trace has updates, and none that changed anything: a warm-up takes them all.
    pub fn all_at_rate_0(path: &Path) -> bool {
        let trace = Self::kept(path, u64::MAX);
        !trace.is_empty() && trace.iter().all(|step| step.lr == 0.0)
    }

    /// A trace kept at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// The updates before `done` that the file holds. Whatever an interrupted run wrote after its last checkpoint, or
    /// left half-written, is not among them.
    pub fn kept(path: &Path, done: u64) -> Vec<StepInfo> {
        let Ok(file) = File::open(path) else { return Vec::new() };
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        let parsed = lines.map_while(|line| serde_json::from_str::<StepInfo>(&line).ok());
        parsed.filter(|info| info.step < done).collect()
    }
}

impl Observer for Metrics {
    fn start(&mut self, done: u64, _: u64) -> Result<(), TrainError> {
        let kept = Self::kept(&self.path, done);
        let lines: String = kept.iter().map(line).collect();
        crate::atomic::write(&self.path, lines.as_bytes()).map_err(at(&self.path))?;
        let file = File::options().append(true).open(&self.path).map_err(at(&self.path))?;
        self.file = Some(file);
        Ok(())
    }

    fn step(&mut self, info: &StepInfo) -> Result<(), TrainError> {
        match &mut self.file {
            Some(file) => file.write_all(line(info).as_bytes()).map_err(at(&self.path)),
            None => Ok(()),
        }
    }
}

fn line(info: &StepInfo) -> String {
    serde_json::to_string(info).expect("plain numbers") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_trace_drops_what_came_after_the_checkpoint() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.jsonl");
        let update = |step| Update { loss: 0.1 + step as f64, norm: 1.0, tokens: 7 };
        let info = |step| StepInfo { step, epoch: 0, update: update(step), lr: 1e-3, dev_loss: None };
        let mut metrics = Metrics::new(path.clone());
        metrics.start(0, 9).expect("writable");
        (0..5).for_each(|step| metrics.step(&info(step)).expect("writable"));
        let mut text = std::fs::read_to_string(&path).expect("written");
        text.push_str("{\"step\": 5, \"epo");
        std::fs::write(&path, text).expect("writable");
        let mut resumed = Metrics::new(path.clone());
        resumed.start(3, 9).expect("writable");
        (3..4).for_each(|step| resumed.step(&info(step)).expect("writable"));
        assert_eq!(Metrics::kept(&path, 9), (0..4).map(info).collect::<Vec<_>>());
    }
}
