//! Checkpoints on disk: safetensors, PyTorch pickles and GGUF by one interface, in Hugging Face's names and layout.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::container::{Container, PageCache, first_line, open_error};
use crate::gguf::{self, GgufFile};
use crate::pickle::PickleFile;
use crate::safetensors_file::SafetensorsFile;

pub use crate::container::{FileKind, WeightsError};

/// A checkpoint, tensor by tensor; nothing is read before it is asked for.
pub struct Weights {
    path: PathBuf,
    config: Value,
    containers: Vec<Box<dyn Container>>,
    tensors: BTreeMap<String, (usize, Vec<i64>)>,
    /// Tensors of other types than floating-point numbers, with the type.
    others: BTreeMap<String, String>,
    /// What becomes of the files' pages behind a reader.
    page_cache: PageCache,
}

/// The floating-point tensors of one file (`.bin` or safetensors), f32 on the host.
///
/// # Errors
/// When it is missing, truncated or not what its name says.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>, WeightsError> {
    let pickled = path.extension().is_some_and(|extension| extension == "bin");
    let file: Box<dyn Container> =
        if pickled { Box::new(PickleFile::open(path)?) } else { Box::new(SafetensorsFile::open(path)?) };
    let read = |name: String| {
        let tensor = file.read(&name).map_err(|reason| open_error(path, format!("tensor `{name}`: {reason}")))?;
        Ok((name, tensor.to_kind(Kind::Float)))
    };
    file.shapes().into_keys().map(read).collect()
}

