//! What a sweep has decided so far: its frozen declaration, its trials, its winner. A function of the declaration and of
//! results, so several drivers who write it write the same.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::space::SearchPoint;
use crate::store::RunId;
use crate::store::environment::RESULTS_VERSION;

/// A trial: a point and the run it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// Its settings.
    pub point: SearchPoint,
    /// Its run, on dev rows.
    pub run: RunId,
}

/// The chosen setting and its runs on test rows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Winner {
    /// The trial it comes from.
    pub trial: usize,
    /// How it was chosen, as the records of its runs say it.
    pub chosen_by: String,
    /// One run a seed.
    pub runs: Vec<RunId>,
}

/// `manifest.json` in a sweep's folder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The declaration with its base merged in.
    pub sweep: Value,
    /// The code that made it, for information.
    pub code: String,
    /// The version of results that its runs are of; 0 in sweeps from before it was kept.
    #[serde(default)]
    pub results_version: u32,
    /// Threads of every worker. Digits depend on them, so a worker that goes on with the sweep takes as many.
    #[serde(default)]
    pub threads: i32,
    /// Whether the type of the weights in `sweep` is what `auto` was on the machine that began it.
    #[serde(default)]
    pub auto_dtype: bool,
    /// The trials named so far.
    pub trials: Vec<Trial>,
    /// The winner, once all trials have ended.
    pub chosen: Option<Winner>,
}

impl Manifest {
    /// Reads it, of any version: see [`Manifest::check_version`].
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: not a sweep's folder: begin with `reft sweep run FILE`", path.display()))?;
        // The parser's words would not help: this file is not written by hand.
        let damaged = || anyhow!("{}: damaged: delete it and run the sweep's file again", path.display());
        serde_json::from_str(&text).map_err(|_| damaged())
    }

    /// Refuses to go on with a sweep whose runs would no longer be comparable. To look at it is fine.
    ///
    /// # Errors
    /// When it was made by a program that computes other numbers.
    pub fn check_version(&self, path: &Path) -> Result<()> {
        ensure!(
            self.results_version == RESULTS_VERSION,
            "{}: its runs are of results version {}, this program computes version {RESULTS_VERSION}: run the sweep's file again",
            path.display(),
            self.results_version
        );
        Ok(())
    }

    /// All runs named so far: trials, then the winner's.
    pub fn runs(&self) -> impl Iterator<Item = &RunId> {
        let chosen = self.chosen.iter().flat_map(|chosen| &chosen.runs);
        self.trials.iter().map(|trial| &trial.run).chain(chosen)
    }

    /// Writes it, complete or not at all.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn save(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).expect("plain data");
        crate::atomic::write(path, &json).with_context(|| format!("{}: cannot be written", path.display()))
    }
}
