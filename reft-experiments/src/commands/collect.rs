//! `reft collect`: hidden states of a file of texts, as safetensors with an index.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use reft_core::layers::Layers;
use reft_core::positions::Positions;
use reft_core::site::{Component, Dims, LayerId, Site};
use reft_models::tokenizer::Specials;
use safetensors::tensor::{Dtype, TensorView};
use tch::Tensor;

use super::prompts::prompts;
use super::{BaseArgs, place};
use crate::atomic;
use crate::collect::{Keep, StateRequest};
use crate::run::context;
use crate::train::batches;

/// Tokens of one pass.
const TOGETHER: usize = 4096;

/// Arguments of `reft collect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File of texts: JSON rows with `instruction` and perhaps `input`, or one text a line
    texts: PathBuf,
    /// File to write: a tensor `COMPONENT.LAYER` for each site, and `index.text`, `index.position` and `index.token` that say
    /// what each row is of
    #[arg(long, short)]
    out: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    overwrite: bool,
    /// Components to look at: `block_output`, `mlp_output`, `attention_output`, `head_output`, `query`, ...
    #[arg(long, value_delimiter = ',', default_value = "block_output", value_parser = component)]
    component: Vec<Component>,
    /// Layers to look at: all, or a list such as 0;5;-1
    #[arg(long, default_value = "all", value_parser = layers, allow_hyphen_values = true)]
    layers: Layers,
    /// Tokens to look at: prompt (all of a text), l1, f2+l2, ...
    #[arg(long, default_value = "prompt", value_parser = positions)]
    positions: Positions,
    /// Keep each text's mean over these tokens instead of every token's state
    #[arg(long)]
    mean: bool,
    /// Folder of an adapter whose edits are seen, too
    #[arg(long)]
    adapter: Option<PathBuf>,
    #[command(flatten)]
    base: BaseArgs,
}

/// A component by its name in configurations.
pub(super) fn component(text: &str) -> Result<Component, String> {
    let found = Component::ALL.into_iter().find(|component| component.name() == text);
    let known = || Component::ALL.map(Component::name).join(", ");
    found.ok_or_else(|| format!("there is no component `{text}`: choose one of {}", known()))
}

/// Layers as configurations write them.
pub(super) fn layers(text: &str) -> Result<Layers, String> {
    text.parse().map_err(|error: reft_core::layers::LayersError| error.to_string())
}

/// Positions as configurations write them, of a text without an answer.
pub(super) fn positions(text: &str) -> Result<Positions, String> {
    let positions: Positions = text.parse().map_err(|error: reft_core::positions::PositionsError| error.to_string())?;
    match positions {
        Positions::Generated { .. } | Positions::Tail { .. } | Positions::Given => {
            Err(format!("`{text}` means generated or named tokens, which a text has not: write prompt, l1 or f2+l2"))
        }
        Positions::Ends { .. } | Positions::Prompt | Positions::All => Ok(positions),
    }
}

/// The sites of these components and layers, each once.
///
/// # Errors
/// When the model has no such component or layer.
pub(super) fn sites(components: &[Component], layers: &Layers, dims: &Dims) -> Result<Vec<Site>> {
    let mut sites = Vec::new();
    for &component in components {
        if !component.exists(dims) {
            bail!("--component {component}: this model has none; choose up or mlp_hidden");
        }
        match component {
            Component::Embedding => sites.push(Site { layer: LayerId(0), component }),
            _ => sites.extend(layers.resolve(dims)?.into_iter().map(|layer| Site { layer, component })),
        }
    }
    sites.sort_unstable();
    sites.dedup();
    Ok(sites)
}

