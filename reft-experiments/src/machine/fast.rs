//! `dtype: auto`: bf16 where its products are fast, f32 elsewhere.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use reft_models::cuda::{self, Capability};
use tch::Device;

use super::device::{DeviceSpec, Dtype};
use super::processor::CpuInfo;
use super::{env, probe, root};

/// What `auto` takes, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AutoDtype {
    /// The type.
    pub dtype: Dtype,
    /// In words.
    pub why: String,
}

/// The least compute capability with bf16 in its tensor cores.
const AMPERE: i32 = 8;

impl AutoDtype {
    fn new(fast: Result<String, String>) -> Self {
        match fast {
            Ok(why) => Self { dtype: Dtype::Bf16, why },
            Err(why) => Self { dtype: Dtype::F32, why },
        }
    }

    /// On a processor whose usable products in bf16 are these.
    fn on_cpu(processor: &CpuInfo, env: super::Env<'_>) -> Self {
        Self::new(processor.usable_bf16(env).map(|products| format!("this processor has {}", products.name())))
    }

    /// On a CUDA device of this compute capability. Where no driver tells it, as on the login node of a cluster, the device
    /// is taken for one of today's.
    fn on_cuda(index: usize, capability: Option<Capability>) -> Self {
        Self::new(match capability {
            Some(Capability { major, minor }) if major < AMPERE => {
                Err(format!("cuda:{index} has compute capability {major}.{minor}, fast bf16 begins with {AMPERE}.0"))
            }
            Some(Capability { major, minor }) => Ok(format!("cuda:{index} has compute capability {major}.{minor}")),
            None => {
                Ok(format!("no driver here tells of cuda:{index}, compute capability {AMPERE}.0 or more is assumed"))
            }
        })
    }

    /// On a device of this machine.
    pub fn here(device: DeviceSpec) -> Self {
        match device.0 {
            Device::Cuda(index) => Self::on_cuda(index, capability(index)),
            Device::Cpu | Device::Mps | Device::Vulkan => Self::on_cpu(processor(), &env),
        }
    }

    /// A type beside what `auto` takes: what a record says of it. `auto` stands for what it takes here, whether it or its
    /// type was asked for: the same run has the same record.
    pub fn account(&self, dtype: Dtype) -> String {
        let Self { dtype: auto, why } = self;
        if dtype == *auto {
            format!("{} (auto: {why})", dtype.name())
        } else {
            format!("{} (by hand; auto takes {} here: {why})", dtype.name(), auto.name())
        }
    }
}

/// The processor of this machine.
pub fn processor() -> &'static CpuInfo {
    static PROCESSOR: LazyLock<CpuInfo> = LazyLock::new(|| CpuInfo::of(root()));
    &PROCESSOR
}

/// The compute capability of a CUDA device, asked for once.
fn capability(index: usize) -> Option<Capability> {
    static KNOWN: Mutex<BTreeMap<usize, Option<Capability>>> = Mutex::new(BTreeMap::new());
    *KNOWN.lock().unwrap_or_else(PoisonError::into_inner).entry(index).or_insert_with(|| cuda::capability(index))
}

/// How many times slower than f32 a type must be to be warned of.
const SLOW: f64 = 2.0;

/// Says which type is used, and why.
pub fn say(dtype: Dtype, device: DeviceSpec) {
    eprintln!("dtype {}", AutoDtype::here(device).account(dtype));
}

/// Warns of a type that was chosen by hand and is slow on the CPU.
pub fn warn(dtype: Dtype, device: DeviceSpec) {
    let auto = AutoDtype::here(device);
    if dtype != auto.dtype && dtype != Dtype::F32 && device.0 == Device::Cpu {
        let slower = probe::slowdown(dtype);
        if slower > SLOW {
            let (slow, auto) = (dtype.name(), auto.dtype.name());
            eprintln!(
                "warning: small products in {slow} take {slower:.1} times as long as in f32 here: dtype auto ({auto}) is faster"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn bf16_is_taken_where_it_is_fast_and_the_reason_is_told() {
        let fast = CpuInfo::parse("flags : avx2 avx512_bf16\n");
        let slow = CpuInfo::parse("flags : avx2\n");
        let none = testing::env(&[]);
        let auto = AutoDtype::on_cpu(&fast, &none);
        assert_eq!(auto.account(Dtype::Bf16), "bf16 (auto: this processor has AVX512-BF16)");
        assert_eq!(auto.account(Dtype::F32), "f32 (by hand; auto takes bf16 here: this processor has AVX512-BF16)");
        let auto = AutoDtype::on_cpu(&slow, &none);
        assert_eq!(auto.account(Dtype::F32), "f32 (auto: this processor has no fast bf16 products)");
        let limited = [("ONEDNN_MAX_CPU_ISA", "AVX2")];
        let auto = AutoDtype::on_cpu(&fast, &testing::env(&limited));
        assert_eq!(
            auto.account(Dtype::F32),
            "f32 (auto: ONEDNN_MAX_CPU_ISA=AVX2 keeps libtorch from this processor's AVX512-BF16)"
        );
    }

    #[test]
    fn cuda_devices_have_fast_bf16_from_compute_capability_8() {
        let dtype = |major, minor| AutoDtype::on_cuda(0, Some(Capability { major, minor })).dtype;
        assert_eq!([dtype(7, 0), dtype(7, 5)], [Dtype::F32; 2]);
        assert_eq!([dtype(8, 0), dtype(8, 9), dtype(9, 0), dtype(12, 0)], [Dtype::Bf16; 4]);
        let unknown = AutoDtype::on_cuda(1, None);
        assert!(unknown.dtype == Dtype::Bf16 && unknown.why.contains("is assumed"), "{}", unknown.why);
    }
}
