//! A model's folder made from a golden one, changed before it is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use reft_core::hooks::NoHooks;
use reft_core::layout::{Extent, Layout};
use reft_core::testing::golden_dir;
use reft_models::attention::PastKeyValues;
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::Value;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

pub struct Folder {
    place: TempDir,
    pub config: Value,
    pub tensors: BTreeMap<String, Tensor>,
}

impl Folder {
    /// The configuration and the weights of a golden model; nothing is written yet.
    pub fn golden(name: &str) -> Self {
        Self::of(&format!("models/{name}"))
    }

    /// The same of a golden family.
    pub fn family(name: &str) -> Self {
        Self::of(&format!("families/models/{name}"))
    }

    /// A golden model that only the repository has.
    pub fn of_repository(name: &str) -> Self {
        Self::of(&format!("{}/../tests/golden/models/{name}", env!("CARGO_MANIFEST_DIR")))
    }

    fn of(place: &str) -> Self {
        let weights = Weights::open(&golden_dir().join(place)).expect("a golden model");
        let read = |name: &str| {
            let shape = weights.shape(name).expect("listed");
            (name.to_owned(), weights.tensor(name, shape, Kind::Float, Device::Cpu).expect("readable"))
        };
        let tensors = weights.names().into_iter().map(read).collect();
        Self { place: TempDir::new().expect("a folder"), config: weights.config().clone(), tensors }
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Sets a key of the configuration; null takes it away.
    pub fn set(mut self, key: &str, value: Value) -> Self {
        let keys = self.config.as_object_mut().expect("an object");
        if value.is_null() {
            keys.remove(key);
        } else {
            keys.insert(key.to_owned(), value);
        }
        self
    }

    /// Writes the configuration alone.
    pub fn write_config(&self) {
        fs::write(self.path().join("config.json"), self.config.to_string()).expect("written");
    }

    /// Writes all, the weights as safetensors.
    pub fn write(self) -> Self {
        self.write_config();
        let tensors: Vec<(&String, &Tensor)> = self.tensors.iter().collect();
        Tensor::write_safetensors(&tensors, self.path().join("model.safetensors")).expect("written");
        self
    }

    pub fn open(&self) -> Weights {
        Weights::open(self.path()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Opens and loads it as a language model.
    pub fn load(&self) -> Result<Box<dyn Decoder>, String> {
        let weights = Weights::open(self.path()).map_err(|error| error.to_string())?;
        registry::load(&weights, Kind::Float, Device::Cpu).map_err(|error| error.to_string())
    }

    /// Logits of a text that is long enough for every frequency to matter.
    pub fn logits(&self) -> Tensor {
        logits(self.load().unwrap_or_else(|error| panic!("{error}")).as_ref())
    }
}

fn logits(model: &dyn Decoder) -> Tensor {
    let ids: Vec<i64> = (0..60).map(|i| 3 + i * 37 % 97).collect();
    let layout = Layout::packed(&[Extent { len: ids.len() as i64, prompt: ids.len() as i64 }]);
    let mut pass = Pass { layout: &layout, hooks: &NoHooks, cache: PastKeyValues::None, wanted: None };
    model.logits(&model.hidden(&Tensor::from_slice(&ids), &mut pass))
}

/// A message of one line with all these parts.
pub fn check_message(what: &str, message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{what}: `{part}` is not in: {message}");
    }
    assert_eq!(message.lines().count(), 1, "{what}: {message}");
}
