//! A decoder: embedding, blocks, norm, head.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use reft_core::site::Component::Embedding;
use reft_core::site::{Dims, LayerId, LinearWeight, Site};
use tch::{Device, Kind, Tensor};

use super::DecoderError;
use super::block::DecoderBlock;
use super::config::DecoderConfig;
use super::ends::EmbeddingWeights;
use super::norm::Norm;
use crate::attention::{AttentionPlan, AttentionVariant, Prefixes};
use crate::container::WeightsError;
use crate::model::{Decoder, Pass};
use crate::nn::{Bias, Linear, TensorLog, WeightSource};
use crate::rope::LengthLimit;
use crate::weights::Weights;

/// A loaded model.
#[derive(Debug)]
pub struct Transformer {
    config: DecoderConfig,
    ends: EmbeddingWeights,
    embedding: Tensor,
    /// Learned positions `[P, D]`.
    positions: Option<Tensor>,
    blocks: Vec<DecoderBlock>,
    norm: Norm,
    head: Linear,
    parameters: i64,
    notes: Vec<String>,
}

impl Transformer {
    /// Reads a checkpoint of this configuration from a source of its tensors.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or without a place.
    pub fn load(config: DecoderConfig, weights: &Weights, source: &WeightSource<'_>) -> Result<Self, DecoderError> {
        weights.check_not_quantised()?;
        let root = config.names.root(weights);
        let ends = EmbeddingWeights::find(weights, &config, root)?;
        let record = TensorLog::default();
        Self::assemble(config.clone(), (ends, root), &WeightSource::recording(Some(weights), &record))?;
        let read = record.into_inner();
        check_all_read(weights, &config, root, &read)?;
        let mut model = Self::assemble(config, (ends, root), source)?;
        model.parameters = read.iter().map(|(_, shape)| shape.iter().product::<i64>()).sum();
        model.notes.extend(ends.note(weights, &model.config, root));
        Ok(model)
    }

    /// Names and shapes of the tensors that a checkpoint of this configuration has.
    ///
    /// # Errors
    /// None that can be met: every tensor is there.
    pub fn tensors(config: DecoderConfig) -> Result<Vec<(String, Vec<i64>)>, WeightsError> {
        let record = TensorLog::default();
        let root = config.names.roots.first().copied().unwrap_or_default();
        let ends = EmbeddingWeights::announced(&config);
        Self::assemble(config, (ends, root), &WeightSource::recording(None, &record))?;
        Ok(record.into_inner())
    }

    fn assemble(
        config: DecoderConfig,
        (ends, root): (EmbeddingWeights, &'static str),
        source: &WeightSource<'_>,
    ) -> Result<Self, WeightsError> {
        let (dims, names) = (config.dims, config.names);
        let model = source.sub(root);
        let rows = [dims.vocab, dims.width];
        let embedding = match ends {
            EmbeddingWeights::Embedding | EmbeddingWeights::Two => {
                model.sub(names.embedding).tensor("weight", &rows)?
            }
            EmbeddingWeights::Head => source.sub(names.head).tensor("weight", &rows)?,
        };
        let learned = [config.context as i64, dims.width];
        let positions = names.positions.map(|name| model.sub(name).tensor("weight", &learned)).transpose()?;
        let layers = model.sub(names.layers);
        let block = |layer| DecoderBlock::load(&layers.sub(layer), LayerId(layer), &config);
        let blocks = (0..dims.layers).map(block).collect::<Result<Vec<_>, _>>()?;
        let norm = Norm::load(&model, names.final_norm, dims.width, &config)?;
        let head = if ends.are_one() {
            Linear::of(embedding.shallow_clone(), None, source.purpose())
        } else {
            Linear::load(source, names.head, dims.width, dims.vocab, Bias::Without)?
        };
        let notes = config.notes.clone();
        Ok(Self { config, ends, embedding, positions, blocks, norm, head, parameters: 0, notes })
    }

    /// The root below which its tensors are named, of those at hand.
    fn root(&self, weights: &BTreeMap<String, Tensor>) -> &'static str {
        let names = self.config.names;
        let blocks = |root: &&&'static str| {
            let below = names.blocks_below(root);
            weights.keys().any(|name| name.starts_with(&below))
        };
        names.roots.iter().find(blocks).copied().unwrap_or_default()
    }

    /// How the layers of `range` attend in this pass; positions begin behind the prefix that hooks bring.
    fn plan(&self, range: Range<usize>, pass: &Pass<'_>) -> AttentionPlan {
        let (kind, device) = self.options();
        let prefixes: Prefixes =
            range.map(LayerId).filter_map(|layer| Some((layer, pass.hooks.prefix(layer)?))).collect();
        let rows = prefixes.values().next().map_or(0, |prefix| prefix.keys.size()[0]);
        let way = |of: &super::config::AttentionKind| {
            let angles = of.rope.of_pass(pass.layout, rows, (kind, device));
            AttentionVariant { angles, rule: of.rule }
        };
        let ways = self.config.kinds.iter().map(way).collect();
        if prefixes.is_empty() {
            return AttentionPlan::new(pass.layout, ways, &pass.cache, kind, device);
        }
        AttentionPlan::after(prefixes, pass.layout, ways, &pass.cache, (kind, device))
    }
}

