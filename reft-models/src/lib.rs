//! Models with hooks: checkpoints, tokenizers, the Llama family, encoders, decoding. Nothing here knows what a hook does.

pub mod attention;
mod config_keys;
pub mod cuda;
pub mod decode;
mod digests;
pub mod encoder;
pub mod gguf;
pub mod hub;
pub mod identity;
pub mod instruction_set;
mod kernels;
pub mod kv_cache;
pub mod llama;
mod mapped;
pub mod memory;
pub mod model;
pub mod nn;
mod pickle;
pub mod raw_config;
pub mod registry;
pub mod rope;
mod safetensors_file;
pub mod tokenizer;
pub mod weights;
