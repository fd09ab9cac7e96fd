//! A loaded model, kept between the runs of one process.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use reft_core::base_model::{BaseModel, Match};
use reft_core::site::Dims;
use reft_models::distributed::ProcessGroup;
use reft_models::encoder::Encoder;
use reft_models::hub::ModelLocation;
use reft_models::identity::{self, Identity};
use reft_models::instruction_set::InstructionSet;
use reft_models::lending::{LendingDecoder, LendingEncoder};
use reft_models::model::Decoder;
use reft_models::nn::WeightCopies;
use reft_models::tokenizer::{Bounds, Clock, Tokenizer, TokenizerVersion};
use reft_models::weights::Weights;
use reft_models::{hub, registry};
use tch::Device;

use super::memory::{self, HeldWeights, ModelPasses};
use crate::config::plan::{DeviceSpec, Dtype, RunPlan};
use crate::data::source::DataSources;
use crate::machine::memory::AvailableMemory;
use crate::machine::{env, fast};
use crate::train::activation_caches::ActivationCaches;

/// A model with its tokenizer.
pub struct LoadedDecoder {
    /// The model.
    pub decoder: Box<dyn Decoder>,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its name, weights and sizes.
    pub base: BaseModel,
    /// Where its weights can be read again, for runs that train them.
    pub weights: Weights,
    /// How its weights are held.
    pub held: HeldWeights,
    /// The activation caches of its runs.
    pub caches: ActivationCaches,
}

impl LoadedDecoder {
    /// Finds, reads and checks a model.
    ///
    /// # Errors
    /// When the model, a file of it or the device is not to be had.
    pub fn open(model: &str, dtype: Dtype, device: DeviceSpec) -> Result<Self> {
        Self::open_for(model, dtype, device, ModelPasses::Forward)
    }

    /// The same for these passes: what cannot fit is refused before a weight is read.
    ///
    /// # Errors
    /// As for [`LoadedDecoder::open`].
    pub fn open_for(model: &str, dtype: Dtype, device: DeviceSpec, passes: ModelPasses) -> Result<Self> {
        let (weights, id, held) = open(model, dtype, device, passes)?;
        // Hashed first, where its digests are not known: then the files lie in the system's cache when they are loaded.
        let identity = Identity::of(&weights)?;
        let path = weights.path().to_owned();
        let (decoder, tokenizer) = std::thread::scope(|scope| {
            let tokenizer = scope.spawn(|| tokenizer(&path));
            let decoder = registry::load_held(&weights, dtype.kind(), device.0, held.copies);
            (decoder, tokenizer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let decoder = decoder?;
        decoder.notes().iter().for_each(|note| eprintln!("{note}"));
        let base = base_model(id, &identity, decoder.dims());
        let bounds = Bounds { embedding: decoder.dims().vocab, types: None };
        let tokenizer = tokenizer?.within(bounds);
        Ok(Self { decoder, tokenizer, base, weights, held, caches: ActivationCaches::default() })
    }

    /// The model, as it lends of itself.
    pub fn lender(&self) -> LendingDecoder<'_> {
        LendingDecoder { model: self.decoder.as_ref(), weights: &self.weights }
    }

    /// The same with this tokenizer of the model.
    ///
    /// # Errors
    /// When the model has no such tokenizer.
    pub fn read_by(mut self, reading: TokenizerVersion) -> Result<Self> {
        if !reading.is_fast() {
            let bounds = Bounds { embedding: self.decoder.dims().vocab, types: None };
            let tokenizer = Tokenizer::open_as(&hub::locate(&self.base.id)?, reading)?;
            self.tokenizer = tokenizer.within(bounds).at(clock()?);
        }
        Ok(self)
    }

    /// The same with this chat template, if there is one, in place of the tokenizer's own.
    #[must_use]
    pub fn chatting_by(mut self, template: Option<&str>) -> Self {
        if let Some(template) = template {
            self.tokenizer = self.tokenizer.with_chat_template(template);
        }
        self
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
        let (weights, id, _) = open(model, dtype, device, ModelPasses::Forward)?;
        let encoder = Encoder::load(&weights, dtype.kind(), device.0)?;
        let identity = Identity::of(&weights)?;
        let base = base_model(id, &identity, encoder.dims());
        let bounds = Bounds { embedding: encoder.dims().vocab, types: Some(encoder.config().types) };
        let tokenizer = tokenizer(weights.path())?.within(bounds);
        Ok(Self { encoder, tokenizer, base, weights })
    }

    /// The model, as it lends of itself.
    pub fn lender(&self) -> LendingEncoder<'_> {
        LendingEncoder { model: &self.encoder, weights: &self.weights }
    }
}

/// What is said of a base model in adapters that were trained on it.
pub fn base_model(id: String, identity: &Identity, dims: &Dims) -> BaseModel {
    let (fingerprint, sketch) = (identity.weights.clone(), identity.sketch.clone());
    BaseModel { id, fingerprint, dims: *dims, sketch }
}

/// The loaded model under the fingerprint that `saved` names its base by: an adapter of an earlier version knows the one that
/// was made then, which costs another reading of the weights.
///
/// # Errors
/// When the weights cannot be read again.
pub fn base_as_saved<'b>(saved: &BaseModel, loaded: &'b BaseModel) -> Result<Cow<'b, BaseModel>> {
    if !identity::is_legacy(&saved.fingerprint) {
        return Ok(Cow::Borrowed(loaded));
    }
    let fingerprint = Weights::open(&hub::locate(&loaded.id)?)?.legacy_fingerprint()?;
    Ok(Cow::Owned(BaseModel { fingerprint, ..loaded.clone() }))
}

