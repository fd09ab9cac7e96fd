//! What tests of every crate share: tolerances, comparisons, random tensors, golden fixtures.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rand_distr::{Distribution, StandardNormal};
use tch::{Device, Kind, Tensor};

use crate::rng::Seed;

/// How close is close. The only place that knows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Tol {
    /// Bit for bit.
    Exact,
    /// This far at most.
    Absolute(f64),
    /// This far at most, times the size of the expected value where that exceeds 1.
    Relative(f64),
}

impl Tol {
    /// Float32 arithmetic in another order.
    pub const F32: Self = Self::Relative(1e-5);
    /// Bfloat16 arithmetic against float32.
    pub const BF16: Self = Self::Relative(2e-2);

    /// A tolerance wider by a stated factor.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        match self {
            Self::Exact => Self::Exact,
            Self::Absolute(tol) => Self::Absolute(tol * factor),
            Self::Relative(tol) => Self::Relative(tol * factor),
        }
    }
}

/// Where tests of code that runs on any device run it: `REFT_TEST_DEVICE`, which is `cpu` (when unset), `cuda` or `cuda:N`.
///
/// Test binaries link libtorch's CPU part only: for CUDA, `LD_PRELOAD` must name its `libtorch_cuda.so`.
pub fn device() -> Device {
    let name = std::env::var("REFT_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    let index = match name.split_once(':') {
        None if name == "cpu" => return Device::Cpu,
        None if name == "cuda" => Some(0),
        Some(("cuda", index)) => index.parse().ok(),
        _ => None,
    };
    let index = index.unwrap_or_else(|| panic!("REFT_TEST_DEVICE={name}: choose cpu, cuda or cuda:N"));
    let there = tch::Cuda::device_count();
    assert!(
        (index as i64) < there,
        "REFT_TEST_DEVICE={name}: libtorch sees {there} CUDA devices (LD_PRELOAD must name its libtorch_cuda.so)"
    );
    Device::Cuda(index)
}

/// Token ids or rows, on the [`device`].
pub fn indices(values: &[i64]) -> Tensor {
    Tensor::from_slice(values).to_device(device())
}

/// Panics with the worst element when two tensors differ by more than the tolerance, or when anything is not finite.
pub fn assert_close(what: &str, got: &Tensor, expected: &Tensor, tol: Tol) {
    assert_eq!(got.size(), expected.size(), "{what}: shapes differ");
    if got.numel() == 0 {
        return;
    }
    let on_host = |x: &Tensor| x.to_device(Device::Cpu).to_kind(Kind::Double).flatten(0, -1);
    let (got, expected) = (on_host(got), on_host(expected));
    let allowed = match tol {
        Tol::Exact => expected.zeros_like(),
        Tol::Absolute(tol) => expected.full_like(tol),
        Tol::Relative(tol) => expected.abs().clamp_min(1.0) * tol,
    };
    let excess = (&got - &expected).abs() - &allowed;
    // NaN compares false with everything, so it is looked for by asking what is within.
    let outside = excess.le(0.0).logical_not();
    if outside.any().int64_value(&[]) == 0 {
        return;
    }
    let worst = excess.nan_to_num(f64::INFINITY, None, None).argmax(0, false).int64_value(&[]);
    panic!(
        "{what}: {} of {} elements outside {tol:?}; worst at {worst}: got {}, expected {}, allowed difference {:e}",
        outside.sum(Kind::Int64).int64_value(&[]),
        got.numel(),
        got.double_value(&[worst]),
        expected.double_value(&[worst]),
        allowed.double_value(&[worst]),
    );
}

/// Standard normal values, f32, from a stream of their own: the same in every test and thread. On the [`device`].
pub fn normal(shape: &[i64], seed: u64) -> Tensor {
    let count = shape.iter().product::<i64>() as usize;
    let mut rng = Seed(seed).stream("test", 0);
    let values: Vec<f32> = StandardNormal.sample_iter(&mut rng).take(count).collect();
    Tensor::from_slice(&values).reshape(shape).to_device(device())
}

/// The directory of golden fixtures: `REFT_GOLDEN`, from the workspace's folder if it is relative, else the copies in the
/// repository.
pub fn golden_dir() -> PathBuf {
    let chosen = std::env::var_os("REFT_GOLDEN").unwrap_or_else(|| "tests/golden".into());
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(chosen)
}

/// A JSON fixture below [`golden_dir`].
pub fn golden_json(path: &str) -> serde_json::Value {
    let path = golden_dir().join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The tensors of a safetensors fixture below [`golden_dir`], on the [`device`].
pub fn golden_tensors(path: &str) -> BTreeMap<String, Tensor> {
    let path = golden_dir().join(path);
    let tensors = Tensor::read_safetensors(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    tensors.into_iter().map(|(name, tensor)| (name, tensor.to_device(device()))).collect()
}

/// Puts the weights of a golden file into an adaptation. There they are called `PREFIXlayerL.GROUP.{R,W2,W,b}`.
pub fn load_golden(adaptation: &dyn crate::Adaptation, tensors: &BTreeMap<String, Tensor>, prefix: &str) {
    for named in adaptation.named() {
        let (layer, group, tensor) = golden_name(&named.name);
        let key = |name: &str| format!("{prefix}layer{layer}.{group}.{name}");
        let candidates: &[&str] = match tensor {
            "basis" => &["R", "W2"],
            "weight" => &["W"],
            _ => &["b"],
        };
        let found = candidates.iter().find_map(|name| tensors.get(&key(name)));
        let found = found.unwrap_or_else(|| panic!("no golden tensor for {}", named.name));
        tch::no_grad(|| named.tensor.shallow_clone().copy_(found));
    }
}

/// Layer, group and tensor of a name such as `block_output.7.prefix.basis`.
fn golden_name(name: &str) -> (&str, &str, &str) {
    let parts: Vec<&str> = name.split('.').collect();
    (parts[1], parts[2], parts[3])
}
