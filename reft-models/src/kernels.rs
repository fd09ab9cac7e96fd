//! Fused CPU kernels for what libtorch does in many passes over memory: differentiable, f32 and bf16.
//!
//! Half of a training step on a CPU is matrix products; most of the rest is normalisation, gated units, rotary
//! embedding and small attention products that each read and write everything several times. These kernels touch it
//! once, and keep one number a row for the backward pass. Elsewhere (CUDA, f16) the same mathematics is composed of
//! libtorch's operations; the tests compare the two.
//!
//! Types, shapes, rows and the room in a cache are checked in C++ (`kernels/checks.h`) before any memory is touched.

#![allow(unsafe_code)] // One foreign function each, on tensors that outlive the call.

use std::ffi::CStr;
use std::os::raw::c_char;

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use crate::instruction_set::{InstructionSet, InstructionSetError};

mod packed;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod tests;

pub(crate) use packed::Packed;

unsafe extern "C" {
    fn reft_failure() -> *const c_char;
    fn reft_gradients_are_on() -> bool;
    fn reft_pack(weight: *const C_tensor) -> *mut C_tensor;
    fn reft_packed_linear(
        x: *const C_tensor,
        packed: *const C_tensor,
        back: *const C_tensor,
        bias: *const C_tensor,
    ) -> *mut C_tensor;
    fn reft_pack_panels(set: i32, weight: *const C_tensor) -> *mut C_tensor;
    fn reft_unpack_panels(set: i32, packed: *const C_tensor, outputs: i64, inputs: i64) -> *mut C_tensor;
    fn reft_panel_linear(
        set: i32,
        x: *const C_tensor,
        packed: *const C_tensor,
        outputs: i64,
        bias: *const C_tensor,
    ) -> *mut C_tensor;
    fn reft_rms_norm(set: i32, x: *const C_tensor, weight: *const C_tensor, eps: f64) -> *mut C_tensor;
    fn reft_gated(set: i32, x: *const C_tensor, activation: i64) -> *mut C_tensor;
    fn reft_attention(
        set: i32,
        qkv: *const C_tensor,
        past_k: *const C_tensor,
        past_v: *const C_tensor,
        sequences: *const C_tensor,
        cos: *const C_tensor,
        sin: *const C_tensor,
        heads: i64,
        kv_heads: i64,
        causal: bool,
        window: i64,
        ring: i64,
        scale: f32,
        append: bool,
    ) -> *mut C_tensor;
}

/// Arguments that a kernel does not take: a bug of the caller, except for the first.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelError {
    /// The environment asks for kernels that cannot be had.
    #[error(transparent)]
    InstructionSet(#[from] InstructionSetError),
    /// Which kernel, and what about the arguments is wrong.
    #[error("CPU kernel {0}")]
    Refused(String),
}

/// Whether there are kernels for tensors of this type and place.
pub(crate) fn cover(kind: Kind, device: Device) -> bool {
    device == Device::Cpu && matches!(kind, Kind::Float | Kind::BFloat16)
}

/// Whether there are kernels for tensors like this one.
pub(crate) fn cover_like(x: &Tensor) -> bool {
    cover(x.kind(), x.device())
}

/// Whether operations of this thread are recorded for a backward pass.
pub(crate) fn gradients_are_on() -> bool {
    unsafe { reft_gradients_are_on() }
}

/// Takes over a new tensor, or the reason why there is none.
fn owned(tensor: *mut C_tensor) -> Result<Tensor, KernelError> {
    if tensor.is_null() {
        let reason = unsafe { CStr::from_ptr(reft_failure()) }.to_string_lossy();
        return Err(KernelError::Refused(reason.lines().next().unwrap_or_default().to_owned()));
    }
    Ok(unsafe { Tensor::from_ptr(tensor) })
}

