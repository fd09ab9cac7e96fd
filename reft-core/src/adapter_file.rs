//! Adapters on disk: a folder with `adapter_config.json` and `adapter_model.safetensors`, from which loading needs the path alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor, no_grad};

use crate::adapt_config::SpecError;
use crate::adaptation::{Adaptation, NamedTensor};
use crate::adaptations::AdaptSpec;
use crate::base_model::{BaseModel, Match, WrongBase};
use crate::f32_bytes;
use crate::intervention::Constraint;
use crate::lender::{Lender, NoLender};
use crate::orthonormal::orthonormalise;
use crate::rng::Seed;
use crate::value_reader::{self, ValueError};

/// The version this build writes and reads.
pub const SCHEMA: u32 = 1;
const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

/// `adapter_config.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterConfig {
    /// Version of this format.
    pub schema: u32,
    /// What it was trained on.
    pub base_model: BaseModel,
    /// Method, rank, positions, layers.
    pub adapt: AdaptSpec,
}

/// Why an adapter cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// The folder holds none.
    #[error("{path}: no adapter is there, for it has no {CONFIG}: name the folder that an adapter was saved in")]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("{path}: {source}: check the path, its permissions and the space left")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// The configuration is not valid.
    #[error("{path}: not an adapter configuration ({reason}): the file is damaged or written by another program")]
    Config {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong with it.
        reason: String,
    },
    /// Another library's.
    #[error("{path}: an adapter of {library}, which is to be imported first")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Who wrote it.
        library: &'static str,
    },
    /// Written by another version.
    #[error("{path}: adapter schema {found}, this build reads schema {SCHEMA}: use the build that wrote it")]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// The tensor file cannot be read.
    #[error("{path}: {reason}: the file is truncated or damaged; copy it again or train anew")]
    Tensors {
        /// The file.
        path: PathBuf,
        /// The reader's words.
        reason: String,
    },
    /// A tensor is missing, superfluous or of another shape.
    #[error("{path}: tensor `{name}`: {reason}: the file does not belong to this {CONFIG}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor holds values that no training leaves behind.
    #[error("{path}: tensor `{name}` {reason}: the file is damaged; copy it again or train anew")]
    Values {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// Another base model.
    #[error("{path}: the adapter was {source}")]
    WrongBase {
        /// The adapter.
        path: PathBuf,
        /// Which two.
        source: Box<WrongBase>,
    },
    /// The specification does not fit the model.
    #[error("{path}: {source}")]
    Spec {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SpecError,
    },
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> AdapterError {
    let path = path.to_owned();
    move |source| AdapterError::Io { path, source }
}

/// Writes the adapter into the folder `path`, whose other files stay as they are. A new folder appears complete or not at all. In one
/// that is there the configuration goes first and comes last, so that what is interrupted in between is no adapter.
///
/// # Errors
/// When the file system refuses.
pub fn save(path: &Path, base: &BaseModel, spec: &AdaptSpec, adaptation: &dyn Adaptation) -> Result<(), AdapterError> {
    let config = AdapterConfig { schema: SCHEMA, base_model: base.clone(), adapt: spec.clone() };
    let json = serde_json::to_vec_pretty(&config).expect("plain data");
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(io_error(parent))?;
    let fresh = tempfile::Builder::new().prefix(".adapter-").tempdir_in(parent).map_err(io_error(parent))?;
    write_synced(&fresh.path().join(CONFIG), &json)?;
    write_synced(&fresh.path().join(TENSORS), &serialise(adaptation))?;
    if !path.exists() {
        return fs::rename(fresh.keep(), path).map_err(io_error(path));
    }
    let config = path.join(CONFIG);
    if config.exists() {
        fs::remove_file(&config).map_err(io_error(&config))?;
    }
    for name in [TENSORS, CONFIG] {
        fs::rename(fresh.path().join(name), path.join(name)).map_err(io_error(path))?;
    }
    Ok(())
}

/// Bytes of the tensors' file of the adapter `path`; none where it is not there.
pub fn tensor_bytes(path: &Path) -> Option<u64> {
    fs::metadata(path.join(TENSORS)).ok().map(|file| file.len())
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), AdapterError> {
    let mut file = fs::File::create(path).map_err(io_error(path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error(path))
}

/// What a file holds: what is trained, then what is frozen.
fn all_tensors(adaptation: &dyn Adaptation) -> Vec<NamedTensor> {
    adaptation.named().into_iter().chain(adaptation.fixed()).collect()
}

fn serialise(adaptation: &dyn Adaptation) -> Vec<u8> {
    let named = all_tensors(adaptation);
    let bytes: Vec<Vec<u8>> = named.iter().map(|named| f32_bytes::to_bytes(&named.tensor)).collect();
    let views = named.iter().zip(&bytes).map(|(named, bytes)| {
        let shape = named.tensor.size().into_iter().map(|n| n as usize).collect();
        (named.name.as_str(), TensorView::new(Dtype::F32, shape, bytes).expect("bytes of that shape"))
    });
    safetensors::serialize(views, None).expect("consistent views")
}

/// An adapter as read from disk, not yet put on a model.
#[derive(Debug)]
pub struct SavedAdapter {
    path: PathBuf,
    /// Its configuration.
    pub config: AdapterConfig,
    tensors: BTreeMap<String, Tensor>,
}

impl SavedAdapter {
    /// Reads the folder `path`.
    ///
    /// # Errors
    /// When a file is missing or damaged, or of another schema.
    pub fn read(path: &Path) -> Result<Self, AdapterError> {
        if !path.join(CONFIG).exists() {
            return Err(AdapterError::Missing { path: path.to_owned() });
        }
        let config = read_config(&path.join(CONFIG))?;
        let tensors = read_tensors(&path.join(TENSORS))?;
        Ok(Self { path: path.to_owned(), config, tensors })
    }

    /// Whether this base model is the one it was trained on, or the same weights in another precision.
    ///
    /// # Errors
    /// When the base model is another one.
    pub fn check_base(&self, base: &BaseModel) -> Result<Match, AdapterError> {
        let wrong_base = |source| AdapterError::WrongBase { path: self.path.clone(), source };
        self.config.base_model.check(base).map_err(wrong_base)
    }

    /// The adaptation with the saved values, for this base model.
    ///
    /// # Errors
    /// When the base model is another one, or tensors and configuration do not fit.
    pub fn onto(&self, base: &BaseModel, device: Device) -> Result<Box<dyn Adaptation>, AdapterError> {
        self.onto_lent(base, &NoLender, device)
    }

    /// The same on a model that lends of itself, for adaptations that compute with its weights or train them.
    ///
    /// # Errors
    /// As for [`SavedAdapter::onto`].
    pub fn onto_lent(
        &self,
        base: &BaseModel,
        lender: &dyn Lender,
        device: Device,
    ) -> Result<Box<dyn Adaptation>, AdapterError> {
        self.check_base(base)?;
        let spec_error = |source| AdapterError::Spec { path: self.path.join(CONFIG), source };
        let adaptation = self.config.adapt.build_on(&base.dims, lender, Seed(0), device).map_err(spec_error)?;
        self.fill(adaptation.as_ref())?;
        Ok(adaptation)
    }

    fn fill(&self, adaptation: &dyn Adaptation) -> Result<(), AdapterError> {
        let error = |name: &str, reason: String| AdapterError::Tensor {
            path: self.path.join(TENSORS),
            name: name.to_owned(),
            reason,
        };
        let named = all_tensors(adaptation);
        for NamedTensor { name, tensor } in &named {
            let saved = self.tensors.get(name).ok_or_else(|| error(name, "missing".to_owned()))?;
            if saved.size() != tensor.size() {
                let reason = format!("shape {:?}, the configuration needs {:?}", saved.size(), tensor.size());
                return Err(error(name, reason));
            }
            no_grad(|| tensor.shallow_clone().copy_(saved));
        }
        match self.tensors.keys().find(|key| !named.iter().any(|named| named.name == **key)) {
            Some(extra) => Err(error(extra, "not in the configuration".to_owned())),
            None => self.check_values(adaptation, &named),
        }
    }

    /// Finite values, and independent rows where a basis is to span a subspace: others would give NaN in every pass.
    fn check_values(&self, adaptation: &dyn Adaptation, named: &[NamedTensor]) -> Result<(), AdapterError> {
        let constraints = adaptation
            .params()
            .stacks()
            .iter()
            .flat_map(|stack| std::iter::repeat_n(stack.declared.constraint, stack.sites as usize))
            .chain(std::iter::repeat(Constraint::Free));
        for (NamedTensor { name, tensor }, constraint) in named.iter().zip(constraints) {
            let tensor = tensor.detach();
            let reason = match constraint {
                _ if !is_finite(&tensor) => "holds values that are not finite",
                Constraint::Orthonormal if !is_finite(&orthonormalise(&tensor)) => {
                    "has rows that depend on one another, so that they span no subspace of the rank configured"
                }
                Constraint::Orthonormal | Constraint::Free => continue,
            };
            return Err(AdapterError::Values { path: self.path.join(TENSORS), name: name.clone(), reason });
        }
        Ok(())
    }
}

fn is_finite(tensor: &Tensor) -> bool {
    tensor.isfinite().all().int64_value(&[]) == 1
}

fn read_config(path: &Path) -> Result<AdapterConfig, AdapterError> {
    let config_error = |error: ValueError| AdapterError::Config { path: path.to_owned(), reason: error.to_string() };
    let text = fs::read_to_string(path).map_err(io_error(path))?;
    let value = value_reader::json(&text).map_err(config_error)?;
    // The version is looked at first: another version may not parse as this one.
    match value.get("schema").and_then(serde_json::Value::as_u64) {
        Some(found) if found != u64::from(SCHEMA) => Err(AdapterError::Schema { path: path.to_owned(), found }),
        None if value.get("peft_type").is_some() => {
            Err(AdapterError::Foreign { path: path.to_owned(), library: "peft" })
        }
        None if value.get("config").is_some() => {
            Err(AdapterError::Foreign { path: path.to_owned(), library: "adapters" })
        }
        _ => value_reader::read(&value).map_err(config_error),
    }
}

fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>, AdapterError> {
    let error = |reason: String| AdapterError::Tensors { path: path.to_owned(), reason };
    let bytes = fs::read(path).map_err(io_error(path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|_| error("no whole safetensors file".to_owned()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(error(format!("tensor `{name}` is {:?}, adapters are F32", view.dtype())));
        }
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        let tensor = f32_bytes::from_bytes(view.data(), &shape);
        tensors.insert(name, tensor.expect("safetensors checks that bytes are those of the shape"));
    }
    Ok(tensors)
}
