//! One import for programs that train, apply and save adaptations: see the examples in `examples/`.

pub use anyhow::Result;
pub use reft_core::adapt_config::{AdaptConfig, AdaptMethod, SpecError};
pub use reft_core::adaptation::{Adaptation, Mode, Step};
pub use reft_core::adaptations::AdaptSpec;
pub use reft_core::adapter_file::{SavedAdapter, save};
pub use reft_core::hooks::{Collect, Hooks, NoHooks};
pub use reft_core::intervention::{Constraint, Init, Intervention, ParameterSpec, PhiParams, PhiSettings};
pub use reft_core::layout::{Extent, Layout};
pub use reft_core::rng::Seed;
pub use reft_core::site::{Component, LayerId, Site};
pub use reft_models::attention::PastKeyValues;
pub use reft_models::model::{Decoder, Pass};
pub use reft_models::tokenizer::Specials;
pub use tch::{Device, Kind, Tensor};

pub use crate::config::plan::{DeviceSpec, Dtype};
pub use crate::data::encode::Example;
pub use crate::data::labelled::{Labelled, Target};
pub use crate::pairs::{answer, examples};
pub use crate::run::session::{LoadedDecoder, LoadedEncoder};
pub use crate::train::causal::Causal;
pub use crate::train::classification::Classification;
pub use crate::train::frozen::FrozenForward;
pub use crate::train::head::ClassificationHead;
pub use crate::train::learner::{Learner, UpdateRules};

/// An adaptation as a configuration's `adapt:` writes it, from JSON: `{"reft": {"intervention": "loreft", ...}}`.
///
/// # Errors
/// When it is not JSON, or a key or a value of it is wrong.
pub fn adapt(json: &str) -> Result<AdaptSpec> {
    Ok(reft_core::value_reader::read_json(json)?)
}
