//! A loaded model, kept between the runs of one process.

use std::rc::Rc;

use anyhow::{Result, bail};
use reft_core::base_model::BaseModel;
use reft_models::encoder::Encoder;
use reft_models::hub::Located;
use reft_models::model::Decoder;
use reft_models::tokenizer::Tokenizer;
use reft_models::weights::Weights;
use reft_models::{hub, registry};
use tch::Device;

use crate::config::plan::{DeviceSpec, Dtype, RunPlan};
use crate::data::source::Sources;
use crate::memory;
use crate::train::shelf::Shelf;

/// A model with its tokenizer.
pub struct Loaded {
    /// The model.
    pub decoder: Box<dyn Decoder>,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its name, weights and sizes.
    pub base: BaseModel,
    /// What runs keep of it that training cannot change.
    pub shelf: Shelf,
}

impl Loaded {
    /// Finds, reads and checks a model.
    ///
    /// # Errors
    /// When the model, a file of it or the device is not to be had.
    pub fn open(model: &str, dtype: Dtype, device: DeviceSpec) -> Result<Self> {
        let (weights, id) = open(model, dtype, device)?;
        let decoder = registry::load(&weights, dtype.kind(), device.0)?;
        decoder.notes().iter().for_each(|note| eprintln!("{note}"));
        let base = BaseModel { id, fingerprint: weights.fingerprint()?, dims: *decoder.dims() };
        Ok(Self { decoder, tokenizer: Tokenizer::open(weights.path())?, base, shelf: Shelf::default() })
    }
}

/// An encoder with its tokenizer.
pub struct LoadedEncoder {
    /// The model.
    pub encoder: Encoder,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its name, weights and sizes.
    pub base: BaseModel,
    /// Where its weights can be read again, for runs that train them.
    pub weights: Weights,
}

impl LoadedEncoder {
    /// Finds, reads and checks a model.
    ///
    /// # Errors
    /// When the model, a file of it or the device is not to be had, or it is no encoder.
    pub fn open(model: &str, dtype: Dtype, device: DeviceSpec) -> Result<Self> {
        let (weights, id) = open(model, dtype, device)?;
        let encoder = Encoder::load(&weights, dtype.kind(), device.0)?;
        let base = BaseModel { id, fingerprint: weights.fingerprint()?, dims: *encoder.dims() };
        Ok(Self { encoder, tokenizer: Tokenizer::open(weights.path())?, base, weights })
    }
}

/// The weights of a model that fits into memory, and its name: of a model of the hub with the commit, so that what was
/// trained on it finds the same files again.
fn open(model: &str, dtype: Dtype, device: DeviceSpec) -> Result<(Weights, String)> {
    if let Device::Cuda(index) = device.0 {
        reft_models::cuda::prepare(index)?;
    }
    let Located { path, pinned } = hub::find(model)?;
    let id = pinned.unwrap_or_else(|| model.to_owned());
    if id != model {
        eprintln!("model {model}: revision {id}");
    }
    let weights = Weights::open(&path)?;
    let needed = weights.numbers() * dtype.kind().elt_size_in_bytes();
    if let Some(available) = memory::available(device.0).filter(|&available| available < needed) {
        let (path, dtype) = (path.display(), dtype.name());
        bail!(
            "{path}: its weights need {} MiB in {dtype} and {} MiB of memory are available: use dtype bf16, or take a \
             smaller model",
            needed >> 20,
            available >> 20
        );
    }
    Ok((weights, id))
}

/// What decides which model is loaded.
type Key = (String, Dtype, DeviceSpec);

/// What the runs of one process share.
pub struct Session {
    loaded: Option<(Key, Rc<Loaded>)>,
    encoder: Option<(Key, Rc<LoadedEncoder>)>,
    /// Where data comes from.
    pub sources: Sources,
}

impl Session {
    /// Nothing loaded yet; data from where the environment says.
    pub fn from_env() -> Self {
        Self { loaded: None, encoder: None, sources: Sources::from_env() }
    }

    /// The model of a plan; the one already loaded if it is the same.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn load(&mut self, plan: &RunPlan) -> Result<Rc<Loaded>> {
        let key = (plan.model.clone(), plan.dtype, plan.device);
        if let Some((loaded_key, loaded)) = &self.loaded
            && *loaded_key == key
        {
            return Ok(Rc::clone(loaded));
        }
        self.loaded = None;
        let loaded = Rc::new(Loaded::open(&plan.model, plan.dtype, plan.device)?);
        self.loaded = Some((key, Rc::clone(&loaded)));
        Ok(loaded)
    }

    /// The encoder of a plan; the one already loaded if it is the same.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn load_encoder(&mut self, plan: &RunPlan) -> Result<Rc<LoadedEncoder>> {
        let key = (plan.model.clone(), plan.dtype, plan.device);
        if let Some((loaded_key, loaded)) = &self.encoder
            && *loaded_key == key
        {
            return Ok(Rc::clone(loaded));
        }
        self.encoder = None;
        let loaded = Rc::new(LoadedEncoder::open(&plan.model, plan.dtype, plan.device)?);
        self.encoder = Some((key, Rc::clone(&loaded)));
        Ok(loaded)
    }
}
