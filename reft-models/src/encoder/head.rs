//! The classification head that came with a checkpoint.

use reft_core::site::Dims;
use tch::Tensor;

use super::config::EncoderConfig;
use super::family::EncoderFamily;
use super::modernbert;
use crate::container::WeightsError;
use crate::nn::{Bias, LayerNorm, Linear, WeightSource};
use crate::weights::Weights;

/// `W_o tanh(W_d h_1 + b_d) + b_o` (eq. 5, before the softmax); DistilBERT's has `relu` in the place of `tanh`, ModernBERT's
/// `gelu` and a norm behind it.
#[derive(Debug)]
pub(super) struct PretrainedHead {
    dense: Linear,
    norm: Option<LayerNorm>,
    out: Linear,
    family: EncoderFamily,
}

impl PretrainedHead {
    /// Reads it, if it is there.
    pub(super) fn load(
        weights: &Weights,
        root: &WeightSource<'_>,
        encoder: &WeightSource<'_>,
        config: &EncoderConfig,
    ) -> Result<Option<Self>, WeightsError> {
        let (family, Dims { width, .. }) = (config.family, config.dims);
        let name = match family {
            EncoderFamily::Bert | EncoderFamily::DistilBert | EncoderFamily::ModernBert => "classifier",
            EncoderFamily::Roberta | EncoderFamily::XlmRoberta => "classifier.out_proj",
        };
        let Some(shape) = weights.shape(&format!("{name}.weight")) else { return Ok(None) };
        let out = Linear::load(root, name, width, shape[0], Bias::With)?;
        let dense = match family {
            EncoderFamily::Bert => Linear::load(&encoder.sub("pooler"), "dense", width, width, Bias::With)?,
            EncoderFamily::Roberta | EncoderFamily::XlmRoberta => {
                Linear::load(&root.sub("classifier"), "dense", width, width, Bias::With)?
            }
            EncoderFamily::DistilBert => Linear::load(root, "pre_classifier", width, width, Bias::With)?,
            EncoderFamily::ModernBert => {
                let modern = config.modern.as_ref().expect("a configuration of this family");
                let (dense, norm) = modernbert::head(root, modern, (width, config.eps))?;
                return Ok(Some(Self { dense, norm: Some(norm), out, family }));
            }
        };
        Ok(Some(Self { dense, norm: None, out, family }))
    }

    /// `[B, D] -> [B, C]`.
    pub(super) fn scores(&self, pooled: &Tensor) -> Tensor {
        let inner = self.dense.forward(pooled);
        let inner = match self.family {
            EncoderFamily::Bert | EncoderFamily::Roberta | EncoderFamily::XlmRoberta => inner.tanh(),
            EncoderFamily::DistilBert => inner.relu(),
            EncoderFamily::ModernBert => inner.gelu("none"),
        };
        self.out.forward(&self.norm.as_ref().map_or_else(|| inner.shallow_clone(), |norm| norm.forward(&inner)))
    }
}
