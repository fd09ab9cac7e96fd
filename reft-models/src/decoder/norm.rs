//! A norm of either kind.

use tch::Tensor;

use super::config::{DecoderConfig, NormKind};
use crate::container::WeightsError;
use crate::nn::{LayerNorm, RmsNorm, WeightSource};

/// A norm of rows.
#[derive(Debug)]
pub enum Norm {
    /// By the root of the mean square.
    Rms(RmsNorm),
    /// By mean and deviation.
    Layer(LayerNorm),
}

impl Norm {
    /// The module `name` of `source`, for rows of this width.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn load(
        source: &WeightSource<'_>,
        name: &str,
        width: i64,
        config: &DecoderConfig,
    ) -> Result<Self, WeightsError> {
        let eps = config.eps;
        Ok(match config.norm {
            NormKind::Rms => Self::Rms(RmsNorm::load(source, name, width, eps)?),
            NormKind::RmsFromZero => Self::Rms(RmsNorm::load_from_zero(source, name, width, eps)?),
            NormKind::Layer => Self::Layer(LayerNorm::load(source, name, width, eps)?),
        })
    }

    /// The norm of this name, if the family has one there.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn load_if(
        source: &WeightSource<'_>,
        name: Option<&str>,
        config: &DecoderConfig,
    ) -> Result<Option<Self>, WeightsError> {
        name.map(|name| Self::load(source, name, config.dims.width, config)).transpose()
    }

    /// `[N, D] -> [N, D]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Rms(norm) => norm.forward(x),
            Self::Layer(norm) => norm.forward(x),
        }
    }
}

/// `x`, normalised where there is a norm.
pub fn normalised(norm: Option<&Norm>, x: &Tensor) -> Tensor {
    norm.map_or_else(|| x.shallow_clone(), |norm| norm.forward(x))
}
