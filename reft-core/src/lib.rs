//! Representation finetuning (ReFT): the mathematics of interventions on hidden states, and nothing about any model.
//!
//! The paper (Wu et al., arXiv 2404.03592) on one page:
//!
//! | there | here |
//! |---|---|
//! | hidden state `h_p^(l)` | a row of the residual stream `[N, D]`; [`layout::Layout`] knows which |
//! | intervention `⟨Φ, P, l⟩` (Def. 3.1) | [`intervention::Intervention`], [`positions::Positions`], [`site::Site`] |
//! | ReFT, disjoint positions (Def. 3.2) | [`adaptations::reft::Reft`] |
//! | DII (eq. 1) | [`interventions::interchange`] |
//! | LoReFT (eq. 2), DiReFT (eq. 3), table 17 | [`interventions::low_rank`] |
//! | `h_p ← Φ(h_p)` (eq. 7) | [`hooks::Hooks::visit`] |
//! | prefix, suffix, tied, truncation (section 4.1) | [`positions`] |
//! | steering vectors (eq. 10-12), `RepE` | [`interventions::steer`], [`reading`] |
//! | composed subspaces (G.1) | [`subspace`] |
//! | `R Rᵀ = I` | [`orthonormal`] |
//!
//! Shapes: `B` sequences, `N` rows in a pass, `D` model width, `H` heads, `K` key/value heads, `E` head width,
//! `V` vocabulary, `S` sites, `r` rank, `M` edited rows, `d` width of a site.
//!
//! ```
//! use reft_core::interventions::interchange::interchange;
//! use reft_core::orthonormal::orthonormalise;
//! use tch::{Device, Kind, Tensor};
//!
//! let state = |seed| Tensor::arange(8, (Kind::Float, Device::Cpu)).sin().reshape([1, 8]) * seed;
//! let (base, source) = (state(1.0), state(-2.0));
//! let r = orthonormalise(&Tensor::eye(8, (Kind::Float, Device::Cpu)).narrow(0, 0, 2));
//! let mixed = interchange(&base, &source, &r);
//! assert_eq!(mixed.double_value(&[0, 1]), source.double_value(&[0, 1]));
//! assert_eq!(mixed.double_value(&[0, 5]), base.double_value(&[0, 5]));
//! ```

#![forbid(unsafe_code)]

pub mod adapt_config;
pub mod adaptation;
pub mod adaptations;
pub mod adapter_file;
pub mod base_model;
pub mod decay;
pub mod f32_bytes;
pub mod hooks;
pub mod intervention;
pub mod interventions;
pub mod layers;
pub mod layout;
pub mod lender;
pub mod method;
pub mod orthonormal;
pub mod params;
pub mod positions;
pub mod reading;
pub mod registry;
pub mod rng;
pub mod site;
pub mod subspace;
pub mod suggest;
pub mod testing;
pub mod value_reader;

pub use adaptation::{Adaptation, Mode, Step};
pub use adaptations::AdaptSpec;