/// Warns of a base that is not bit for bit the one that something was trained on.
pub fn warn_of_precision(what: &impl std::fmt::Display, base: &BaseModel, found: Match) {
    if found == Match::OtherPrecision {
        let id = &base.id;
        eprintln!("warning: {what}: {id} holds the weights it was trained on in another precision: results may differ");
    }
}

/// A model's tokenizer, kept to the date that the environment sets.
fn tokenizer(path: &Path) -> Result<Tokenizer> {
    Ok(Tokenizer::open(path)?.at(clock()?))
}

/// The time that chat templates print: `REFT_DATE` (`2025-03-09`), else `SOURCE_DATE_EPOCH` (seconds since 1970), else
/// now, in UTC.
fn clock() -> Result<Clock> {
    if let Ok(date) = std::env::var("REFT_DATE") {
        return Clock::parse(&date).context("REFT_DATE");
    }
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => {
            let clock = text.trim().parse().ok().and_then(Clock::at);
            clock.with_context(|| format!("SOURCE_DATE_EPOCH: `{text}` is not a number of seconds since 1970"))
        }
        Err(_) => Ok(Clock::now()),
    }
}

/// The weights of a model that fits into memory, its name (of a model of the hub with the commit, so that what was trained on it
/// finds the same files again), and how its weights are held.
fn open(model: &str, dtype: Dtype, device: DeviceSpec, passes: ModelPasses) -> Result<(Weights, String, HeldWeights)> {
    if let Device::Cuda(index) = device.0 {
        reft_models::cuda::prepare(index)?;
    }
    InstructionSet::current()?;
    let ModelLocation { path, pinned } = hub::find(model)?;
    let id = pinned.unwrap_or_else(|| model.to_owned());
    if id != model {
        eprintln!("model {model}: revision {id}");
    }
    let mut weights = Weights::open(&path)?;
    let held = fits(&weights, dtype, device, passes)?;
    let together = passes.least(&held).saturating_add(weights.file_bytes());
    if memory::available(device.0).is_some_and(|available| available.bytes < together) {
        weights.make_room();
    }
    fast::warn(dtype, device);
    Ok((weights, id, held))
}

/// How weights are held in these passes; refuses those that do not fit into memory, by the sizes that their files state.
fn fits(weights: &Weights, dtype: Dtype, device: DeviceSpec, passes: ModelPasses) -> Result<HeldWeights> {
    let (once, available) = (weights.numbers() * dtype.kind().elt_size_in_bytes(), memory::available(device.0));
    let weights_held = HeldWeights::new(once, passes, (dtype, device), &env, available)?;
    let needed = passes.least(&weights_held);
    if let Some(AvailableMemory { bytes, limit }) = available.filter(|available| available.bytes < needed) {
        let smaller = if dtype == Dtype::F32 { "use dtype bf16, or " } else { "" };
        let remedy = format!("{smaller}take a smaller model, or a machine with more memory");
        let (path, dtype) = (weights.path().display(), dtype.name());
        let twice = passes == ModelPasses::ForwardAndBackward && weights_held.copies == WeightCopies::Two;
        let held = if twice { ", held twice for training," } else { "" };
        bail!(
            "{path}: its weights{held} need {} MiB in {dtype} and {} MiB of memory are available, by {limit}: {remedy}",
            needed >> 20,
            bytes >> 20
        );
    }
    Ok(weights_held)
}

