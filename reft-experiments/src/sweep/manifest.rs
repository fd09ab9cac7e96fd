//! What a sweep has decided so far: its frozen declaration, its trials, its winner. A function of the declaration and of
//! results, so several drivers who write it write the same.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::space::Point;
use crate::store::RunId;
use crate::store::environment::CODE_HASH;

/// A trial: a point and the run it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// Its settings.
    pub point: Point,
    /// Its run, on dev rows.
    pub run: RunId,
}

/// The chosen setting and its runs on test rows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Chosen {
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
    /// The code that made it.
    pub code: String,
    /// Whether the type of the weights in `sweep` is what `auto` was on the machine that began it.
    #[serde(default)]
    pub auto_dtype: bool,
    /// The trials named so far.
    pub trials: Vec<Trial>,
    /// The winner, once all trials have ended.
    pub chosen: Option<Chosen>,
}

impl Manifest {
    /// Reads it, whoever made it: see [`Manifest::check_code`].
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: not a sweep's folder: begin with `reft sweep run FILE`", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{}: damaged: delete it and run the sweep's file again", path.display()))
    }

    /// Refuses to go on with a sweep of other code, whose runs would no longer be comparable. To look at it is fine.
    ///
    /// # Errors
    /// When it was made by another version of this program.
    pub fn check_code(&self, path: &Path) -> Result<()> {
        ensure!(
            self.code == CODE_HASH,
            "{}: made by other code ({}, this is {CODE_HASH}): run the sweep's file again",
            path.display(),
            self.code
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
