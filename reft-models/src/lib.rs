//! Models with hooks: checkpoints, tokenizers, decoders, encoders, decoding. Nothing here knows what a hook does.
//!
//! On a CPU, libtorch and the kernels here share OpenMP's threads (libgomp). Those spin while they wait, which on a machine with
//! other busy processes costs several times the time: set `GOMP_SPINCOUNT=10000` before the process starts (libgomp reads it when it
//! is loaded), and `OMP_NUM_THREADS` to the cores that are yours. Weights in bf16 are fast only where the processor has
//! products for them; elsewhere load them in f32.

pub mod attention;
mod config_keys;
mod container;
pub mod cuda;
pub mod decode;
pub mod decoder;
mod digests;
pub mod distributed;
pub mod encoder;
pub mod families;
pub mod gguf;
pub mod hub;
pub mod identity;
pub mod instruction_set;
mod kernels;
pub mod kv_cache;
pub mod lending;
mod mapped;
pub mod memory;
pub mod model;
pub mod nn;
pub mod pickle;
pub mod process;
pub mod raw_config;
pub mod registry;
pub mod rope;
mod safetensors_file;
pub mod tokenizer;
pub mod weights;
