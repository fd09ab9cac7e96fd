//! `reft win-rate`.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::alpaca_eval::annotations;
use crate::alpaca_eval::win_rate::WinRate;

/// Arguments of `reft win-rate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Annotations, as `reft judge` or `alpaca_eval` writes them
    annotations: PathBuf,
}

impl Args {
    /// Prints the win rate.
    ///
    /// # Errors
    /// When the file is wrong or has no preferences.
    pub fn run(self) -> Result<()> {
        let annotations = annotations::read(&self.annotations)?;
        let rate = WinRate::of(&annotations).with_context(|| self.annotations.display().to_string())?;
        println!("{rate}");
        Ok(())
    }
}
