//! How frequencies `θ^(-2i/R)` are changed for contexts longer than those of pre-training.

use std::f64::consts::PI;

/// A rule for frequencies. The names are transformers' rope types.
#[derive(Clone, PartialEq, Debug)]
pub enum Scaling {
    /// None.
    Default,
    /// Positions divided by a factor.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// A larger base for sequences longer than `original` (NTK-aware scaling): see `Scaling::base`.
    Dynamic {
        /// How much longer contexts may be.
        factor: f64,
        /// Context length of pre-training.
        original: f64,
    },
    /// `YaRN`: low frequencies divided by a factor, high ones kept, a ramp over their index between.
    Yarn(Yarn),
    /// Llama 3.1: low frequencies divided by a factor, high ones kept, a ramp over their wavelength between.
    Llama3 {
        /// Divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context length of pre-training.
        original_max_position_embeddings: f64,
    },
    /// A divisor for each frequency, other ones for sequences longer than `original`.
    LongRope(LongRope),
    /// A divisor for each frequency: what a GGUF file holds of a Llama 3.1.
    Divided(Vec<f64>),
}

/// Settings of `YaRN`.
#[derive(Clone, PartialEq, Debug)]
pub struct Yarn {
    /// Divisor of low frequencies.
    pub factor: f64,
    /// Context length of pre-training.
    pub original: f64,
    /// Frequencies that turn at least so often within `original` are kept.
    pub beta_fast: f64,
    /// Those that turn less often than this are divided.
    pub beta_slow: f64,
    /// Whether the ends of the ramp are whole indices.
    pub truncate: bool,
    /// What cosines and sines are multiplied by.
    pub attention_factor: f64,
}

/// Settings of `LongRoPE`.
#[derive(Clone, PartialEq, Debug)]
pub struct LongRope {
    /// Divisors up to `original` tokens.
    pub short: Vec<f64>,
    /// Divisors beyond.
    pub long: Vec<f64>,
    /// Context length of pre-training.
    pub original: f64,
    /// What cosines and sines are multiplied by, on both sides.
    pub attention_factor: f64,
}

impl Scaling {
    /// The frequencies for `rotary` coordinates in a sequence of `length` tokens.
    pub(super) fn frequencies(&self, rotary: i64, theta: f64, length: i64) -> Vec<f32> {
        let base = self.base(rotary, theta, length);
        let plain = (0..rotary / 2).map(|i| base.powf(-2.0 * i as f64 / rotary as f64));
        let scaled = |(i, frequency): (usize, f64)| self.apply(i, frequency, (rotary, theta, length)) as f32;
        plain.enumerate().map(scaled).collect()
    }

    /// `θ (s n / n₀ - (s - 1))^(R / (R - 2))` for `n > n₀` tokens under [`Scaling::Dynamic`], else `θ`.
    fn base(&self, rotary: i64, theta: f64, length: i64) -> f64 {
        match *self {
            Self::Dynamic { factor, original } if length as f64 > original => {
                let rotary = rotary as f64;
                theta * (factor * length as f64 / original - (factor - 1.0)).powf(rotary / (rotary - 2.0))
            }
            Self::Default
            | Self::Linear { .. }
            | Self::Dynamic { .. }
            | Self::Yarn(_)
            | Self::Llama3 { .. }
            | Self::LongRope(_)
            | Self::Divided(_) => theta,
        }
    }

    fn apply(&self, i: usize, frequency: f64, (rotary, theta, length): (i64, f64, i64)) -> f64 {
        match self {
            Self::Default | Self::Dynamic { .. } => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Yarn(yarn) => {
                let kept = 1.0 - yarn.ramp(i as f64, rotary as f64, theta);
                frequency / yarn.factor * (1.0 - kept) + frequency * kept
            }
            &Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings: original } => {
                let wavelength = 2.0 * PI / frequency;
                if wavelength < original / high_freq_factor {
                    frequency
                } else if wavelength > original / low_freq_factor {
                    frequency / factor
                } else {
                    let smooth = (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
            Self::LongRope(LongRope { short, long, original, .. }) => {
                frequency / if length as f64 > *original { long[i] } else { short[i] }
            }
            Self::Divided(divisors) => frequency / divisors[i],
        }
    }

    /// What cosines and sines are multiplied by.
    pub(super) fn attention_factor(&self) -> f64 {
        match self {
            Self::Yarn(yarn) => yarn.attention_factor,
            Self::LongRope(long) => long.attention_factor,
            Self::Default | Self::Linear { .. } | Self::Dynamic { .. } | Self::Llama3 { .. } | Self::Divided(_) => 1.0,
        }
    }

    /// How many divisors it has, where it has one for each frequency.
    pub(super) fn divisors(&self) -> Option<usize> {
        match self {
            Self::LongRope(long) => Some(long.short.len()),
            Self::Divided(divisors) => Some(divisors.len()),
            Self::Default | Self::Linear { .. } | Self::Dynamic { .. } | Self::Yarn(_) | Self::Llama3 { .. } => None,
        }
    }
}

impl Yarn {
    /// 0 for frequencies that are kept, 1 for those that are divided.
    fn ramp(&self, i: f64, rotary: f64, theta: f64) -> f64 {
        // The index of the frequency that turns so often within the original length.
        let index = |turns: f64| rotary * (self.original / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
        let (mut low, mut high) = (index(self.beta_fast), index(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(rotary - 1.0));
        let width = if (high - low).abs() < f64::EPSILON { 0.001 } else { high - low };
        ((i - low) / width).clamp(0.0, 1.0)
    }
}

/// `0.1 m ln s + 1`: what `YaRN` multiplies cosines and sines by, for contexts `s` times as long.
pub(super) fn yarn_factor(scale: f64, by: f64) -> f64 {
    if scale <= 1.0 { 1.0 } else { 0.1 * by * scale.ln() + 1.0 }
}
