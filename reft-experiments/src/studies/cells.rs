//! Results of a study, a file for each: a study that was interrupted goes on where it stopped.
//!
//! A cell's name is a hash of what decides its result: its settings, the model's weights, the type, the number of threads and
//! the version of results.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::atomic;
use crate::run::session::LoadedDecoder;
use crate::store::environment::RESULTS_VERSION;

/// The folder of one study's results.
#[derive(Debug)]
pub struct CellFolder {
    folder: PathBuf,
    about: Value,
}

impl CellFolder {
    /// Below the folder of all runs.
    pub fn new(runs: &Path, study: &str, loaded: &LoadedDecoder) -> Self {
        let (kind, device) = loaded.decoder.options();
        let about = json!({"study": study, "weights": loaded.base.fingerprint, "type": format!("{kind:?}"),
            "device": format!("{device:?}"), "threads": tch::get_num_threads(), "results_version": RESULTS_VERSION});
        Self { folder: runs.join("studies").join(study), about }
    }

    /// The result with these settings: the stored one, or a new one, which is stored.
    ///
    /// # Errors
    /// When it cannot be computed, or the file system refuses.
    pub fn get<S: Serialize, R: Serialize + DeserializeOwned>(
        &self,
        settings: &S,
        compute: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let settings = json!({"about": self.about, "settings": settings});
        let digest = Sha256::digest(settings.to_string().as_bytes());
        let path = self.folder.join(format!("{digest:.16x}.json"));
        if path.exists() {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let stored: Value =
                serde_json::from_str(&text).with_context(|| format!("{}: damaged; delete it", path.display()))?;
            let result = serde_json::from_value(stored["result"].clone());
            return result.with_context(|| format!("{}: no result; delete it", path.display()));
        }
        let result = compute()?;
        let record = json!({"settings": settings, "result": &result});
        atomic::write(&path, record.to_string().as_bytes()).with_context(|| path.display().to_string())?;
        Ok(result)
    }
}
