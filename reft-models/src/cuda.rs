//! CUDA when it is asked for: the program links the CPU part of libtorch only, and loads the rest at start.

use std::mem::ManuallyDrop;
use std::os::raw::{c_int, c_uint};

use libloading::{Library, Symbol};
use tch::Cuda;

/// A CUDA device that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// libtorch has no CUDA part here.
    #[error(
        "device cuda: libtorch_cuda cannot be loaded ({0}): install libtorch with CUDA on a machine with an NVIDIA GPU, or use device cpu"
    )]
    Library(String),
    /// Fewer devices than asked for.
    #[error("device cuda:{index}: this machine shows {found} CUDA devices: choose another, or use device cpu")]
    Device {
        /// The device asked for.
        index: usize,
        /// How many there are.
        found: i64,
    },
}

/// Makes CUDA device `index` usable.
///
/// # Errors
/// When the libraries or the device are missing.
pub fn prepare(index: usize) -> Result<(), CudaError> {
    // Safe: libtorch's own library, whose initialisers register its kernels and do nothing else.
    #[allow(unsafe_code)]
    let library = unsafe { Library::new("libtorch_cuda.so") };
    let library = library.map_err(|error| CudaError::Library(error.to_string()))?;
    // It stays loaded for the life of the process.
    std::mem::forget(library);
    let found = Cuda::device_count();
    if (index as i64) < found { Ok(()) } else { Err(CudaError::Device { index, found }) }
}

/// The generation of a CUDA device: what its instructions are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Capability {
    /// Compute capability, before the point.
    pub major: i32,
    /// After it.
    pub minor: i32,
}

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` of the driver's interface.
const MAJOR: c_int = 75;
/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR`.
const MINOR: c_int = 76;

/// The compute capability of CUDA device `index`, of those that `CUDA_VISIBLE_DEVICES` leaves, as the driver tells it; none
/// without a driver or such a device. Needs nothing of libtorch and takes no memory on the device.
pub fn capability(index: usize) -> Option<Capability> {
    // Safe: the driver's documented C functions, by their documented types; the library stays loaded while they are called.
    #[allow(unsafe_code)]
    unsafe {
        // Once begun, the driver cannot be unloaded.
        let driver = ManuallyDrop::new(Library::new("libcuda.so.1").ok()?);
        let init: Symbol<'_, unsafe extern "C" fn(c_uint) -> c_int> = driver.get(b"cuInit").ok()?;
        let get: Symbol<'_, unsafe extern "C" fn(*mut c_int, c_int) -> c_int> = driver.get(b"cuDeviceGet").ok()?;
        let attribute: Symbol<'_, unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int> =
            driver.get(b"cuDeviceGetAttribute").ok()?;
        let mut device = 0;
        if init(0) != 0 || get(&raw mut device, index.try_into().ok()?) != 0 {
            return None;
        }
        let (mut major, mut minor) = (0, 0);
        let told = attribute(&raw mut major, MAJOR, device) == 0 && attribute(&raw mut minor, MINOR, device) == 0;
        told.then_some(Capability { major, minor })
    }
}
