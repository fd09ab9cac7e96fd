//! `reft train`.

use std::path::PathBuf;

use anyhow::{Error, Result, bail};
use reft_core::adapt_config::SpecError;

use crate::config::read::run_plan;
use crate::run::session::Session;
use crate::run::{Claiming, Resume, Runner};

/// Arguments of `reft train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration of the run
    config: PathBuf,
    /// Override a setting: --set train.lr=1e-3
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Go on from the checkpoint of an interrupted run
    #[arg(long)]
    resume: bool,
    /// Folder of all runs
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
}

impl Args {
    /// Trains and scores one run.
    ///
    /// # Errors
    /// When the configuration is wrong, something is missing, or training does not stay finite.
    pub fn run(self) -> Result<()> {
        let plan = run_plan(Some(&self.config), &self.overrides)?;
        if !plan.trains() {
            bail!("{}: adapt: nothing to train: name interventions, or use `reft eval`", self.config.display());
        }
        let title = self.config.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let resume = if self.resume { Resume::Asked } else { Resume::Never };
        let runner = Runner { root: &self.runs, resume, claiming: Claiming::ByRunner, title, turn: None };
        let done = runner.execute(&plan, &mut Session::from_env());
        let (record, paths) = done.map_err(|error| self.located(error))?;
        super::print_record(&record);
        println!("run {}", paths.folder().display());
        Ok(())
    }

    /// An adaptation that does not fit the model is a mistake in the configuration, which only the model brings to light.
    fn located(&self, error: Error) -> Error {
        if error.is::<SpecError>() { error.context(format!("{}: adapt", self.config.display())) } else { error }
    }
}