impl Args {
    /// Writes the states.
    ///
    /// # Errors
    /// When the model, the adapter or the file of texts is wrong, or the output cannot be written.
    pub fn run(self) -> Result<()> {
        place::check_new_file("--out", &self.out, &self.texts, self.overwrite)?;
        let opened = self.base.open(self.adapter.as_slice())?;
        let loaded = &opened.loaded;
        let (model, tokenizer) = (loaded.decoder.as_ref(), &loaded.tokenizer);
        let texts = prompts(&self.texts)?;
        let encode = |text: &String| tokenizer.encode(text, Specials::AsModel);
        let ids = texts.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        for (index, ids) in ids.iter().enumerate() {
            let what = format!("{}: text {}", self.texts.display(), index + 1);
            if ids.is_empty() {
                bail!("{what} has no tokens: write at least one character");
            }
            context::check_prompt(&what, ids.len(), model.context())?;
        }
        let keep = if self.mean { Keep::Mean } else { Keep::Tokens };
        let sites = sites(&self.component, &self.layers, model.dims())?;
        let wanted = StateRequest { sites, positions: self.positions, keep };
        let mut written = CollectedStates::default();
        let adaptation = opened.adapters.first().map(|(_, adaptation)| adaptation.as_ref());
        let lengths: Vec<usize> = ids.iter().map(Vec::len).collect();
        for part in batches::micro(&lengths, TOGETHER) {
            let texts: Vec<&[i64]> = ids[part.clone()].iter().map(Vec::as_slice).collect();
            let states = wanted.of(model, adaptation, &texts)?;
            for (site, states) in states.at {
                written.states.entry(site.to_string()).or_default().push(states);
            }
            for (text, positions) in part.zip(&states.positions) {
                written.index(text, &ids[text], positions, keep);
            }
        }
        let about = HashMap::from([
            ("model".to_owned(), loaded.base.id.clone()),
            ("fingerprint".to_owned(), loaded.base.fingerprint.clone()),
            ("positions".to_owned(), self.positions.to_string()),
            ("rows".to_owned(), if self.mean { "mean of each text" } else { "tokens" }.to_owned()),
        ]);
        let (rows, bytes) = (written.text.len(), written.bytes(about));
        atomic::write(&self.out, &bytes).with_context(|| format!("{}: cannot be written", self.out.display()))?;
        println!("{}: {rows} rows of {} texts at {} sites", self.out.display(), texts.len(), wanted.sites.len());
        Ok(())
    }
}

/// What is written.
#[derive(Default)]
struct CollectedStates {
    states: BTreeMap<String, Vec<Tensor>>,
    /// Of each row the number of its text, from 0.
    text: Vec<i64>,
    /// And its position there; of a mean the number of positions that it is over.
    position: Vec<i64>,
    /// And its token.
    token: Vec<i64>,
}

impl CollectedStates {
    fn index(&mut self, text: usize, ids: &[i64], positions: &[i64], keep: Keep) {
        match keep {
            Keep::Mean if positions.is_empty() => {}
            Keep::Mean => {
                self.text.push(text as i64);
                self.position.push(positions.len() as i64);
            }
            Keep::Tokens => {
                self.text.extend(positions.iter().map(|_| text as i64));
                self.position.extend(positions);
                self.token.extend(positions.iter().map(|&position| ids[position as usize]));
            }
        }
    }

    fn bytes(self, about: HashMap<String, String>) -> Vec<u8> {
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for (site, parts) in self.states {
            let states = Tensor::cat(&parts, 0);
            let shape = states.size().into_iter().map(|n| n as usize).collect();
            let values = Vec::<f32>::try_from(states.flatten(0, -1)).expect("f32 on the host");
            tensors.push((site, Dtype::F32, shape, values.into_iter().flat_map(f32::to_le_bytes).collect()));
        }
        let count = if self.token.is_empty() { "index.tokens" } else { "index.position" };
        for (name, values) in [("index.text", self.text), (count, self.position), ("index.token", self.token)] {
            if !values.is_empty() {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                tensors.push((name.to_owned(), Dtype::I64, vec![values.len()], bytes));
            }
        }
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).expect("bytes of that shape"))
        });
        safetensors::serialize(views, Some(about)).expect("consistent views")
    }
}
