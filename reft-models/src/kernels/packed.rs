//! Frozen weights in an arrangement that products of few and of many rows read in order.

#![allow(unsafe_code)] // One foreign function each, on tensors that outlive the call.

use std::cell::OnceCell;

use tch::{Device, Kind, Tensor, no_grad};

use super::{
    KernelError, owned, reft_pack, reft_pack_panels, reft_packed_linear, reft_panel_linear, reft_unpack_panels,
};
use crate::instruction_set::InstructionSet;

/// A frozen weight `[out, in]`.
///
/// In bf16 it has oneDNN's own arrangement, which would otherwise be made anew for each product (a tenth of the time of a
/// large one, half of that of a single row). In f32 it lies in panels of the kernels' own product, which reads a weight at
/// twice the rate of libtorch's where rows are few; its rows do not depend on how many there are, to the last bit.
#[derive(Debug)]
pub(crate) struct Packed {
    arrangement: Arrangement,
    /// `[out, in]`.
    size: [i64; 2],
    forward: Tensor,
    /// The transpose, for gradients; made when one is first asked for.
    backward: OnceCell<Tensor>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Arrangement {
    OneDnn,
    Panels(InstructionSet),
}

impl Arrangement {
    /// None where this machine or type has no such arrangement, and a plain product is the way.
    fn of(weight: &Tensor) -> Option<Self> {
        match (weight.device(), weight.kind()) {
            (Device::Cpu, Kind::BFloat16) => Some(Self::OneDnn),
            // Without fused multiply-adds libtorch's own product is the faster one.
            (Device::Cpu, Kind::Float) => {
                InstructionSet::current().ok().filter(|&set| set != InstructionSet::Generic).map(Self::Panels)
            }
            _ => None,
        }
    }

    fn pack(self, weight: &Tensor) -> Result<Tensor, KernelError> {
        owned(match self {
            Self::OneDnn => unsafe { reft_pack(weight.as_ptr()) },
            Self::Panels(set) => unsafe { reft_pack_panels(set as i32, weight.as_ptr()) },
        })
    }
}

impl Packed {
    /// Packs a weight on the CPU; none where a plain product is the way.
    pub(crate) fn new(weight: &Tensor) -> Option<Self> {
        let arrangement = Arrangement::of(weight)?;
        let &[out, input] = weight.size().as_slice() else { return None };
        let forward = no_grad(|| arrangement.pack(weight)).ok()?;
        Some(Self { arrangement, size: [out, input], forward, backward: OnceCell::new() })
    }

    /// `x Wᵀ + b` of rows `[N, in]`.
    pub(crate) fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, KernelError> {
        let backward = if x.requires_grad() { self.transposed()?.as_ptr() } else { std::ptr::null() };
        let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
        let (x, forward, out) = (x.as_ptr(), self.forward.as_ptr(), self.size[0]);
        owned(match self.arrangement {
            Arrangement::OneDnn => unsafe { reft_packed_linear(x, forward, backward, bias) },
            Arrangement::Panels(set) => unsafe { reft_panel_linear(set as i32, x, forward, backward, out, bias) },
        })
    }

    /// A copy in rows, `[out, in]`.
    pub(crate) fn unpacked(&self) -> Tensor {
        let [out, input] = self.size;
        match self.arrangement {
            Arrangement::OneDnn => no_grad(|| self.forward.to_dense(None, false)),
            Arrangement::Panels(set) => {
                super::expect(owned(unsafe { reft_unpack_panels(set as i32, self.forward.as_ptr(), out, input) }))
            }
        }
    }

    fn transposed(&self) -> Result<&Tensor, KernelError> {
        if let Some(tensor) = self.backward.get() {
            return Ok(tensor);
        }
        let weight = no_grad(|| self.unpacked().tr().contiguous());
        let packed = self.arrangement.pack(&weight)?;
        Ok(self.backward.get_or_init(|| packed))
    }
}