/// What decides which model is loaded.
type ModelKey = (String, Dtype, DeviceSpec, TokenizerVersion, Option<String>);

fn key(plan: &RunPlan) -> ModelKey {
    (plan.model.clone(), plan.dtype, plan.device, plan.tokenizer, plan.data.chat_template.clone())
}

/// The model that was loaded last.
struct LastModel<M>(Option<(ModelKey, Rc<M>)>);

impl<M> LastModel<M> {
    /// The model of a plan: the last one if it is the same and suits the plan, else from `open`, after the last one is released.
    fn of(
        &mut self,
        plan: &RunPlan,
        suits: fn(&M, &RunPlan) -> Result<bool>,
        open: fn(&RunPlan) -> Result<M>,
    ) -> Result<Rc<M>> {
        let key = key(plan);
        if let Some((last, loaded)) = &self.0
            && *last == key
            && suits(loaded, plan)?
        {
            return Ok(Rc::clone(loaded));
        }
        self.0 = None;
        let loaded = Rc::new(open(plan)?);
        fast::say(plan.dtype, plan.device);
        self.0 = Some((key, Rc::clone(&loaded)));
        Ok(loaded)
    }
}

/// Weights that are hashed in a moment.
const HASHED_AT_ONCE: usize = 1 << 28;

/// What the runs of one process share.
pub struct Session {
    causal: LastModel<LoadedDecoder>,
    encoder: LastModel<LoadedEncoder>,
    /// What the models are that runs have named, by these names.
    identities: HashMap<String, Identity>,
    /// Where data comes from.
    pub sources: DataSources,
    /// The processes that train every run together with this one; none where it is alone.
    pub group: Option<Rc<ProcessGroup>>,
}

impl Session {
    /// Nothing loaded yet; data from where the environment says.
    pub fn from_env() -> Self {
        let (sources, identities) = (DataSources::from_env(), HashMap::new());
        Self { causal: LastModel(None), encoder: LastModel(None), identities, sources, group: None }
    }

    /// What a plan's model is, whatever it is called, from its files: no weight is loaded.
    ///
    /// # Errors
    /// When the model or a file of it is not to be had, or hashing its weights, which no run has done before, would take long
    /// for nothing because they do not fit into memory.
    pub fn identity(&mut self, plan: &RunPlan) -> Result<&Identity> {
        Ok(match self.identities.entry(plan.model.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let weights = Weights::open(&hub::find(&plan.model)?.path)?;
                if weights.numbers() > HASHED_AT_ONCE && !Identity::is_cached(&weights)? {
                    fits(&weights, plan.dtype, plan.device, ModelPasses::of(plan))?;
                }
                unknown.insert(Identity::of(&weights)?)
            }
        })
    }

    /// The causal model of a plan; the one already loaded if it is the same.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn load(&mut self, plan: &RunPlan) -> Result<Rc<LoadedDecoder>> {
        let suits = |loaded: &LoadedDecoder, plan: &RunPlan| {
            let available = memory::available(plan.device.0);
            Ok(loaded.held.suit(ModelPasses::of(plan), (plan.dtype, plan.device), &env, available)?)
        };
        self.causal.of(plan, suits, |plan| {
            let passes = ModelPasses::of(plan);
            let loaded =
                LoadedDecoder::open_for(&plan.model, plan.dtype, plan.device, passes)?.read_by(plan.tokenizer)?;
            Ok(loaded.chatting_by(plan.data.chat_template.as_deref()))
        })
    }

    /// The encoder of a plan; the one already loaded if it is the same.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn load_encoder(&mut self, plan: &RunPlan) -> Result<Rc<LoadedEncoder>> {
        self.encoder.of(plan, |_, _| Ok(true), |plan| LoadedEncoder::open(&plan.model, plan.dtype, plan.device))
    }
}
