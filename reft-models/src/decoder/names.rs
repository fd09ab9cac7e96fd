//! What a family's checkpoints call the tensors of a decoder, and in which arrangement they hold them.

use reft_core::site::Dims;
use tch::Tensor;

use crate::container::WeightsError;
use crate::nn::{Bias, Linear, WeightSource};
use crate::weights::Weights;

/// Names of modules; those of a block are below its number in `layers`.
#[derive(Debug)]
pub struct ModuleNames {
    /// What may hold everything but the head, the usual name first; empty where nothing does.
    pub roots: &'static [&'static str],
    /// Token embeddings `[V, D]`.
    pub embedding: &'static str,
    /// Embeddings of positions, where they are learned.
    pub positions: Option<&'static str>,
    /// The list of blocks.
    pub layers: &'static str,
    /// The norm behind the last block.
    pub final_norm: &'static str,
    /// The head, beside the root.
    pub head: &'static str,
    /// Norms around attention.
    pub attention_norms: SublayerNorms,
    /// Norms around the MLP.
    pub mlp_norms: SublayerNorms,
    /// Queries, keys and values.
    pub qkv: ProjectionStorage,
    /// Norms of queries and of keys.
    pub qk_norms: [&'static str; 2],
    /// Attention's output projection.
    pub output: &'static str,
    /// The MLP's first projections: gate and up, or up alone.
    pub up: ProjectionStorage,
    /// The MLP's second projection.
    pub down: &'static str,
    /// How weights lie in the files.
    pub orientation: Orientation,
    /// Tensors of a block that are no weights but buffers of some versions.
    pub buffers: &'static [&'static str],
}

/// Norms around a part of a block.
#[derive(Clone, Copy, Debug)]
pub struct SublayerNorms {
    /// Of what it reads.
    pub before: Option<&'static str>,
    /// Of what it adds to the stream.
    pub after: Option<&'static str>,
}

/// How several linear layers with one input are stored.
#[derive(Clone, Copy, Debug)]
pub enum ProjectionStorage {
    /// Each by itself.
    Apart(&'static [&'static str]),
    /// As one, the outputs of one behind those of the other.
    Joined(&'static str),
    /// As one, head by head: a head's query, its key, its value. There are as many of each.
    ByHead(&'static str),
}

/// How a linear layer's weight lies in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Orientation {
    /// `[out, in]`.
    OutIn,
    /// `[in, out]`.
    InOut,
}

impl ModuleNames {
    /// The root that a checkpoint has.
    pub fn root(&self, weights: &Weights) -> &'static str {
        let usual = self.roots.first().copied().unwrap_or_default();
        let has = |root: &&&'static str| weights.contains(&self.embedding_below(root));
        self.roots.iter().find(has).copied().unwrap_or(usual)
    }

    /// The embedding's tensor below this root.
    pub fn embedding_below(&self, root: &str) -> String {
        let dot = if root.is_empty() { "" } else { "." };
        format!("{root}{dot}{}.weight", self.embedding)
    }

    /// The head's tensor.
    pub fn head_weight(&self) -> String {
        format!("{}.weight", self.head)
    }

    /// What the names of all tensors in blocks begin with, below this root.
    pub fn blocks_below(&self, root: &str) -> String {
        let dot = if root.is_empty() { "" } else { "." };
        format!("{root}{dot}{}.", self.layers)
    }

    /// Whether a tensor of a block, named below it, is a buffer.
    pub fn is_buffer(&self, name: &str) -> bool {
        name.ends_with("inv_freq") || name.ends_with("masked_bias") || self.buffers.contains(&name)
    }

    /// Reads the linear layer `name`.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape, or a bias is there that should not be.
    pub fn linear(
        &self,
        source: &WeightSource<'_>,
        name: &str,
        [input, out]: [i64; 2],
        bias: Bias,
    ) -> Result<Linear, WeightsError> {
        match self.orientation {
            Orientation::OutIn => Linear::load(source, name, input, out, bias),
            Orientation::InOut => {
                let module = source.sub(name);
                let weight = module.arranged("weight", &[input, out], |weight| weight.tr().contiguous())?;
                Ok(Linear::of(weight, bias_of(&module, out, bias)?, source.purpose()))
            }
        }
    }

    /// Reads layers with one input as one; `outs` are their outputs.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape, or a bias is there that should not be.
    pub fn fused(
        &self,
        source: &WeightSource<'_>,
        stored: ProjectionStorage,
        (dims, outs): (&Dims, &[i64]),
        bias: Bias,
    ) -> Result<Linear, WeightsError> {
        let (width, out) = (dims.width, outs.iter().sum());
        match stored {
            ProjectionStorage::Apart(names) => Linear::fused(source, names, width, outs, bias),
            ProjectionStorage::Joined(name) => self.linear(source, name, [width, out], bias),
            ProjectionStorage::ByHead(name) => {
                let module = source.sub(name);
                let weight = module.arranged("weight", &[out, width], |weight| by_part(&weight, dims))?;
                let bias = match bias {
                    Bias::With => Some(module.arranged("bias", &[out], |bias| by_part(&bias, dims))?),
                    Bias::Without => bias_of(&module, out, bias)?,
                };
                Ok(Linear::of(weight, bias, source.purpose()))
            }
        }
    }
}

/// A module's bias, if it should have one.
fn bias_of(module: &WeightSource<'_>, out: i64, bias: Bias) -> Result<Option<Tensor>, WeightsError> {
    match bias {
        Bias::With => module.tensor("bias", &[out]).map(Some),
        Bias::Without => module.without("bias").map(|()| None),
    }
}

/// Rows head by head to all queries, all keys, all values: `[H, 3, E, …]` to `[3, H, E, …]`.
fn by_part(tensor: &Tensor, dims: &Dims) -> Tensor {
    let shape = tensor.size();
    tensor.reshape([dims.heads, 3, dims.head_width, -1]).transpose(0, 1).reshape(shape)
}
