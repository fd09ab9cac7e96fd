//! An adapter of this program, opened on its base model to be exported or merged.

use std::path::Path;

use anyhow::{Result, bail};
use reft_core::AdaptSpec;
use reft_core::adaptation::Adaptation;
use reft_core::adapter_file::SavedAdapter;
use reft_core::site::Dims;
use reft_models::encoder::Encoder;
use reft_models::lending::{LendingDecoder, LendingEncoder};
use reft_models::model::Decoder;
use reft_models::weights::Weights;
use reft_models::{hub, registry};
use tch::{Device, Kind};

use super::NamedTensors;
use super::names::ModuleNaming;
use crate::run::session::base_as_saved;
use reft_core::base_model::BaseModel;
use reft_models::identity::Identity;

/// A base model of either kind, f32 on the host.
pub struct LoadedBase {
    /// Its files.
    pub weights: Weights,
    /// As the user named it.
    pub id: String,
    model: Model,
}

enum Model {
    Decoder(Box<dyn Decoder>),
    Encoder(Box<Encoder>),
}

impl LoadedBase {
    /// Finds and reads a model.
    ///
    /// # Errors
    /// When it is not to be had, or neither a decoder nor an encoder that is read here.
    pub fn open(id: &str) -> Result<Self> {
        let weights = Weights::open(&hub::locate(id)?)?;
        let model = match registry::load(&weights, Kind::Float, Device::Cpu) {
            Ok(decoder) => Model::Decoder(decoder),
            Err(registry::LoadError::Encoder { .. }) => {
                Model::Encoder(Box::new(Encoder::load(&weights, Kind::Float, Device::Cpu)?))
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { weights, id: id.to_owned(), model })
    }

    /// Its sizes.
    pub fn dims(&self) -> &Dims {
        match &self.model {
            Model::Decoder(model) => model.dims(),
            Model::Encoder(model) => model.dims(),
        }
    }

    /// Whether it classifies.
    pub fn is_encoder(&self) -> bool {
        matches!(self.model, Model::Encoder(_))
    }

    /// Its name, weights and sizes, as adapters keep them.
    ///
    /// # Errors
    /// When the weights cannot be read.
    pub fn base_model(&self) -> Result<BaseModel> {
        let identity = Identity::of(&self.weights)?;
        let (id, fingerprint, sketch) = (self.id.clone(), identity.weights.clone(), identity.sketch.clone());
        Ok(BaseModel { id, fingerprint, dims: *self.dims(), sketch })
    }

    /// How its checkpoint calls modules.
    ///
    /// # Errors
    /// When it does so in a way that is not known here.
    pub fn naming(&self) -> Result<ModuleNaming> {
        let names = self.weights.names();
        let begins = |text: &str| names.iter().any(|name| name.starts_with(text));
        match () {
            () if begins("model.layers.") => Ok(ModuleNaming::Llama),
            () if begins("roberta.encoder.") => Ok(ModuleNaming::Roberta),
            () if begins("bert.encoder.") => Ok(ModuleNaming::Bert),
            () => bail!(
                "{}: its tensors are called neither as in Llama nor as in BERT or RoBERTa, so that modules cannot be named",
                self.id
            ),
        }
    }

    /// An adaptation built for it.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn put(
        &self,
        build: impl FnOnce(&dyn reft_core::lender::Lender) -> Result<Box<dyn Adaptation>>,
    ) -> Result<Box<dyn Adaptation>> {
        match &self.model {
            Model::Decoder(model) => build(&LendingDecoder { model: model.as_ref(), weights: &self.weights }),
            Model::Encoder(model) => build(&LendingEncoder { model, weights: &self.weights }),
        }
    }
}

/// An adapter with its base.
pub struct AdapterOnBase {
    /// The base.
    pub base: LoadedBase,
    /// What the adapter is.
    pub spec: AdaptSpec,
    /// Its tensors by name, trained and frozen.
    pub tensors: NamedTensors,
}

impl AdapterOnBase {
    /// Reads an adapter's folder onto a model: the given one, or the one that it was trained on.
    ///
    /// # Errors
    /// When the folder or the model cannot be read, or they do not belong together.
    pub fn open(folder: &Path, model: Option<&str>) -> Result<Self> {
        let saved = SavedAdapter::read(folder)?;
        let base = LoadedBase::open(model.unwrap_or(&saved.config.base_model.id))?;
        let found = base.base_model()?;
        let found = base_as_saved(&saved.config.base_model, &found)?.into_owned();
        let adaptation = base.put(|lender| Ok(saved.onto_lent(&found, lender, Device::Cpu)?))?;
        Ok(Self { tensors: tensors_of(adaptation.as_ref()), spec: saved.config.adapt.clone(), base })
    }
}

/// All tensors of an adaptation, detached.
pub fn tensors_of(adaptation: &dyn Adaptation) -> NamedTensors {
    let all = adaptation.named().into_iter().chain(adaptation.fixed());
    all.map(|named| (named.name, named.tensor.detach().copy())).collect()
}
