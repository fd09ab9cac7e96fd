//! An adapter that has learned the form of the answers, so that they end as a user's do: trained once (the store of runs has
//! it afterwards), and written for the peer as well.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::atomic::copy_into;
use crate::config::read;
use crate::interop::NamedTensors;
use crate::interop::ours::AdapterOnBase;
use crate::interop::pyreft_export;
use crate::run::session::Session;
use crate::run::{Claiming, Resume, Runner};
use crate::store::record::Record;
use crate::tasks::DataKind;

/// The adapter's folder for our side.
pub const OURS: &str = "adapter";
/// The same adapter's folder for the peer.
pub const PEER: &str = "peer";

/// Trains `LoReFT` (rank 8, `f7+l7`, all layers) for 200 updates of 4 rows of ARC-Easy, and writes [`OURS`] and [`PEER`] into
/// `folder`. The record says what was trained.
///
/// # Errors
/// When training fails, or a file cannot be written.
pub fn prepare(model: &str, source: DataKind, runs: &Path, folder: &Path) -> Result<Record> {
    let reft = json!({"intervention": "loreft", "rank": 8, "positions": "f7+l7", "tying": "tied"});
    let settings = json!({
        "model": model,
        "dtype": "auto",
        "device": "cpu",
        "adapt": {"reft": reft},
        "data": {"source": source, "train": ["arc_e"], "train_rows": 800, "eval": ["arc_e"], "eval_rows": 16},
        "train": {"epochs": 1, "batch_size": 4, "lr": 2e-3, "warmup_ratio": 0.1},
    });
    let plan = read::resolve(settings, "the benchmark's adapter")?;
    let title = "adapter that answers".to_owned();
    let runner = Runner { root: runs, resume: Resume::IfBegun, claiming: Claiming::ByRunner, title, turn: None };
    let (record, paths) = runner.execute(&plan, &mut Session::from_env())?;
    let ours = folder.join(OURS);
    for entry in std::fs::read_dir(paths.adapter())? {
        copy_into(&ours, &entry?.path())?;
    }
    let peer = folder.join(PEER);
    std::fs::create_dir_all(&peer).with_context(|| peer.display().to_string())?;
    pyreft_export::write(&AdapterOnBase::open(&ours, Some(model))?, &NamedTensors::new(), &peer)?;
    Ok(record)
}
