//! `reft figure`: a figure of the paper from its file.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::device;
use crate::atomic;
use crate::config::plan::DeviceSpec;
use crate::studies::figure::FigureSpec;

/// Arguments of `reft figure`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The figure's file
    spec: PathBuf,
    /// Which of its profiles
    #[arg(long, default_value = "quick")]
    profile: String,
    /// cpu, cuda or cuda:1
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: DeviceSpec,
    /// Folder of all runs, where results are kept: an interrupted study goes on where it stopped
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Folder of the figures
    #[arg(long, default_value = "results")]
    results: PathBuf,
}

impl Args {
    /// Does what is missing of the study, then writes SVG, PNG and CSV.
    ///
    /// # Errors
    /// When the figure's file is wrong, or a file cannot be written; results that are complete are kept.
    pub fn run(self) -> Result<()> {
        let spec = FigureSpec::read(&self.spec)?;
        let profile = spec.profile(&self.profile).with_context(|| self.spec.display().to_string())?;
        let Some(name) = self.spec.file_stem().and_then(|name| name.to_str()) else {
            bail!("{}: a figure's file has a name", self.spec.display());
        };
        let folder = self.results.join(&self.profile);
        std::fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be created", folder.display()))?;
        let figure = spec.make(name, profile, self.device, &self.runs)?;
        for (name, bytes) in figure.files()? {
            let path = folder.join(name);
            atomic::write(&path, &bytes).with_context(|| format!("{}: cannot be written", path.display()))?;
            println!("{}", path.display());
        }
        Ok(())
    }
}
