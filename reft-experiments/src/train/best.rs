//! Model selection: rows are looked at after every epoch, or every so many updates; the best parameters are kept on disk and put
//! back bit for bit.

use std::path::PathBuf;

use reft_core::params::ParamSet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::checkpoint::{self, CheckpointError};
use super::error::TrainError;
use super::observe::at;

/// One epoch's score on the rows that are watched.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Epoch {
    /// Counted from 0.
    pub epoch: u64,
    /// The task's metric; none where it is undefined, as a correlation with a constant is.
    pub value: Option<f64>,
}

/// A look at rows for model selection.
pub trait SelectionScore: Copy + PartialEq + Serialize + DeserializeOwned {
    /// The epoch or the updates done: what the parameters that are kept are told from others by.
    fn number(&self) -> u64;

    /// Whether its parameters are to be kept instead of the other's. Of equals the first is kept.
    fn better(&self, than: &Self) -> bool;
}

impl SelectionScore for Epoch {
    fn number(&self) -> u64 {
        self.epoch
    }

    fn better(&self, than: &Self) -> bool {
        self.value.is_some() && than.value < self.value
    }
}

/// What every look came to, and the parameters of the best.
#[derive(Debug)]
pub struct Best<M> {
    trace: PathBuf,
    parameters: PathBuf,
    marks: Vec<M>,
}

impl<M: SelectionScore> Best<M> {
    /// Keeps the marks in the file `trace`, one JSON object a line, and the parameters in the file `parameters`.
    pub fn new(trace: PathBuf, parameters: PathBuf) -> Self {
        Self { trace, parameters, marks: Vec::new() }
    }

    /// Goes on with the marks below `end`. What an interrupted run saw beyond its last checkpoint will be seen again.
    pub fn resume(&mut self, end: u64) {
        let text = std::fs::read_to_string(&self.trace).unwrap_or_default();
        let marks = text.lines().map_while(|line| serde_json::from_str::<M>(line).ok());
        self.marks = marks.filter(|mark| mark.number() < end).collect();
    }

    /// The best mark so far; of equals the first.
    pub fn mark(&self) -> Option<M> {
        self.place().map(|place| self.marks[place])
    }

    fn place(&self) -> Option<usize> {
        let better = |best: usize, place: usize| if self.marks[place].better(&self.marks[best]) { place } else { best };
        (0..self.marks.len()).reduce(better)
    }

    /// Looks since the best one.
    pub fn since(&self) -> u64 {
        self.place().map_or(0, |place| (self.marks.len() - 1 - place) as u64)
    }

    /// A look came to this: the parameters are kept if none was better.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn offer(&mut self, mark: M, sets: &[&ParamSet]) -> Result<(), TrainError> {
        self.marks.push(mark);
        if self.place() == Some(self.marks.len() - 1) {
            checkpoint::save_parameters(&self.parameters, sets, mark.number())?;
        }
        let line = |mark: &M| serde_json::to_string(mark).expect("plain numbers") + "\n";
        let lines: String = self.marks.iter().map(line).collect();
        crate::atomic::write(&self.trace, lines.as_bytes()).map_err(at(&self.trace))
    }

    /// Puts the best look's parameters back, bit for bit.
    ///
    /// # Errors
    /// When the file is damaged, missing or of another look.
    pub fn restore(&self, sets: Vec<&mut ParamSet>) -> Result<Option<M>, CheckpointError> {
        let Some(best) = self.mark() else { return Ok(None) };
        if checkpoint::load_parameters(&self.parameters, sets)? == Some(best.number()) {
            return Ok(Some(best));
        }
        let reason = format!("it does not hold the parameters of epoch or step {}", best.number());
        Err(CheckpointError::Damaged { path: self.parameters.clone(), reason })
    }

    /// Deletes the parameters, which are kept elsewhere once they are restored.
    pub fn forget(&self) {
        // What cannot be deleted takes room and does no other harm.
        let _ = std::fs::remove_file(&self.parameters);
    }
}

#[cfg(test)]
mod tests {
    use reft_core::decay::ParameterRole;
    use reft_core::intervention::{Constraint, Init, ParameterSpec};
    use reft_core::params::Stack;
    use reft_core::rng::Seed;
    use reft_core::testing::{Tol, assert_close, normal};
    use tch::Device;

    use super::*;

    fn params() -> ParamSet {
        let (init, constraint, role) = (Init::Unit, Constraint::Free, ParameterRole::Bias);
        let declared = ParameterSpec { name: "w", shape: vec![6], init, constraint, role };
        ParamSet::new(vec![Stack { declared, sites: 1 }], &mut Seed(0).stream("test", 0), Device::Cpu)
    }

    #[test]
    fn the_first_of_the_best_epochs_comes_back_bit_for_bit_also_after_an_interruption() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let new = || Best::new(folder.path().join("epochs.jsonl"), folder.path().join("best.safetensors"));
        let (mut best, mut set) = (new(), params());
        let offer = |best: &mut Best<Epoch>, set: &mut ParamSet, epoch: u64, value| {
            set.load(&normal(&[6], epoch));
            best.offer(Epoch { epoch, value }, &[set]).expect("writable");
        };
        for (epoch, value) in (0..).zip([None, Some(0.5), Some(0.75), Some(0.75), Some(0.25)]) {
            offer(&mut best, &mut set, epoch, value);
        }
        let mut back = params();
        assert_eq!(best.restore(vec![&mut back]).expect("kept").map(|epoch| epoch.epoch), Some(2));
        assert_close("parameters", back.flat(), &normal(&[6], 2), Tol::Exact);
        // Killed after epoch 4, with a checkpoint from within epoch 2: epochs 2 to 4 are seen again.
        let mut resumed = new();
        resumed.resume(2);
        for (epoch, value) in (2..).zip([Some(0.75), Some(0.75), Some(0.25)]) {
            offer(&mut resumed, &mut set, epoch, value);
        }
        assert_eq!(resumed.restore(vec![&mut back]).expect("kept"), best.mark());
        assert_close("parameters", back.flat(), &normal(&[6], 2), Tol::Exact);
        std::fs::remove_file(folder.path().join("best.safetensors")).expect("there");
        let error = resumed.restore(vec![&mut back]).expect_err("gone").to_string();
        assert!(error.contains("step 2"), "{error}");
    }
}
