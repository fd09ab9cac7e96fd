//! `reft report`.

use std::path::PathBuf;

use anyhow::Result;

use crate::report::{ReportSources, report};

/// Arguments of `reft report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of all runs
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// A sweep's file or folder, several times for several [default: all in the folder of runs]
    #[arg(long, value_name = "SWEEP")]
    sweep: Vec<PathBuf>,
    /// Folder of the tables
    #[arg(long, default_value = "results")]
    results: PathBuf,
    /// Folder of the tables' files, which say where the paper's figures are
    #[arg(long, default_value = "configs/tables")]
    tables: PathBuf,
    /// Folder of the page and its files
    #[arg(long, default_value = "report")]
    out: PathBuf,
}

impl Args {
    /// Makes the page.
    ///
    /// # Errors
    /// When there is nothing to report, a sweep that was named is missing, or files cannot be written.
    pub fn run(self) -> Result<()> {
        let Self { runs, sweep, results, tables, out } = self;
        let report = report(&ReportSources { runs, sweeps: sweep, results, tables, out: out.clone() })?;
        for complaint in &report.complaints {
            eprintln!("left out: {complaint}");
        }
        report.write(&out)?;
        println!("wrote {} and {} files beside it", out.join("index.html").display(), report.files.len() - 1);
        Ok(())
    }
}
