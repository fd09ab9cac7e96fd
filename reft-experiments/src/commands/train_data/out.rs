//! The folder of `--out`: what stands there already, and what a run puts there.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::atomic::copy_into;
use crate::commands::place::{check_folder, check_no_adapter, clear_adapter};
use crate::config::plan::RunPlan;
use crate::run::saved_task::SavedTask;
use crate::store::{RunId, RunPaths};

/// Where the user wants the adapter.
#[derive(Debug, clap::Args)]
pub struct OutArgs {
    /// Folder for the adapter, beside the run's own
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace another adapter that is in the folder of --out
    #[arg(long, requires = "out")]
    overwrite: bool,
}

impl OutArgs {
    /// Refuses a place where no folder can be, before anything is done.
    ///
    /// # Errors
    /// When it is a file, below one, or where nothing can be written.
    pub fn check_place(&self) -> Result<()> {
        self.out.as_ref().map_or(Ok(()), |out| check_folder("--out", out))
    }

    /// Refuses a folder that holds another adapter than that of the run with this name, which is asked for only where there is
    /// one.
    ///
    /// # Errors
    /// When it does, or the name cannot be told.
    pub fn check_free(&self, run: impl FnOnce() -> Result<RunId>) -> Result<()> {
        let Some(out) = self.out.as_ref().filter(|_| !self.overwrite) else { return Ok(()) };
        let Err(taken) = check_no_adapter("--out", out) else { return Ok(()) };
        let kept = SavedTask::find(out).ok().flatten().and_then(|task| task.run);
        if kept.is_some() && kept == Some(run()?) {
            return Ok(());
        }
        Err(taken)
    }

    /// Copies what a run trained there, if there is such a place; that place, else the run's own.
    ///
    /// # Errors
    /// When a head alone was trained, or a file cannot be read or written.
    pub fn keep(&self, plan: &RunPlan, paths: &RunPaths) -> Result<PathBuf> {
        let adapter = paths.adapter();
        let Some(out) = &self.out else { return Ok(adapter) };
        if !adapter.exists() {
            bail!("--out {}: this run has no adapter, only {}", out.display(), paths.head().display());
        }
        clear_adapter(out)?;
        for entry in std::fs::read_dir(&adapter).with_context(|| adapter.display().to_string())? {
            copy_into(out, &entry?.path())?;
        }
        if plan.kind().has_head() {
            copy_into(out, &paths.head())?;
        }
        Ok(out.clone())
    }
}
