//! How GGUF files store values: blocks of 32 or 256 values that share scales, by the formulas of ggml's `ggml-quants.c`.
//!
//! Own code, because the crate that has them (`candle-core`) comes with matrix products of its own, which took minutes of a cold
//! build. Checked bit for bit against llama.cpp's `gguf` package (`tests/gguf_families.rs`).

#![allow(unsafe_code)] // Numbers are written where a new tensor holds them.

use half::f16;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// Values that are de-quantised by one task.
const CHUNK: usize = 1 << 16;

/// How the values of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    /// One by one, as libtorch has them.
    Plain(Kind),
    Blocks(BlockType),
}

/// A block of quantised values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockType {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

/// Types that are read, by ggml's numbers and names.
pub(super) const READ: [(u32, &str, Storage); 13] = [
    (0, "F32", Storage::Plain(Kind::Float)),
    (1, "F16", Storage::Plain(Kind::Half)),
    (2, "Q4_0", Storage::Blocks(BlockType::Q4_0)),
    (3, "Q4_1", Storage::Blocks(BlockType::Q4_1)),
    (6, "Q5_0", Storage::Blocks(BlockType::Q5_0)),
    (7, "Q5_1", Storage::Blocks(BlockType::Q5_1)),
    (8, "Q8_0", Storage::Blocks(BlockType::Q8_0)),
    (10, "Q2_K", Storage::Blocks(BlockType::Q2K)),
    (11, "Q3_K", Storage::Blocks(BlockType::Q3K)),
    (12, "Q4_K", Storage::Blocks(BlockType::Q4K)),
    (13, "Q5_K", Storage::Blocks(BlockType::Q5K)),
    (14, "Q6_K", Storage::Blocks(BlockType::Q6K)),
    (30, "BF16", Storage::Plain(Kind::BFloat16)),
];

/// Types that ggml has and this project does not read.
pub(super) const UNREAD: [(u32, &str); 17] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (39, "MXFP4"),
];

impl Storage {
    /// The type of ggml's number.
    ///
    /// # Errors
    /// What it is instead, as words that continue "the tensor is".
    pub(super) fn of(number: u32) -> Result<Self, String> {
        if let Some((.., storage)) = READ.into_iter().find(|(known, ..)| *known == number) {
            return Ok(storage);
        }
        let known = UNREAD.iter().find(|(known, _)| *known == number);
        let name = known.map_or_else(|| format!("number {number}"), |(_, name)| (*name).to_owned());
        Err(format!("of the type {name}, which is not read"))
    }

    /// Values in a block, and its bytes.
    pub(super) fn block(self) -> (usize, usize) {
        match self {
            Self::Plain(kind) => (1, kind.elt_size_in_bytes()),
            Self::Blocks(block) => block.size(),
        }
    }

    /// The values of whole blocks in f32, `[N]`. Narrower types widen without loss.
    pub(super) fn dequantised(self, stored: &[u8]) -> Tensor {
        let (values, bytes) = self.block();
        let count = stored.len() / bytes * values;
        match self {
            Self::Plain(kind) => Tensor::from_data_size(stored, &[count as i64], kind).to_kind(Kind::Float),
            Self::Blocks(block) => {
                let out = Tensor::empty([count as i64], (Kind::Float, Device::Cpu));
                // SAFETY: a new tensor of `count` numbers one after the other, each of which is written and then read.
                let numbers = unsafe { std::slice::from_raw_parts_mut(out.data_ptr().cast::<f32>(), count) };
                let blocks = CHUNK / values;
                let tasks = stored.par_chunks(blocks * bytes).zip(numbers.par_chunks_mut(blocks * values));
                tasks.for_each(|(stored, out)| block.dequantise(stored, out));
                out
            }
        }
    }
}

