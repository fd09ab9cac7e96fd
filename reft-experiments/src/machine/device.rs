//! Where a run computes, and in which type.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

/// Type of the frozen weights. Interventions and their optimiser are f32 always.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32 bits.
    F32,
    /// 16 bits, the range of f32: the fast path where the machine has products for it.
    Bf16,
    /// 16 bits, a smaller range.
    F16,
}

impl Dtype {
    /// libtorch's name.
    pub fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F16 => Kind::Half,
        }
    }

    /// That of libtorch's name; none of types that no weights have here.
    pub fn of(kind: Kind) -> Option<Self> {
        [Self::F32, Self::Bf16, Self::F16].into_iter().find(|dtype| dtype.kind() == kind)
    }

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

/// Where a run computes: `cpu`, `cuda` or `cuda:1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub struct DeviceSpec(pub Device);

impl From<DeviceSpec> for String {
    fn from(spec: DeviceSpec) -> Self {
        match spec.0 {
            Device::Cuda(index) => format!("cuda:{index}"),
            Device::Cpu | Device::Mps | Device::Vulkan => "cpu".to_owned(),
        }
    }
}

impl TryFrom<String> for DeviceSpec {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let index = match text.as_str() {
            "cpu" => return Ok(Self(Device::Cpu)),
            "cuda" => Some(0),
            other => other.strip_prefix("cuda:").and_then(|index| index.parse().ok()),
        };
        index
            .map(|index| Self(Device::Cuda(index)))
            .ok_or(format!("device `{text}` is unknown: write cpu, cuda or cuda:1"))
    }
}
