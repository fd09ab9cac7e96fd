//! `reft inspect`: what of a prompt is edited, and where.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use reft_core::adaptation::EditedRows;
use reft_core::layout::{Extent, Layout};
use reft_core::rng::Seed;
use reft_core::site::LayerId;
use reft_models::tokenizer::{Specials, Tokenizer};

use super::as_trained::as_trained;

/// Arguments of `reft inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The prompt
    prompt: String,
    /// Configuration whose interventions are shown, instead of an adapter's
    #[arg(long)]
    config: Option<PathBuf>,
    /// Override a setting of the configuration: --set adapt.reft.positions=f3+l3
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Show the prompt as it is, without what the adapter's prompts in training had around their text
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    model: super::ModelArgs,
}

impl Args {
    /// Prints one line per token: position, token, and which parameters edit it at which layers.
    ///
    /// # Errors
    /// When the model, the adapter or the configuration is wrong, or names no interventions.
    pub fn run(mut self) -> Result<()> {
        let plan = self.model.base.plan(self.config.as_deref(), &self.overrides)?;
        if self.model.adapter.is_none() {
            self.model.base.model.get_or_insert(plan.model);
        }
        let (loaded, saved) = self.model.open()?;
        let adaptation = match (saved, &plan.adapt) {
            (Some(saved), _) => saved,
            (None, Some(spec)) => spec.build(loaded.decoder.dims(), Seed(plan.seed), plan.device.0)?,
            (None, None) => bail!("nothing to inspect: give --adapter, or --config with interventions"),
        };
        let adapter: Vec<PathBuf> = self.model.adapter.iter().filter(|_| !self.raw).cloned().collect();
        let prompt = &as_trained(&adapter, &[self.prompt])?[0];
        let ids = loaded.tokenizer.encode(prompt, Specials::AsModel)?;
        if ids.is_empty() {
            bail!("the prompt has no tokens: write at least one character");
        }
        print!("{}", edited(&loaded.tokenizer, &ids, |layout| adaptation.edits(layout)));
        Ok(())
    }
}

/// One line per token of a prompt: position, token, and which parameters edit it at which layers.
pub(super) fn edited(tokenizer: &Tokenizer, ids: &[i64], edits: impl Fn(&Layout) -> Vec<EditedRows>) -> String {
    let len = ids.len() as i64;
    let mut at: BTreeMap<i64, BTreeMap<String, Vec<LayerId>>> = BTreeMap::new();
    for edit in edits(&Layout::packed(&[Extent { len, prompt: len }])) {
        for row in edit.rows {
            let parameters = format!("{} {}", edit.site.component, edit.group);
            at.entry(row).or_default().entry(parameters).or_default().push(edit.site.layer);
        }
    }
    let line = |(position, &id): (i64, &i64)| {
        let piece = tokenizer.piece(id).unwrap_or_default();
        let places = at.get(&position).into_iter().flatten();
        let places: Vec<String> = places.map(|(name, layers)| format!("{name}: layers {}", ranges(layers))).collect();
        format!("{position:5}  {piece:<18} {}\n", places.join("; "))
    };
    (0..).zip(ids).map(line).collect()
}

/// `0-3, 7`.
fn ranges(layers: &[LayerId]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for layer in layers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == layer.0 => *last = layer.0,
            _ => runs.push((layer.0, layer.0)),
        }
    }
    let run =
        |(first, last): &(usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    runs.iter().map(run).collect::<Vec<_>>().join(", ")
}
