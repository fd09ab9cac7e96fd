//! `reft new`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Arguments of `reft new`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder; it must not be there yet
    folder: PathBuf,
    /// Base model of the run: smollm2, a Hugging Face id, a folder or a .gguf file
    #[arg(long, default_value = DEFAULT, value_parser = crate::config::paths::setting)]
    model: String,
}

const DEFAULT: &str = "smollm2";

const RUN: &str = include_str!("new/reft.yaml");

/// Files of a project that are the same in each.
const FILES: [(&str, &str); 2] =
    [("data.jsonl", include_str!("new/data.jsonl")), ("README.md", include_str!("new/README.md"))];

impl Args {
    /// Writes a project: data, configuration, README.
    ///
    /// # Errors
    /// When the folder is there already or cannot be written.
    pub fn run(self) -> Result<()> {
        super::fresh_folder(&self.folder, |folder| {
            let write = |name: &str, text: &str| {
                let path = folder.join(name);
                std::fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))
            };
            FILES.iter().try_for_each(|(name, text)| write(name, text))?;
            write("reft.yaml", &self.configuration())
        })?;
        let folder = self.folder.display();
        println!(
            "wrote {folder}: data.jsonl, reft.yaml, README.md\ntrain it with:\n  cd {folder} && reft train reft.yaml"
        );
        Ok(())
    }

    fn configuration(&self) -> String {
        let written = |model: &str| format!("\nmodel: {model}\n");
        let model = serde_json::to_string(&model_from(&self.model)).expect("plain data");
        if self.model == DEFAULT { RUN.to_owned() } else { RUN.replace(&written(DEFAULT), &written(&model)) }
    }
}

/// A model as it is named from inside the folder: a relative path is made absolute.
fn model_from(model: &str) -> String {
    let path = Path::new(model);
    let there = path.is_relative() && path.exists();
    let absolute = there.then(|| std::path::absolute(path).ok()).flatten();
    absolute.map_or_else(|| model.to_owned(), |path| path.display().to_string())
}