impl Weights {
    /// A Hugging Face folder (safetensors or PyTorch `.bin`, one file or shards with an index), or a `.gguf` file.
    ///
    /// # Errors
    /// When a file is missing, truncated or not what its name says.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let (config, containers) = if is_gguf(path) {
            let file = GgufFile::open(path)?;
            (file.config()?, vec![Box::new(file) as Box<dyn Container>])
        } else {
            (read_json(&path.join("config.json"))?, open_folder(path)?)
        };
        let (mut tensors, mut others) = (BTreeMap::new(), BTreeMap::new());
        for (index, container) in containers.iter().enumerate() {
            for (name, shape) in container.shapes() {
                if tensors.contains_key(&name) {
                    let reason = format!("tensor `{name}` is in another file of the checkpoint too: copy it again");
                    return Err(open_error(container.path(), reason));
                }
                tensors.insert(name, (index, shape));
            }
            others.extend(container.others());
        }
        Ok(Self { path: path.to_owned(), config, containers, tensors, others, page_cache: PageCache::Kept })
    }

    /// The configuration in the terms of Hugging Face's `config.json`, whatever the container.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The folder or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that the configuration is from: a folder's `config.json`, or the `.gguf` file.
    pub fn config_path(&self) -> PathBuf {
        if is_gguf(&self.path) { self.path.clone() } else { self.path.join("config.json") }
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    /// Lets pages of tensors that have been read go from the system's cache, where the files and the model do not fit into
    /// memory together: what is still to be read would go otherwise.
    pub fn make_room(&mut self) {
        self.page_cache = PageCache::Dropped;
    }

    /// Bytes of its files.
    pub fn file_bytes(&self) -> usize {
        let length = |path| fs::metadata(path).map_or(0, |file| file.len() as usize);
        self.containers.iter().map(|container| length(container.path())).sum()
    }

    /// Numbers in all tensors together.
    pub fn numbers(&self) -> usize {
        let size = |name| self.shape(name).map_or(0, |shape| shape.iter().product::<i64>());
        self.names().into_iter().map(size).sum::<i64>() as usize
    }

    /// Whether there is such a tensor.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The type of a tensor that is there, but holds no floating-point numbers.
    pub fn stored_otherwise(&self, name: &str) -> Option<&str> {
        self.others.get(name).map(String::as_str)
    }

    /// Refuses weights that are stored as codes of a quantisation: whole numbers under a weight's name, or the names
    /// that GPTQ, AWQ, bitsandbytes and compressed-tensors give them.
    ///
    /// # Errors
    /// When there is such a tensor.
    pub fn check_not_quantised(&self) -> Result<(), WeightsError> {
        let codes = [".weight", ".qweight", ".qzeros", ".weight_packed", ".SCB"];
        let coded = |name: &str| codes.iter().any(|end| name.ends_with(end));
        match self.others.iter().find(|(name, _)| coded(name)) {
            Some((name, stored)) => {
                let (path, name, stored) = (self.path.clone(), name.clone(), stored.clone());
                Err(WeightsError::Quantised { path, name, stored })
            }
            None => Ok(()),
        }
    }

    /// What is there in place of a tensor that is not, and what to do.
    fn hint(&self, name: &str) -> String {
        let below = format!(".{name}");
        if let Some(found) = self.tensors.keys().find(|other| other.ends_with(&below)) {
            let prefix = &found[..found.len() - name.len()];
            return format!(
                "`{found}` is there: save the weights anew, with `{prefix}` taken from the names and without anything \
                 around them"
            );
        }
        let example = self.tensors.keys().find(|name| name.ends_with("weight"));
        let example = example.map(|found| format!(" (`{found}` is there)")).unwrap_or_default();
        format!("the checkpoint is incomplete or of another architecture{example}")
    }

    /// A tensor's shape.
    pub fn shape(&self, name: &str) -> Option<&[i64]> {
        self.tensors.get(name).map(|(_, shape)| shape.as_slice())
    }

    /// The tensor `name` in this type and on this device.
    ///
    /// # Errors
    /// When it is missing, of another shape than `shape`, cannot be read, or does not fit on the device.
    pub fn tensor(&self, name: &str, shape: &[i64], kind: Kind, device: Device) -> Result<Tensor, WeightsError> {
        self.check(name, shape)?;
        let placed = self.stored(name)?.f_to_kind(kind).and_then(|tensor| tensor.f_to_device(device));
        placed.map_err(|error| {
            let (path, name) = (self.path.clone(), name.to_owned());
            WeightsError::Place { path, name, device, reason: first_line(&error) }
        })
    }

    /// Looks whether the tensor `name` is there and has this shape; nothing is read.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, name: &str, shape: &[i64]) -> Result<(), WeightsError> {
        let (path, name) = (self.path.clone(), name.to_owned());
        match self.shape(&name) {
            Some(found) if found != shape => {
                Err(WeightsError::Shape { path, name, found: found.to_vec(), expected: shape.to_vec() })
            }
            Some(_) => Ok(()),
            None => Err(self.absent(&name)),
        }
    }

    /// The error that a tensor is not there.
    fn absent(&self, name: &str) -> WeightsError {
        let (path, name) = (self.path.clone(), name.to_owned());
        match self.stored_otherwise(&name) {
            Some(stored) => WeightsError::Quantised { path, stored: stored.to_owned(), name },
            None => WeightsError::Missing { path, hint: self.hint(&name), name },
        }
    }

    /// Whether two tensors hold the same values.
    ///
    /// # Errors
    /// When one of them is missing or cannot be read.
    pub fn equal(&self, one: &str, other: &str) -> Result<bool, WeightsError> {
        let (one, other) = (self.stored(one)?, self.stored(other)?);
        Ok(one.size() == other.size() && one.to_kind(Kind::Float).equal(&other.to_kind(Kind::Float)))
    }

    fn stored(&self, name: &str) -> Result<Tensor, WeightsError> {
        let (index, _) = self.tensors.get(name).ok_or_else(|| self.absent(name))?;
        let container = &self.containers[*index];
        let path = container.path().to_owned();
        let read = container.read(name);
        container.release(name, self.page_cache);
        read.map_err(|reason| WeightsError::Damaged { path, name: name.to_owned(), reason })
    }

    /// The files that hold these tensors, each with the names it holds.
    pub(crate) fn files<'w>(&'w self, names: &BTreeSet<String>) -> Vec<(&'w dyn Container, BTreeSet<String>)> {
        let mut by_file: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for name in names {
            if let Some((index, _)) = self.tensors.get(name) {
                by_file.entry(*index).or_default().insert(name.clone());
            }
        }
        by_file.into_iter().map(|(index, names)| (self.containers[index].as_ref(), names)).collect()
    }

    /// The fingerprint by which adapters of earlier versions name their base: a hash of every tensor's name, shape and about
    /// 1,024 evenly spaced values, of all tensors whether they are used or not. It misses most changes of weights; it is
    /// computed to go on loading those adapters, and for nothing else.
    ///
    /// # Errors
    /// When a tensor cannot be read.
    pub fn legacy_fingerprint(&self) -> Result<String, WeightsError> {
        let mut hash = Sha256::new();
        for (name, (_, shape)) in &self.tensors {
            hash.update(format!("{name} {shape:?} "));
            let flat = self.stored(name)?.flatten(0, -1);
            let samples = flat.slice(0, None, None, (flat.numel() as i64 / 1024).max(1)).to_kind(Kind::Float);
            let values = Vec::<f32>::try_from(&samples).expect("a flat f32 tensor");
            for value in values {
                hash.update(value.to_le_bytes());
            }
        }
        Ok(format!("{:.32x}", hash.finalize()))
    }
}

