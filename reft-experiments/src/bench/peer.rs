//! The peer's side of a job: its own process, its own Python.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{BenchmarkJob, BenchmarkKind, BenchmarkResult, trained};
use crate::config::plan::Dtype;
use crate::machine::openmp;

/// A process that prints one JSON line at its end.
///
/// # Errors
/// When it fails, or says something else.
pub fn outcome(mut command: Command) -> Result<BenchmarkResult> {
    let what = format!("{command:?}");
    let output = command.stderr(Stdio::piped()).output().with_context(|| what.clone())?;
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last = said.lines().last().unwrap_or_default();
    match serde_json::from_str(last) {
        Ok(outcome) if output.status.success() => Ok(outcome),
        _ => bail!("{what} failed: {}", complaint.lines().last().unwrap_or("it said nothing")),
    }
}

/// Measures a job with the Python at `python`, on the model in `folder`.
///
/// # Errors
/// When the peer fails.
pub fn run(job: &BenchmarkJob, python: &Path, folder: &Path, rows: &Path) -> Result<BenchmarkResult> {
    let kind = match job.kind {
        BenchmarkKind::Train => "train",
        BenchmarkKind::Eval => "eval",
        BenchmarkKind::Decode => "decode",
    };
    let dtype = if job.dtype == Dtype::F32 { "float32" } else { "bfloat16" };
    let mut command = Command::new(python);
    // The peer runs as its users run it.
    openmp::without_ours(&mut command);
    command.args(["-W", "ignore", "scripts/bench/peer_job.py", kind, "--dtype", dtype]);
    command.arg("--model").arg(folder).arg("--rows").arg(rows);
    command.args(["--positions", &job.positions, "--layers", &job.layers, "--rank", &job.rank.to_string()]);
    command.args(["--batch", &job.batch.to_string(), "--steps", &job.steps.to_string(), "--new", &job.new.to_string()]);
    command.args(["--method", job.method.name(), "--device", &String::from(job.device)]);
    if let Some(folder) = &job.trained {
        command.arg("--adapter").arg(folder.join(trained::PEER));
    }
    outcome(command)
}
