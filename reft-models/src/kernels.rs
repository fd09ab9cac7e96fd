//! Fused CPU kernels for what libtorch does in many passes over memory: differentiable, f32 and bf16.
//!
//! Half of a training step on a CPU is matrix products; most of the rest is normalisation, gated units, rotary
//! embedding and small attention products that each read and write everything several times. These kernels touch it
//! once, and keep one number a row for the way back. Elsewhere (CUDA, f16) the same mathematics is composed of
//! libtorch's operations; the tests compare the two.

#![allow(unsafe_code)] // One foreign function each, on tensors that outlive the call.

use std::cell::OnceCell;
use std::ffi::CStr;
use std::os::raw::c_char;

use tch::{Device, Kind, Tensor, no_grad};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn reft_failure() -> *const c_char;
    fn reft_pack(weight: *const C_tensor) -> *mut C_tensor;
    fn reft_packed_linear(
        x: *const C_tensor,
        packed: *const C_tensor,
        back: *const C_tensor,
        bias: *const C_tensor,
    ) -> *mut C_tensor;
    fn reft_rms_norm(x: *const C_tensor, weight: *const C_tensor, eps: f64) -> *mut C_tensor;
    fn reft_gated_silu(x: *const C_tensor) -> *mut C_tensor;
    fn reft_attention(
        qkv: *const C_tensor,
        past_k: *const C_tensor,
        past_v: *const C_tensor,
        sequences: *const C_tensor,
        cos: *const C_tensor,
        sin: *const C_tensor,
        heads: i64,
        kv_heads: i64,
        causal: bool,
        append: bool,
    ) -> *mut C_tensor;
}

/// Whether there are kernels for tensors of this type and place.
pub fn cover(kind: Kind, device: Device) -> bool {
    device == Device::Cpu && matches!(kind, Kind::Float | Kind::BFloat16)
}

/// Whether there are kernels for tensors like this one.
pub fn cover_like(x: &Tensor) -> bool {
    cover(x.kind(), x.device())
}

/// Takes over a new tensor. A null pointer is a bug of the caller (types and shapes are checked on the other side).
fn owned(tensor: *mut C_tensor) -> Tensor {
    assert!(!tensor.is_null(), "CPU kernel: {}", unsafe { CStr::from_ptr(reft_failure()) }.to_string_lossy());
    unsafe { Tensor::from_ptr(tensor) }
}

/// A frozen weight `[out, in]` in the arrangement that oneDNN's products want, which it would otherwise make anew for
/// each product (a tenth of the time of a large one, half of that of a single row).
#[derive(Debug)]
pub struct Packed {
    forth: Tensor,
    /// The transpose, for gradients; made when one is first asked for.
    back: OnceCell<Tensor>,
}

impl Packed {
    /// Packs a bf16 weight on the CPU; none where this machine or type has no such arrangement.
    pub fn new(weight: &Tensor) -> Option<Self> {
        if weight.kind() != Kind::BFloat16 || weight.device() != Device::Cpu {
            return None;
        }
        let packed = unsafe { reft_pack(weight.as_ptr()) };
        (!packed.is_null()).then(|| Self { forth: owned(packed), back: OnceCell::new() })
    }

    /// `x Wᵀ + b` of rows `[N, in]`.
    pub fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let null = std::ptr::null();
        let back = x.requires_grad().then(|| self.back.get_or_init(|| self.transposed()));
        let back = back.map_or(null, Tensor::as_ptr);
        let bias = bias.map_or(null, Tensor::as_ptr);
        owned(unsafe { reft_packed_linear(x.as_ptr(), self.forth.as_ptr(), back, bias) })
    }

    /// A copy in rows, `[out, in]`.
    pub fn unpacked(&self) -> Tensor {
        no_grad(|| self.forth.to_dense(None, false))
    }

    fn transposed(&self) -> Tensor {
        let weight = no_grad(|| self.unpacked().tr().contiguous());
        owned(unsafe { reft_pack(weight.as_ptr()) })
    }
}

/// `x / rms(x) * w` of rows `[N, D]`; `w` `[D]` is constant.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    owned(unsafe { reft_rms_norm(x.as_ptr(), weight.as_ptr(), eps) })
}

/// `silu(gate) * up` of rows `[N, 2 D]` that hold gate and up side by side; `[N, D]`.
pub fn gated_silu(x: &Tensor) -> Tensor {
    owned(unsafe { reft_gated_silu(x.as_ptr()) })
}

/// What attention needs beside the states.
#[derive(Debug)]
pub struct Shape<'a> {
    /// For each sequence: first row, tokens, first row of its past, tokens of its past. `[B, 4]`, i64.
    pub sequences: &'a Tensor,
    /// Cosines `[N, E/2]`, f32, by row.
    pub cos: &'a Tensor,
    /// Sines, likewise.
    pub sin: &'a Tensor,
    /// Query heads.
    pub heads: i64,
    /// Key/value heads.
    pub kv_heads: i64,
    /// Whether a token sees what comes before it only, or its whole sequence.
    pub causal: bool,
}

/// Keys and values of earlier tokens, `[rows, K, E]` each, keys rotated.
#[derive(Debug)]
pub enum Past<'a> {
    /// There are none.
    None,
    /// Constant: gradients flow through the new tokens only.
    Fixed(&'a Tensor, &'a Tensor),
    /// New keys and values are written behind the old ones. Not differentiable.
    Grow(&'a mut Tensor, &'a mut Tensor),
}

/// Attention of rows `[N, (H + 2K) E]` that hold queries, keys and values side by side, rotated here; `[N, H E]`.
pub fn attention(qkv: &Tensor, shape: &Shape<'_>, past: Past<'_>) -> Tensor {
    let null = std::ptr::null();
    let (k, v, append) = match past {
        Past::None => (null, null, false),
        Past::Fixed(k, v) => (k.as_ptr(), v.as_ptr(), false),
        Past::Grow(k, v) => (k.as_mut_ptr().cast_const(), v.as_mut_ptr().cast_const(), true),
    };
    let Shape { sequences, cos, sin, heads, kv_heads, causal } = *shape;
    let (sequences, cos, sin) = (sequences.as_ptr(), cos.as_ptr(), sin.as_ptr());
    owned(unsafe { reft_attention(qkv.as_ptr(), k, v, sequences, cos, sin, heads, kv_heads, causal, append) })
}