/// Whether a path names a GGUF file.
pub(crate) fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gguf")
}

fn read_json(path: &Path) -> Result<Value, WeightsError> {
    let advice = "a model folder holds config.json and its weights, as Hugging Face lays them out";
    let text = fs::read_to_string(path).map_err(|error| open_error(path, format!("{error}: {advice}")))?;
    serde_json::from_str(&text).map_err(|error| open_error(path, format!("not valid JSON ({error}): copy it again")))
}

/// The files of a folder; safetensors before pickles.
/// A kind of file that holds the weights of a folder.
struct WeightsFormat {
    /// Its name; with `.index.json` behind it the list of its shards.
    file: &'static str,
    about: &'static str,
    open: fn(&Path) -> Result<Box<dyn Container>, WeightsError>,
}

/// The first that is there is read.
const FORMATS: [WeightsFormat; 2] = [
    WeightsFormat {
        file: "model.safetensors",
        about: "or its shards by model.safetensors.index.json; f32, f16, bf16 and f64, mapped and read tensor by tensor; not quantised \
                ones (bitsandbytes, GPTQ, AWQ, FP8), whose numbers are not the model's",
        open: |path| Ok(Box::new(SafetensorsFile::open(path)?)),
    },
    WeightsFormat {
        file: "pytorch_model.bin",
        about: "or its shards by pytorch_model.bin.index.json; tensors alone are read from the pickle, nothing in it is run",
        open: |path| Ok(Box::new(PickleFile::open(path)?)),
    },
];

/// Every kind of file that weights are read from.
pub fn formats() -> Vec<FileKind> {
    let folder = FORMATS.iter().map(|format| FileKind::new(format.file, format.about));
    folder.chain([gguf::file_kind()]).collect()
}

fn open_folder(folder: &Path) -> Result<Vec<Box<dyn Container>>, WeightsError> {
    for WeightsFormat { file: single, open, .. } in FORMATS {
        let index = folder.join(format!("{single}.index.json"));
        if folder.join(single).exists() {
            return Ok(vec![open(&folder.join(single))?]);
        }
        if index.exists() {
            return shards(&index)?.iter().map(|name| open(&folder.join(name))).collect();
        }
    }
    let names = "model.safetensors, pytorch_model.bin or an index of shards";
    Err(open_error(folder, format!("holds no weights: expected {names}")))
}

/// The shard files that an index names, each once.
pub(crate) fn shards(index: &Path) -> Result<BTreeSet<String>, WeightsError> {
    let json = read_json(index)?;
    let map = json.get("weight_map").and_then(Value::as_object).filter(|map| !map.is_empty());
    let map = map.ok_or_else(|| open_error(index, "has no weight_map: copy it again"))?;
    let shard = |(name, file): (&String, &Value)| {
        // Beside the index and nowhere else.
        let plain = |file: &&str| Path::new(file).file_name().is_some_and(|own| own == *file);
        let file = file.as_str().filter(plain);
        file.map(str::to_owned)
            .ok_or_else(|| open_error(index, format!("names no file beside it for `{name}`: copy it again")))
    };
    map.iter().map(shard).collect()
}
