//! `reft push` and `reft pull`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use reft_core::adapter_file::{AdapterConfig, SavedAdapter};

use crate::interop::hub::card::Card;
use crate::interop::hub::{Holds, Hub, HubRepository, Upload};
use crate::interop::origin::{self, AdapterOrigin};
use crate::store::record::Record;

/// Arguments of `reft push`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's folder, a folder that `reft import` or `reft pull` wrote, or an adapter's folder
    folder: PathBuf,
    /// The repository, owner/name; it is created where it is missing
    repository: HubRepository,
    /// License, by the hub's short names, such as apache-2.0 [default: the one in origin.json]
    #[arg(long)]
    license: Option<String>,
    /// Who trained it [default: the one in origin.json]
    #[arg(long)]
    author: Option<String>,
    /// Create the repository for its owner's eyes only
    #[arg(long)]
    private: bool,
    /// Write the files into this folder instead, to look at them; nothing is sent
    #[arg(long, value_name = "FOLDER")]
    preview: Option<PathBuf>,
}

impl Args {
    /// Commits the adapter with its card.
    ///
    /// # Errors
    /// When the folder holds no adapter, there is no token, or the hub refuses.
    pub fn run(self) -> Result<()> {
        let hub = match self.preview {
            Some(_) => None,
            None => Some(Hub::from_environment()?),
        };
        // Before anything is read: without a token there is nothing to do.
        hub.as_ref().map_or(Ok(()), Hub::may_write)?;
        let files = self.files()?;
        if let Some(folder) = &self.preview {
            super::fresh_folder(folder, |folder| {
                files.iter().try_for_each(|file| {
                    let path = folder.join(&file.path);
                    std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
                    Ok(std::fs::write(&path, &file.bytes)?)
                })
            })?;
            return self.say_local_base();
        }
        let title = format!("Adapter from {}", self.folder.file_name().unwrap_or_default().to_string_lossy());
        let hub = hub.context("a hub, since nothing is previewed")?;
        let commit = hub.push(&self.repository, &files, (&title, self.private))?;
        println!("{}@{commit}: {} files", self.repository.id, files.len());
        self.say_local_base()
    }

    /// Says that others cannot find the base model by its name, where it is a path of this machine.
    fn say_local_base(&self) -> Result<()> {
        let base = SavedAdapter::read(&self.adapter())?.config.base_model.id;
        if Path::new(&base).exists() {
            eprintln!(
                "the base model is {base}, a path of this machine: whoever takes the adapter has to give --model"
            );
        }
        Ok(())
    }

    /// The adapter's folder.
    fn adapter(&self) -> PathBuf {
        let whole = self.folder.join("adapter");
        if whole.is_dir() { whole } else { self.folder.clone() }
    }

    /// The repository's files.
    fn files(&self) -> Result<Vec<Upload>> {
        let adapter = self.adapter();
        let beside = adapter.parent().unwrap_or(Path::new("")).to_owned();
        let saved = SavedAdapter::read(&adapter)?;
        let record = Record::find(&beside.join("record.json"))?;
        let origin = self.origin(&adapter, &saved.config, record.as_ref())?;
        let repository = &self.repository.id;
        let card = Card { repository, adapter: &saved.config, origin: &origin, record: record.as_ref() };
        let mut files = vec![
            Upload { path: "README.md".to_owned(), bytes: card.text().into_bytes() },
            Upload { path: origin::FILE.to_owned(), bytes: serde_json::to_vec_pretty(&origin)? },
        ];
        for name in ["adapter_config.json", "adapter_model.safetensors", "task.json"] {
            let path = adapter.join(name);
            // Imported adapters have no task.
            if name != "task.json" || path.exists() {
                files.push(Upload { path: format!("adapter/{name}"), bytes: read(&path)? });
            }
        }
        for name in ["head.safetensors", "record.json"] {
            let path = beside.join(name);
            if path.exists() {
                files.push(Upload { path: name.to_owned(), bytes: read(&path)? });
            }
        }
        Ok(files)
    }

    /// Where the adapter comes from, with what is told now over what was known.
    fn origin(&self, adapter: &Path, config: &AdapterConfig, record: Option<&Record>) -> Result<AdapterOrigin> {
        let known = AdapterOrigin::beside(adapter)?;
        let mut origin = known.unwrap_or_else(|| AdapterOrigin {
            library: format!("reft-rs {}", env!("CARGO_PKG_VERSION")),
            base_model: Some(config.base_model.id.clone()),
            ..AdapterOrigin::default()
        });
        if origin.data.is_empty()
            && let Some(record) = record
        {
            let tasks = record.plan.data.train.iter().map(|task| task.key().to_owned());
            origin.data = tasks.map(|task| format!("{task} ({})", record.plan.data.source)).collect();
        }
        origin.license = self.license.clone().or(origin.license);
        origin.trained_by = self.author.clone().or(origin.trained_by);
        Ok(origin)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))
}

/// Arguments of `reft pull`.
#[derive(Debug, clap::Args)]
pub struct PullArgs {
    /// The repository, owner/name, with @ and a revision if it matters
    repository: HubRepository,
    /// The folder to write: `adapter/`, which --adapter takes, and what lies beside it
    #[arg(long)]
    out: PathBuf,
}

impl PullArgs {
    /// Downloads an adapter's repository.
    ///
    /// # Errors
    /// When the hub refuses, or the repository holds no adapter or a damaged one.
    pub fn run(self) -> Result<()> {
        let hub = Hub::from_environment()?;
        let out = self.out.display();
        let mut outcome = None;
        super::fresh_folder(&self.out, |folder| {
            let (holds, commit) = hub.pull(&self.repository, folder)?;
            if holds == Holds::AdapterOnBase {
                SavedAdapter::read(&folder.join("adapter"))?;
                let mut origin = AdapterOrigin::beside(&folder.join("adapter"))?.unwrap_or_default().with_card(folder);
                origin.hub = Some(format!("{}@{commit}", self.repository.id));
                origin.save(folder)?;
            }
            outcome = Some((holds, commit));
            Ok(())
        })?;
        let Some((holds, commit)) = outcome else { bail!("{out}: nothing was downloaded") };
        match holds {
            Holds::AdapterOnBase => println!("{out}/adapter: {}@{commit}", self.repository.id),
            Holds::Foreign => println!(
                "{out}: {}@{commit}, of another library: read it with `reft import {out} --out FOLDER`",
                self.repository.id
            ),
        }
        Ok(())
    }
}
