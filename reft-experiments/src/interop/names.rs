//! Modules of transformers' models and the sites that they are here.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use reft_core::layers::{LayerIndex, Layers};
use reft_core::site::Component::{AttentionOutput, Gate, Key, MlpOutput, Query, Up, Value};
use reft_core::site::{Component, LayerId, Site};

/// How a family calls its modules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModuleNaming {
    /// `model.layers.N.self_attn.q_proj`.
    Llama,
    /// `bert.encoder.layer.N.attention.self.query`.
    Bert,
    /// The same below `roberta`.
    Roberta,
}

const LLAMA: [(&str, Component); 7] = [
    ("self_attn.q_proj", Query),
    ("self_attn.k_proj", Key),
    ("self_attn.v_proj", Value),
    ("self_attn.o_proj", AttentionOutput),
    ("mlp.gate_proj", Gate),
    ("mlp.up_proj", Up),
    ("mlp.down_proj", MlpOutput),
];

const ENCODER: [(&str, Component); 6] = [
    ("attention.self.query", Query),
    ("attention.self.key", Key),
    ("attention.self.value", Value),
    ("attention.output.dense", AttentionOutput),
    ("intermediate.dense", Up),
    ("output.dense", MlpOutput),
];

impl ModuleNaming {
    fn modules(self) -> &'static [(&'static str, Component)] {
        match self {
            Self::Llama => &LLAMA,
            Self::Bert | Self::Roberta => &ENCODER,
        }
    }

    /// The path of the block before its number.
    fn blocks(self) -> &'static str {
        match self {
            Self::Llama => "model.layers.",
            Self::Bert => "bert.encoder.layer.",
            Self::Roberta => "roberta.encoder.layer.",
        }
    }

    /// The module's path; none where the component is no module of its own.
    pub fn module(self, at: Site) -> Option<String> {
        let (name, _) = self.modules().iter().find(|(_, component)| *component == at.component)?;
        Some(format!("{}{}.{name}", self.blocks(), at.layer))
    }

    /// The last part of a module's path, as `target_modules` lists it.
    pub fn target(self, component: Component) -> Option<&'static str> {
        let (name, _) = self.modules().iter().find(|(_, known)| *known == component)?;
        // In encoders `dense` alone would be several modules.
        Some(if name.ends_with(".dense") { name } else { name.rsplit('.').next().unwrap_or(name) })
    }

    /// The path of a block, as pyreft writes it.
    pub fn block(self, layer: LayerId) -> String {
        format!("{}[{layer}]", self.blocks().trim_end_matches('.'))
    }
}

/// The site of a module's path, whatever wraps the model.
///
/// # Errors
/// When it is no linear map of a block that is known here.
pub fn site(module: &str) -> Result<Site> {
    let known = [("layers.", &LLAMA[..]), ("encoder.layer.", &ENCODER[..])];
    for (blocks, modules) in known {
        let Some((_, rest)) = module.split_once(blocks) else { continue };
        let Some((layer, name)) = rest.split_once('.') else { continue };
        let component = modules.iter().find(|(known, _)| *known == name).map(|(_, component)| *component);
        if let (Ok(layer), Some(component)) = (layer.parse(), component) {
            return Ok(Site { layer: LayerId(layer), component });
        }
    }
    bail!("module `{module}` is none that is known here: the linear maps of Llama-like decoders, BERT and RoBERTa are")
}

/// The layers and components of sites that are all components of all the layers.
///
/// # Errors
/// When they are not.
pub fn grid(sites: &BTreeSet<Site>) -> Result<(Layers, Vec<Component>)> {
    let layers: BTreeSet<LayerId> = sites.iter().map(|site| site.layer).collect();
    let components: BTreeSet<Component> = sites.iter().map(|site| site.component).collect();
    let full = layers.iter().flat_map(|&layer| components.iter().map(move |&component| Site { layer, component }));
    if let Some(missing) = full.into_iter().find(|site| !sites.contains(site)) {
        bail!(
            "{missing} is not adapted, though its layer and its component are elsewhere: copy the whole folder again"
        );
    }
    let listed = layers.into_iter().map(|layer| LayerIndex::FromStart(layer.0)).collect();
    Ok((Layers::listed(listed).context("no layers")?, components.into_iter().collect()))
}