/// The result of a kernel whose arguments the caller has made itself.
///
/// # Panics
/// With the kernel's words when it refused them.
pub(crate) fn expect(result: Result<Tensor, KernelError>) -> Tensor {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// `x / rms(x) * w` of rows `[N, D]`; `w` `[D]` is constant.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, KernelError> {
    let set = InstructionSet::current()? as i32;
    owned(unsafe { reft_rms_norm(set, x.as_ptr(), weight.as_ptr(), eps) })
}

/// Activations of gated units, numbered as the kernels do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GateActivation {
    /// `x σ(x)`.
    Silu = 0,
    /// GELU's approximation by a hyperbolic tangent.
    GeluTanh = 1,
}

/// `act(gate) * up` of rows `[N, 2 D]` that hold gate and up side by side; `[N, D]`.
pub(crate) fn gated(x: &Tensor, gate: GateActivation) -> Result<Tensor, KernelError> {
    let set = InstructionSet::current()? as i32;
    owned(unsafe { reft_gated(set, x.as_ptr(), gate as i64) })
}

/// What attention needs beside the states.
#[derive(Debug)]
pub(crate) struct AttentionShape<'a> {
    /// For each sequence: first row, tokens, first row of its past, tokens of its past. `[B, 4]`, i64. No two share a
    /// row.
    pub sequences: &'a Tensor,
    /// Cosines `[N, R/2]`, f32, by row; of a head's coordinates the first `R` are rotated.
    pub cos: &'a Tensor,
    /// Sines, likewise.
    pub sin: &'a Tensor,
    /// Query heads.
    pub heads: i64,
    /// Key/value heads.
    pub kv_heads: i64,
    /// What a token sees.
    pub sight: AttentionMask,
    /// `s`: scores are `q k / √s`.
    pub scaled_by: f64,
    /// Rows of a sequence's past in a cache that grows, the oldest overwritten first; none for as many as it has tokens.
    pub ring: Option<i64>,
}

/// What a token sees of its sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AttentionMask {
    /// All of it.
    Whole,
    /// Itself and what comes before it.
    Causal {
        /// Of these the last so many; none for all.
        window: Option<i64>,
    },
}

/// Keys and values of earlier tokens, `[rows, K, E]` each, keys rotated.
#[derive(Debug)]
pub(crate) enum Past<'a> {
    /// There are none.
    None,
    /// Constant: gradients flow through the new tokens only.
    Fixed(&'a Tensor, &'a Tensor),
    /// New keys and values are written behind the old ones. Not differentiable: taken under `no_grad` only.
    Grow(&'a mut Tensor, &'a mut Tensor),
}

/// Attention of rows `[N, (H + 2K) E]` that hold queries, keys and values side by side, rotated here; `[N, H E]`.
pub(crate) fn attention(qkv: &Tensor, shape: &AttentionShape<'_>, past: Past<'_>) -> Result<Tensor, KernelError> {
    let set = InstructionSet::current()? as i32;
    let null = std::ptr::null();
    let (k, v, append) = match past {
        Past::None => (null, null, false),
        Past::Fixed(k, v) => (k.as_ptr(), v.as_ptr(), false),
        Past::Grow(k, v) => (k.as_mut_ptr().cast_const(), v.as_mut_ptr().cast_const(), true),
    };
    let AttentionShape { sequences, cos, sin, heads, kv_heads, sight, scaled_by, ring } = *shape;
    let (sequences, cos, sin) = (sequences.as_ptr(), cos.as_ptr(), sin.as_ptr());
    let (causal, window) = match sight {
        AttentionMask::Whole => (false, i64::MAX),
        AttentionMask::Causal { window } => (true, window.unwrap_or(i64::MAX)),
    };
    let ring = ring.unwrap_or(i64::MAX);
    // In f32, as the kernel computes.
    let scale = 1.0 / (scaled_by as f32).sqrt();
    let qkv = qkv.as_ptr();
    owned(unsafe {
        reft_attention(set, qkv, k, v, sequences, cos, sin, heads, kv_heads, causal, window, ring, scale, append)
    })
}
