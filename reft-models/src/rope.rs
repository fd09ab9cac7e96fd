//! Rotary position embedding, with the frequency scalings that decoders of the Llama kind use.

mod config;
mod scaling;

use reft_core::layout::Layout;
use tch::{Device, Kind, Tensor};

pub use self::config::{RopeConfig, RopeDefaults};
pub use self::scaling::{LongRope, Scaling, Yarn};

/// The rotation of one kind of layer: of `R` coordinates of a head, none where `R` is 0.
#[derive(Clone, Debug)]
pub struct Rope {
    rotary: i64,
    theta: f64,
    scaling: Scaling,
    /// Those of sequences within [`Rope::limit`].
    frequencies: Vec<f32>,
}

/// Cosines and sines for the rows of one pass.
#[derive(Debug)]
pub struct Angles {
    /// `[N, R/2]`, f32.
    tables: (Tensor, Tensor),
    /// `[N, 1, R/2]` in the model's type.
    by_head: (Tensor, Tensor),
}

/// A model whose keys depend on how long their sequence is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LengthLimit {
    /// Up to so many tokens they do not.
    pub tokens: i64,
    /// What becomes of the keys of a sequence that grows beyond.
    pub crossing: LimitCrossing,
}

/// What decoding does when a sequence grows beyond a [`LengthLimit`], as transformers does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitCrossing {
    /// Keys stay as they were computed; new ones follow the length of their step (dynamic NTK).
    Keep,
    /// All keys are computed anew (`LongRoPE`).
    Recompute,
}

impl Rope {
    /// Frequencies for the `rotary` (even) first coordinates of a head.
    pub fn new(rotary: i64, theta: f64, scaling: Scaling) -> Self {
        let frequencies = scaling.frequencies(rotary, theta, 0);
        Self { rotary, theta, scaling, frequencies }
    }

    /// Nothing is rotated.
    pub fn none() -> Self {
        Self::new(0, 1.0, Scaling::Default)
    }

    /// Up to which length angles depend on positions alone; none where they always do.
    pub fn limit(&self) -> Option<LengthLimit> {
        let limit = |original: f64, crossing| Some(LengthLimit { tokens: original as i64, crossing });
        match &self.scaling {
            Scaling::Dynamic { original, .. } => limit(*original, LimitCrossing::Keep),
            Scaling::LongRope(long) => limit(long.original, LimitCrossing::Recompute),
            Scaling::Default
            | Scaling::Linear { .. }
            | Scaling::Yarn(_)
            | Scaling::Llama3 { .. }
            | Scaling::Divided(_) => None,
        }
    }

    /// Angles of these positions `[N]` in sequences within [`Rope::limit`], computed in f32.
    pub fn angles(&self, positions: &Tensor, kind: Kind) -> Angles {
        let frequencies = Tensor::from_slice(&self.frequencies).to_device(positions.device());
        self.turned(&(positions.to_kind(Kind::Float).unsqueeze(1) * frequencies), kind)
    }

    /// Angles of the rows of a pass whose sequences begin at position `begin`. A sequence's length is that of its past and
    /// of its tokens in the pass.
    pub fn of_pass(&self, layout: &Layout, begin: i64, (kind, device): (Kind, Device)) -> Angles {
        let positions = layout.position_ids(device) + begin;
        let limit = self.limit().map_or(i64::MAX, |limit| limit.tokens);
        let beyond = |length: i64| length > limit;
        if !layout.spans().iter().any(|span| beyond(begin + span.past + span.len)) {
            return self.angles(&positions, kind);
        }
        let mut by_row: Vec<f32> = self.frequencies.repeat(layout.rows() as usize);
        for span in layout.spans() {
            let length = begin + span.past + span.len;
            if beyond(length) {
                let own = self.scaling.frequencies(self.rotary, self.theta, length);
                let rows = span.row as usize * own.len()..(span.row + span.len) as usize * own.len();
                by_row[rows].copy_from_slice(&own.repeat(span.len as usize));
            }
        }
        let by_row = Tensor::from_slice(&by_row).view([layout.rows(), -1]).to_device(device);
        self.turned(&(positions.to_kind(Kind::Float).unsqueeze(1) * by_row), kind)
    }

    /// From angles `[N, R/2]` in radians.
    fn turned(&self, radians: &Tensor, kind: Kind) -> Angles {
        let factor = self.scaling.attention_factor();
        let scaled = |table: Tensor| if (factor - 1.0).abs() > f64::EPSILON { table * factor } else { table };
        let tables = (scaled(radians.cos()), scaled(radians.sin()));
        let by_head = |table: &Tensor| table.to_kind(kind).unsqueeze(1);
        Angles { by_head: (by_head(&tables.0), by_head(&tables.1)), tables }
    }
}

impl Angles {
    /// Cosines and sines `[N, R/2]`, f32.
    pub fn tables(&self) -> (&Tensor, &Tensor) {
        (&self.tables.0, &self.tables.1)
    }

    /// Rotates heads `[N, heads, E]`; the first half of the rotated coordinates pairs with the second, as in Hugging Face's
    /// layout.
    pub fn rotate(&self, x: &Tensor) -> Tensor {
        let (width, half) = (x.size()[2], self.by_head.0.size()[2]);
        if half == 0 {
            return x.shallow_clone();
        }
        let (a, b) = (&x.narrow(2, 0, half), &x.narrow(2, half, half));
        let (cos, sin) = (&self.by_head.0, &self.by_head.1);
        let mut parts = vec![a * cos - b * sin, b * cos + a * sin];
        if width > 2 * half {
            parts.push(x.narrow(2, 2 * half, width - 2 * half));
        }
        Tensor::cat(&parts, -1)
    }
}
