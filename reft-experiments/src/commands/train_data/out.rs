//! The folder of `--out`: what stands there already, and what a run puts there.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::atomic::copy_into;
use crate::commands::place::check_folder;
use crate::config::plan::RunPlan;
use crate::run::saved_task::SavedTask;
use crate::store::{RunId, RunPaths};

/// Files of an adapter: those that a run writes, and peft's.
const OF_ADAPTER: [&str; 5] =
    ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "head.safetensors", "task.json"];

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
        let there = OF_ADAPTER.into_iter().find(|name| out.join(name).exists());
        let Some(there) = there else { return Ok(()) };
        let kept = SavedTask::find(out).ok().flatten().and_then(|task| task.run);
        if kept.is_some() && kept == Some(run()?) {
            return Ok(());
        }
        let out = out.display();
        bail!(
            "--out {out}: files of another adapter are there ({there}): name another folder, or give --overwrite to replace it"
        )
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
        // A head of the adapter that was there belongs to no other.
        for name in OF_ADAPTER.map(|name| out.join(name)).into_iter().filter(|path| path.exists()) {
            std::fs::remove_file(&name).with_context(|| format!("{}: cannot be replaced", name.display()))?;
        }
        for entry in std::fs::read_dir(&adapter).with_context(|| adapter.display().to_string())? {
            copy_into(out, &entry?.path())?;
        }
        if plan.kind().has_head() {
            copy_into(out, &paths.head())?;
        }
        Ok(out.clone())
    }
}