/// Refuses a checkpoint with a weight inside its blocks that the port would pass over: a norm of queries, a bias that the
/// configuration does not announce, an adapter that is not merged. Buffers of some versions are no weights.
fn check_all_read(
    weights: &Weights,
    config: &DecoderConfig,
    root: &str,
    read: &[(String, Vec<i64>)],
) -> Result<(), DecoderError> {
    let below = config.names.blocks_below(root);
    let read: BTreeSet<&str> = read.iter().map(|(name, _)| name.as_str()).collect();
    let foreign = |name: &&str| {
        let Some((layer, rest)) = name.strip_prefix(&below).and_then(|rest| rest.split_once('.')) else {
            return false;
        };
        // Layers beyond the last are not part of the model.
        let inside = layer.parse::<usize>().is_ok_and(|layer| layer < config.dims.layers);
        inside && !config.names.is_buffer(rest) && !read.contains(name)
    };
    match weights.names().into_iter().find(foreign) {
        Some(name) => Err(DecoderError::Unread { path: weights.path().to_owned(), name: name.to_owned() }),
        None => Ok(()),
    }
}

impl Decoder for Transformer {
    fn dims(&self) -> &Dims {
        &self.config.dims
    }

    fn options(&self) -> (Kind, Device) {
        (self.embedding.kind(), self.embedding.device())
    }

    fn parameters(&self) -> i64 {
        self.parameters
    }

    fn context(&self) -> usize {
        self.config.context
    }

    fn window(&self, layer: LayerId) -> Option<i64> {
        self.config.window(layer)
    }

    fn length_limit(&self) -> Option<LengthLimit> {
        self.config.length_limit()
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn embed(&self, ids: &Tensor, pass: &Pass<'_>) -> Tensor {
        let at = Site { layer: LayerId(0), component: Embedding };
        let mut h = self.embedding.index_select(0, ids);
        if let Some(scale) = self.config.embedding_scale {
            h *= scale;
        }
        if let Some(positions) = &self.positions {
            let begin = pass.hooks.prefix(LayerId(0)).map_or(0, |prefix| prefix.keys.size()[0]);
            h += positions.index_select(0, &(pass.layout.position_ids(ids.device()) + begin));
        }
        pass.hooks.visit(at, ids, h)
    }

    fn layers(&self, h: Tensor, range: Range<usize>, pass: &mut Pass<'_>) -> Tensor {
        let plan = self.plan(range.clone(), pass);
        let dims = &self.config.dims;
        self.blocks[range].iter().fold(h, |h, block| {
            let wanted = pass.wanted.filter(|_| block.layer().0 + 1 == dims.layers);
            block.forward(&h, dims, &plan, wanted, pass)
        })
    }

    fn normalise(&self, h: &Tensor) -> Tensor {
        self.norm.forward(h)
    }

    fn head(&self, h: &Tensor) -> Tensor {
        let logits = self.head.forward(h);
        match self.config.logit_cap {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        }
    }

    fn on(&self, weights: &BTreeMap<String, Tensor>) -> Result<Box<dyn Decoder>, WeightsError> {
        let source = WeightSource::given(weights, self.embedding.kind());
        let model = Self::assemble(self.config.clone(), (self.ends, self.root(weights)), &source)?;
        Ok(Box::new(Self { parameters: self.parameters, ..model }))
    }

    fn weight(&self, at: Site) -> Option<LinearWeight> {
        self.blocks.get(at.layer.0)?.weight(at.component, &self.config.dims)
    }
}
