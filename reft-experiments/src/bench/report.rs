//! The summary of a comparison.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// One line of `summary.csv`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Measured {
    /// What was done.
    pub job: String,
    /// Type of the base weights.
    pub dtype: &'static str,
    /// Our figure.
    pub ours: f64,
    /// What ours is compared with: pyreft, peft, or ours otherwise.
    pub against: &'static str,
    /// Its figure.
    pub peer: f64,
    /// Ours over the peer's.
    pub ratio: f64,
    /// What was asked for, such as `>= 4.5`.
    pub goal: String,
    /// Whether it was reached.
    pub met: bool,
    /// What is counted.
    pub unit: &'static str,
    /// Part of our time that the matrix products alone would take, in %; empty where it was not measured.
    pub gemm_share: Option<f64>,
    /// Speed of these products.
    pub gemm_gflops: Option<f64>,
}

/// Writes the table as CSV and Markdown, and prints it.
///
/// # Errors
/// When the file cannot be written.
pub fn write(lines: &[Measured], about: &str, folder: &Path) -> Result<()> {
    let table = markdown(lines, about);
    print!("{table}");
    csv(lines, &folder.join("summary.csv"))?;
    let path = folder.join("summary.md");
    crate::atomic::write(&path, table.as_bytes()).with_context(|| path.display().to_string())
}

/// Writes rows as CSV.
///
/// # Errors
/// When the file cannot be written.
pub fn csv(rows: &[impl Serialize], path: &Path) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    crate::atomic::write(path, &writer.into_inner()?).with_context(|| path.display().to_string())
}

/// The table with what its figures are of.
pub fn markdown(lines: &[Measured], about: &str) -> String {
    let mut text =
        "| job | dtype | ours | against | its figure | unit | ratio | goal | met | of the GEMM bound |\n".to_owned();
    text += "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for line in lines {
        let Measured { job, dtype, ours, against, peer, unit, ratio, goal, met, .. } = line;
        let met = if *met { "yes" } else { "no" };
        let share = match (line.gemm_share, line.gemm_gflops) {
            (Some(share), Some(gflops)) => format!("{share:.0} % of {gflops:.0} GFLOP/s"),
            _ => "–".to_owned(),
        };
        let verdict = format!("{ratio:.2} | {goal} | {met}");
        writeln!(text, "| {job} | {dtype} | {ours:.1} | {against} | {peer:.1} | {unit} | {verdict} | {share} |")
            .expect("a string grows");
    }
    text + "\n" + about + "\n"
}