impl BlockType {
    /// Values, and bytes.
    fn size(self) -> (usize, usize) {
        match self {
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q2K => (256, 84),
            Self::Q3K => (256, 110),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    fn dequantise(self, stored: &[u8], out: &mut [f32]) {
        let (values, bytes) = self.size();
        let each = stored.chunks_exact(bytes).zip(out.chunks_exact_mut(values));
        match self {
            Self::Q4_0 => each.for_each(|(x, y)| q4_0(x, y)),
            Self::Q4_1 => each.for_each(|(x, y)| q4_1(x, y)),
            Self::Q5_0 => each.for_each(|(x, y)| q5_0(x, y)),
            Self::Q5_1 => each.for_each(|(x, y)| q5_1(x, y)),
            Self::Q8_0 => each.for_each(|(x, y)| q8_0(x, y)),
            Self::Q2K => each.for_each(|(x, y)| q2_k(x, y)),
            Self::Q3K => each.for_each(|(x, y)| q3_k(x, y)),
            Self::Q4K => each.for_each(|(x, y)| q4_k(x, y)),
            Self::Q5K => each.for_each(|(x, y)| q5_k(x, y)),
            Self::Q6K => each.for_each(|(x, y)| q6_k(x, y)),
        }
    }
}

/// The f16 at a byte of a block.
fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// `d`, 16 bytes of 4 bits.
fn q4_0(x: &[u8], y: &mut [f32]) {
    let d = half(x, 0);
    four_bits(&x[2..], 0, y, |q| (q - 8) as f32 * d);
}

/// `d`, `m`, 16 bytes of 4 bits.
fn q4_1(x: &[u8], y: &mut [f32]) {
    let (d, m) = (half(x, 0), half(x, 2));
    four_bits(&x[4..], 0, y, |q| q as f32 * d + m);
}

/// `d`, 4 bytes of fifth bits, 16 bytes of 4 bits.
fn q5_0(x: &[u8], y: &mut [f32]) {
    let d = half(x, 0);
    four_bits(&x[6..], u32::from_le_bytes([x[2], x[3], x[4], x[5]]), y, |q| (q - 16) as f32 * d);
}

/// `d`, `m`, 4 bytes of fifth bits, 16 bytes of 4 bits.
fn q5_1(x: &[u8], y: &mut [f32]) {
    let (d, m) = (half(x, 0), half(x, 2));
    four_bits(&x[8..], u32::from_le_bytes([x[4], x[5], x[6], x[7]]), y, |q| q as f32 * d + m);
}

/// The low halves of all bytes first, then the high ones; `fifth` has the bit above the four of each value.
fn four_bits(quants: &[u8], fifth: u32, y: &mut [f32], value: impl Fn(i32) -> f32) {
    let bit = |at: usize| ((fifth >> at & 1) << 4) as i32;
    let (low, high) = y.split_at_mut(16);
    for (j, ((q, low), high)) in quants.iter().zip(low).zip(high).enumerate() {
        *low = value(i32::from(q & 15) | bit(j));
        *high = value(i32::from(q >> 4) | bit(j + 16));
    }
}

/// `d`, 32 signed bytes.
fn q8_0(x: &[u8], y: &mut [f32]) {
    let d = half(x, 0);
    for (q, y) in x[2..].iter().zip(y) {
        *y = f32::from(*q as i8) * d;
    }
}

/// Scales (16 bytes: scale and minimum of 16 values, 4 bits each), 64 bytes of 2 bits, `d`, `d_min`.
fn q2_k(x: &[u8], y: &mut [f32]) {
    let (scales, quants) = (&x[..16], &x[16..80]);
    let (d, d_min) = (half(x, 80), half(x, 82));
    for (group, y) in y.chunks_exact_mut(16).enumerate() {
        let (scale, min) = (d * f32::from(scales[group] & 15), d_min * f32::from(scales[group] >> 4));
        let (from, shift) = two_bits(group);
        for (q, y) in quants[from..].iter().zip(y) {
            *y = scale * f32::from(q >> shift & 3) - min;
        }
    }
}

/// First byte and shift of a group of 16 values of 2 bits: a half of 128 values has 32 bytes, which hold four groups of 32.
fn two_bits(group: usize) -> (usize, usize) {
    let (part, within) = (group / 8, group % 8);
    (part * 32 + within % 2 * 16, within / 2 * 2)
}

/// 32 bytes of third bits, 64 bytes of 2 bits, 12 bytes of 6-bit scales, `d`.
fn q3_k(x: &[u8], y: &mut [f32]) {
    let (third, quants, scales, d) = (&x[..32], &x[32..96], &x[96..108], half(x, 108));
    for (group, y) in y.chunks_exact_mut(16).enumerate() {
        let low = if group < 8 { scales[group] & 15 } else { scales[group - 8] >> 4 };
        let high = scales[8 + group % 4] >> (2 * (group / 4)) & 3;
        let scale = d * (i32::from(low | high << 4) - 32) as f32;
        let (from, shift) = two_bits(group);
        let bit = 1_u8 << (group / 2);
        for ((q, third), y) in quants[from..].iter().zip(&third[group % 2 * 16..]).zip(y) {
            let below = if third & bit == 0 { 4 } else { 0 };
            *y = scale * (i32::from(q >> shift & 3) - below) as f32;
        }
    }
}

/// Scale and minimum, 6 bits each, of one of the eight groups of 32 values of [`q4_k`] and [`q5_k`].
fn six_bits(scales: &[u8], group: usize) -> (f32, f32) {
    let (scale, min) = if group < 4 {
        (scales[group] & 63, scales[group + 4] & 63)
    } else {
        let (low, scale, min) = (scales[group + 4], scales[group - 4] >> 6, scales[group] >> 6);
        (low & 15 | scale << 4, low >> 4 | min << 4)
    };
    (f32::from(scale), f32::from(min))
}

/// `d`, `d_min`, 12 bytes of scales and minima, 128 bytes of 4 bits.
fn q4_k(x: &[u8], y: &mut [f32]) {
    let (d, d_min, scales, quants) = (half(x, 0), half(x, 2), &x[4..16], &x[16..144]);
    for (group, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, min) = six_bits(scales, group);
        let (scale, min) = (d * scale, d_min * min);
        let shift = group % 2 * 4;
        for (q, y) in quants[group / 2 * 32..].iter().zip(y) {
            *y = scale * f32::from(q >> shift & 15) - min;
        }
    }
}

/// As [`q4_k`], with 32 bytes of fifth bits before the others.
fn q5_k(x: &[u8], y: &mut [f32]) {
    let (d, d_min, scales) = (half(x, 0), half(x, 2), &x[4..16]);
    let (fifth, quants) = (&x[16..48], &x[48..176]);
    for (group, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, min) = six_bits(scales, group);
        let (scale, min) = (d * scale, d_min * min);
        let shift = group % 2 * 4;
        for ((q, fifth), y) in quants[group / 2 * 32..].iter().zip(fifth).zip(y) {
            *y = scale * f32::from((q >> shift & 15) | (fifth >> group & 1) << 4) - min;
        }
    }
}

/// 128 bytes of 4 bits, 64 bytes of 2 bits, 16 signed scales, `d`.
fn q6_k(x: &[u8], y: &mut [f32]) {
    let (low, high, scales, d) = (&x[..128], &x[128..192], &x[192..208], half(x, 208));
    for (group, y) in y.chunks_exact_mut(16).enumerate() {
        let scale = d * f32::from(scales[group] as i8);
        // A half of 128 values: four quarters of 32, of which two share the bytes of the low bits.
        let (part, quarter, from) = (group / 8, group % 8 / 2, group % 2 * 16);
        let lows = &low[part * 64 + quarter % 2 * 32 + from..];
        let highs = &high[part * 32 + from..];
        for ((low, high), y) in lows.iter().zip(highs).zip(y) {
            let q = (low >> (quarter / 2 * 4) & 15) | (high >> (quarter * 2) & 3) << 4;
            *y = scale * (i32::from(q) - 32) as f32;
        }
    }
}
