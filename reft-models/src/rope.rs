//! Rotary position embedding, with the frequency scalings of the Llama family.

mod config;

use tch::{Kind, Tensor};

pub use self::config::RopeConfig;

/// How frequencies are changed for contexts longer than those of pre-training.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Scaling {
    /// None.
    Default,
    /// Positions divided by a factor.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by a factor, high ones kept, a ramp between.
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
}

impl Scaling {
    fn apply(self, frequency: f64) -> f64 {
        match self {
            Self::Default => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings: original } => {
                let wavelength = 2.0 * std::f64::consts::PI / frequency;
                if wavelength < original / high_freq_factor {
                    frequency
                } else if wavelength > original / low_freq_factor {
                    frequency / factor
                } else {
                    let smooth = (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
        }
    }
}

/// The frequencies of one model.
#[derive(Clone, Debug)]
pub struct Rope {
    frequencies: Vec<f32>,
}

/// Cosines and sines for the rows of one pass.
#[derive(Debug)]
pub struct Angles {
    /// `[N, E/2]`, f32.
    tables: (Tensor, Tensor),
    /// `[N, 1, E/2]` in the model's type.
    by_head: (Tensor, Tensor),
}

impl Rope {
    /// Frequencies for heads of `head_width` (even).
    pub fn new(head_width: i64, theta: f64, scaling: Scaling) -> Self {
        let frequency = |i: i64| theta.powf(-2.0 * i as f64 / head_width as f64);
        Self { frequencies: (0..head_width / 2).map(|i| scaling.apply(frequency(i)) as f32).collect() }
    }

    /// Angles of these positions `[N]`, computed in f32.
    pub fn angles(&self, positions: &Tensor, kind: Kind) -> Angles {
        let frequencies = Tensor::from_slice(&self.frequencies).to_device(positions.device());
        let angles = positions.to_kind(Kind::Float).unsqueeze(1) * frequencies;
        let tables = (angles.cos(), angles.sin());
        let by_head = |table: &Tensor| table.to_kind(kind).unsqueeze(1);
        Angles { by_head: (by_head(&tables.0), by_head(&tables.1)), tables }
    }
}

impl Angles {
    /// Cosines and sines `[N, E/2]`, f32.
    pub fn tables(&self) -> (&Tensor, &Tensor) {
        (&self.tables.0, &self.tables.1)
    }

    /// Rotates heads `[N, heads, E]`; the first half of a head pairs with its second half, as in Hugging Face's layout.
    pub fn rotate(&self, x: &Tensor) -> Tensor {
        let halves = x.chunk(2, -1);
        let (a, b) = (&halves[0], &halves[1]);
        let (cos, sin) = (&self.by_head.0, &self.by_head.1);
        Tensor::cat(&[a * cos - b * sin, b * cos + a * sin], -1)
    }
}
