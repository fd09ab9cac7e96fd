//! CUDA when it is asked for: the program links the CPU part of libtorch only, and loads the rest at start.

use tch::Cuda;

/// A CUDA device that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// libtorch has no CUDA part here.
    #[error(
        "device cuda: libtorch_cuda cannot be loaded ({0}): run `make setup` on a machine with an NVIDIA GPU, or use device cpu"
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
    let library = unsafe { libloading::Library::new("libtorch_cuda.so") };
    let library = library.map_err(|error| CudaError::Library(error.to_string()))?;
    // It stays loaded for the life of the process.
    std::mem::forget(library);
    let found = Cuda::device_count();
    if (index as i64) < found { Ok(()) } else { Err(CudaError::Device { index, found }) }
}
