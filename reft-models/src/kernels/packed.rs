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
/// large one, half of that of a single row); gradients need its transpose in the same arrangement, a second copy. In f32 it
/// lies in panels of the kernels' own product, which reads a weight at twice the rate of libtorch's where rows are few and
/// serves both passes; its rows do not depend on how many there are, to the last bit.
#[derive(Debug)]
pub(crate) struct Packed {
    /// `[out, in]`.
    size: [i64; 2],
    arrangement: Arrangement,
}

#[derive(Debug)]
enum Arrangement {
    /// The transpose is made when a gradient is first asked for.
    OneDnn {
        forward: Tensor,
        transposed: OnceCell<Tensor>,
    },
    Panels(InstructionSet, Tensor),
}

impl Arrangement {
    /// None where this machine or type has no such arrangement, and a plain product is the way.
    fn of(weight: &Tensor) -> Option<Self> {
        match (weight.device(), weight.kind()) {
            (Device::Cpu, Kind::BFloat16) => {
                let forward = pack_for_onednn(weight).ok()?;
                Some(Self::OneDnn { forward, transposed: OnceCell::new() })
            }
            // Without fused multiply-adds libtorch's own product is the faster one.
            (Device::Cpu, Kind::Float) => {
                let set = InstructionSet::current().ok().filter(|&set| set != InstructionSet::Generic)?;
                let panels = owned(unsafe { reft_pack_panels(set as i32, weight.as_ptr()) }).ok()?;
                Some(Self::Panels(set, panels))
            }
            _ => None,
        }
    }
}

fn pack_for_onednn(weight: &Tensor) -> Result<Tensor, KernelError> {
    owned(unsafe { reft_pack(weight.as_ptr()) })
}

impl Packed {
    /// Packs a weight on the CPU; none where a plain product is the way.
    pub(crate) fn new(weight: &Tensor) -> Option<Self> {
        let &[out, input] = weight.size().as_slice() else { return None };
        let arrangement = no_grad(|| Arrangement::of(weight))?;
        Some(Self { size: [out, input], arrangement })
    }

    /// Whether gradients need a second copy of it.
    pub(crate) fn is_doubled_by_gradients(&self) -> bool {
        matches!(self.arrangement, Arrangement::OneDnn { .. })
    }

    /// `x Wᵀ + b` of rows `[N, in]`.
    pub(crate) fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, KernelError> {
        let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
        match &self.arrangement {
            Arrangement::OneDnn { forward, transposed } => {
                let back = if x.requires_grad() { self.transpose(transposed)?.as_ptr() } else { std::ptr::null() };
                owned(unsafe { reft_packed_linear(x.as_ptr(), forward.as_ptr(), back, bias) })
            }
            Arrangement::Panels(set, panels) => {
                let [out, _] = self.size;
                owned(unsafe { reft_panel_linear(*set as i32, x.as_ptr(), panels.as_ptr(), out, bias) })
            }
        }
    }

    /// A copy in rows, `[out, in]`.
    pub(crate) fn unpacked(&self) -> Tensor {
        let [out, input] = self.size;
        match &self.arrangement {
            Arrangement::OneDnn { forward, .. } => no_grad(|| forward.to_dense(None, false)),
            Arrangement::Panels(set, panels) => {
                super::expect(owned(unsafe { reft_unpack_panels(*set as i32, panels.as_ptr(), out, input) }))
            }
        }
    }

    fn transpose<'t>(&self, made: &'t OnceCell<Tensor>) -> Result<&'t Tensor, KernelError> {
        if let Some(tensor) = made.get() {
            return Ok(tensor);
        }
        let packed = no_grad(|| pack_for_onednn(&self.unpacked().tr().contiguous()))?;
        Ok(made.get_or_init(|| packed))
    }
}
