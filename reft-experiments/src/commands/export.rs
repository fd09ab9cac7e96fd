//! `reft export` and `reft merge`.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::import::head_beside;
use crate::interop::merge::Merged;
use crate::interop::ours::AdapterOnBase;
use crate::interop::{model_folder, peft_export, pyreft_export};

/// Arguments of `reft export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An adapter's folder, such as `adapter` of a run
    adapter: PathBuf,
    /// The library that is to load it
    #[arg(long)]
    to: Library,
    /// The folder to write
    #[arg(long)]
    out: PathBuf,
    /// The base model [default: the one that it was trained on]
    #[arg(long)]
    model: Option<String>,
}

/// A library that adapters are written for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Library {
    /// LoRA, DoRA, VeRA, IA3, prefix-tuning
    Peft,
    /// Interventions
    Pyreft,
}

impl Args {
    /// Writes the folder; a head that lies beside the adapter's goes with it.
    ///
    /// # Errors
    /// When the library has no such method, or a file cannot be read or written.
    pub fn run(self) -> Result<()> {
        let ours = AdapterOnBase::open(&self.adapter, self.model.as_deref())?;
        let head = head_beside(&self.adapter)?;
        super::fresh_folder(&self.out, |folder| match self.to {
            Library::Peft => peft_export::write(&ours, &head, folder),
            Library::Pyreft => pyreft_export::write(&ours, &head, folder),
        })
        .with_context(|| self.adapter.display().to_string())?;
        println!("{}: {} of {} tensors", self.out.display(), ours.spec.title(), ours.tensors.len());
        Ok(())
    }
}

/// Arguments of `reft merge`.
#[derive(Debug, clap::Args)]
pub struct MergeArgs {
    /// An adapter's folder, such as `adapter` of a run
    adapter: PathBuf,
    /// The model's folder to write
    #[arg(long)]
    out: PathBuf,
    /// The base model [default: the one that it was trained on]
    #[arg(long)]
    model: Option<String>,
    /// MiB of a file of weights at most
    #[arg(long, default_value_t = 5000)]
    shard_mib: usize,
}

impl MergeArgs {
    /// Writes the merged model; a classification head that lies beside the adapter's folder goes into it.
    ///
    /// # Errors
    /// When the adapter cannot be merged, with the reason, or a file cannot be read or written.
    pub fn run(self) -> Result<()> {
        let ours = AdapterOnBase::open(&self.adapter, self.model.as_deref())?;
        let merge = || {
            let naming = ours.base.naming()?;
            Merged::new(&ours.spec, &ours.tensors, (&ours.base.weights, naming, ours.base.dims()))
        };
        let mut tensors = merge().with_context(|| self.adapter.display().to_string())?.tensors();
        for (name, tensor) in head_beside(&self.adapter)? {
            tensors.insert(format!("classifier.{name}"), tensor);
        }
        model_folder::write(&ours.base.weights, &tensors, &self.out, self.shard_mib.max(1) << 20)?;
        println!(
            "{}: {} with {}, {} tensors changed",
            self.out.display(),
            ours.base.id,
            ours.spec.title(),
            tensors.len()
        );
        Ok(())
    }
}
