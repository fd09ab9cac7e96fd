//! A GGUF file: de-quantised on reading, llama.cpp's names and row order turned into Hugging Face's.

mod config;
mod dialect;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use candle_core::{DType, Device};
use serde_json::{Map, json};
use tch::{Kind, Tensor};

use self::config::GgufContext;
use self::dialect::{DIALECTS, GgufDialect};
use crate::container::{Container, Encoding, WeightsError, bytes_of, open_error};
use crate::mapped::check_not_placeholder;
use crate::raw_config::RawConfig;

/// A GGUF file of a decoder.
pub struct GgufFile {
    path: PathBuf,
    content: Content,
    dialect: &'static GgufDialect,
    /// Hugging Face name to llama.cpp's.
    names: BTreeMap<String, String>,
}

impl GgufFile {
    /// Reads the header.
    ///
    /// # Errors
    /// When the file is missing, truncated, or holds no family that is read.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let mut file = File::open(path).map_err(|error| open_error(path, format!("{error}: check the path")))?;
        let mut begin = Vec::new();
        let read = Read::by_ref(&mut file).take(64).read_to_end(&mut begin).and_then(|_| file.rewind());
        read.map_err(|error| open_error(path, format!("{error}: check the path")))?;
        check_not_placeholder(path, &begin)?;
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let content = Content::read(&mut file).map_err(|error| {
            let advice = "download it again, or choose a file in a common type such as F16, Q8_0 or Q4_K_M";
            open_error(path, format!("truncated, or no GGUF file that can be read ({}): {advice}", brief(&error)))
        })?;
        if content.tensor_infos.values().any(|info| end(&content, info).is_none_or(|end| end > length)) {
            return Err(open_error(path, format!("truncated ({length} bytes): download it again")));
        }
        let dialect = dialect_of(path, &content)?;
        let names = content.tensor_infos.keys().filter_map(|name| Some((dialect.name(name)?, name.clone())));
        let names = names.collect();
        Ok(Self { path: path.to_owned(), content, dialect, names })
    }

    /// A metadata value.
    ///
    /// # Errors
    /// When the file lacks it.
    pub fn value(&self, key: &str) -> Result<&Value, WeightsError> {
        let value = self.content.metadata.get(key);
        value.ok_or_else(|| open_error(&self.path, format!("metadata `{key}` is missing: not a complete model file")))
    }

    /// A metadata string.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn text(&self, key: &str) -> Result<String, WeightsError> {
        self.value(key)?.to_string().cloned().map_err(|error| self.wrong(key, &error))
    }

    /// A metadata list of strings.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, WeightsError> {
        let list = self.value(key)?.to_vec().map_err(|error| self.wrong(key, &error))?;
        list.iter().map(|item| item.to_string().cloned().map_err(|error| self.wrong(key, &error))).collect()
    }

    /// A metadata number; GGUF writers differ in the width they give it.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn integer(&self, key: &str) -> Result<i64, WeightsError> {
        integer(self.value(key)?).ok_or_else(|| open_error(&self.path, format!("metadata `{key}` is not a number")))
    }

    /// A metadata list of numbers.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn integers(&self, key: &str) -> Result<Vec<i64>, WeightsError> {
        let list = self.value(key)?.to_vec().map_err(|error| self.wrong(key, &error))?;
        let numbers: Option<Vec<i64>> = list.iter().map(integer).collect();
        numbers.ok_or_else(|| open_error(&self.path, format!("metadata `{key}` is not a list of numbers")))
    }

    /// A metadata list of scores.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn scores(&self, key: &str) -> Result<Vec<f32>, WeightsError> {
        let list = self.value(key)?.to_vec().map_err(|error| self.wrong(key, &error))?;
        list.iter().map(|item| item.to_f32().map_err(|error| self.wrong(key, &error))).collect()
    }

    /// Whether the file has this key.
    pub fn has(&self, key: &str) -> bool {
        self.content.metadata.contains_key(key)
    }

    /// A metadata switch; off when the file does not say.
    ///
    /// # Errors
    /// When it is something else.
    pub fn switch(&self, key: &str) -> Result<bool, WeightsError> {
        let value = self.content.metadata.get(key);
        value.map_or(Ok(false), |value| value.to_bool().map_err(|error| self.wrong(key, &error)))
    }

    fn wrong(&self, key: &str, error: &candle_core::Error) -> WeightsError {
        open_error(&self.path, format!("metadata `{key}`: {}", brief(error)))
    }

    /// The configuration in Hugging Face's terms.
    ///
    /// # Errors
    /// When the metadata is incomplete, wrong, or says something that changes results and is not understood.
    pub fn config(&self) -> Result<serde_json::Value, WeightsError> {
        let (section, prefix) = (self.section(), format!("{}.", self.dialect.architecture));
        let vocab = self.content.tensor_infos.get("token_embd.weight").and_then(|info| info.shape.dims().first());
        let [one, short, long] = config::DIVISORS.map(|name| self.numbers(name));
        let known = GgufContext {
            names: [self.dialect.hugging_face, self.dialect.architecture],
            vocab: vocab.map(|&vocab| vocab as i64),
            has: &|name| self.content.tensor_infos.contains_key(name),
            ends: ["tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"].map(|key| self.integer(key).ok()),
            divisors: [one?, short?, long?],
        };
        Ok(config::translated(&RawConfig::within(&self.path, &prefix, &section), &known)?)
    }

    /// The model's own metadata. A number that is none becomes a text, which no reader of numbers takes.
    fn section(&self) -> Map<String, serde_json::Value> {
        let own = |key: &String| key.strip_prefix(self.dialect.architecture)?.strip_prefix('.').map(str::to_owned);
        let json = |value: &Value| match *value {
            Value::F32(number) if number.is_finite() => json!(f64::from(number)),
            Value::F64(number) if number.is_finite() => json!(number),
            Value::Bool(switch) => json!(switch),
            Value::String(ref text) => json!(text),
            ref other => integer(other).map_or_else(|| json!(format!("{other:?}")), |number| json!(number)),
        };
        self.content.metadata.iter().filter_map(|(key, value)| Some((own(key)?, json(value)))).collect()
    }

    /// The numbers of a tensor that Hugging Face's layout does not have; none where there is no such tensor.
    fn numbers(&self, theirs: &str) -> Result<Option<Vec<f64>>, WeightsError> {
        if !self.content.tensor_infos.contains_key(theirs) {
            return Ok(None);
        }
        let (path, name) = (self.path.clone(), theirs.to_owned());
        let tensor = self.dequantised(theirs).map_err(|reason| WeightsError::Damaged { path, name, reason })?;
        let values = Vec::<f32>::try_from(tensor.flatten(0, -1)).expect("f32 values");
        Ok(Some(values.into_iter().map(f64::from).collect()))
    }

    /// A tensor as llama.cpp ordered it, f32.
    fn dequantised(&self, theirs: &str) -> Result<Tensor, String> {
        let mut file = File::open(&self.path).map_err(|error| error.to_string())?;
        let quantised = self.content.tensor(&mut file, theirs, &Device::Cpu).map_err(|error| brief(&error))?;
        let values = quantised.dequantize(&Device::Cpu).map_err(|error| brief(&error))?;
        to_libtorch(&values).map_err(|error| brief(&error))
    }

    /// Query heads and key/value heads; as many when the file does not say.
    fn heads(&self) -> Result<[i64; 2], WeightsError> {
        let key = |name: &str| format!("{}.attention.{name}", self.dialect.architecture);
        let heads = self.integer(&key("head_count"))?;
        Ok([heads, self.integer(&key("head_count_kv")).unwrap_or(heads)])
    }
}

/// How the file's family is written.
fn dialect_of(path: &Path, content: &Content) -> Result<&'static GgufDialect, WeightsError> {
    let key = "general.architecture";
    let architecture = content.metadata.get(key).and_then(|value| value.to_string().ok());
    let missing = || open_error(path, format!("metadata `{key}` is missing: not a complete model file"));
    let architecture = architecture.ok_or_else(missing)?;
    DIALECTS.iter().find(|dialect| dialect.architecture == architecture).ok_or_else(|| {
        let known: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.architecture).collect();
        open_error(
            path,
            format!("architecture `{architecture}` is not read from GGUF files: there is {}", known.join(", ")),
        )
    })
}

/// A candle tensor as a libtorch one, f32. Narrower types widen without loss.
fn to_libtorch(tensor: &candle_core::Tensor) -> candle_core::Result<Tensor> {
    let shape: Vec<i64> = tensor.dims().iter().map(|&n| n as i64).collect();
    let values = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    Ok(Tensor::from_slice(&values).reshape(shape))
}

/// candle's message without the stack trace it may append.
fn brief(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// The byte after a tensor's last one; none when a damaged header says more than can be counted.
fn end(content: &Content, info: &TensorInfo) -> Option<u64> {
    let elements = info.shape.dims().iter().try_fold(1_u64, |product, &n| product.checked_mul(n as u64))?;
    let blocks = elements / info.ggml_dtype.block_size() as u64;
    let size = blocks.checked_mul(info.ggml_dtype.type_size() as u64)?;
    content.tensor_data_offset.checked_add(info.offset)?.checked_add(size)
}

fn integer(value: &Value) -> Option<i64> {
    match *value {
        Value::U8(n) => Some(n.into()),
        Value::I8(n) => Some(n.into()),
        Value::U16(n) => Some(n.into()),
        Value::I16(n) => Some(n.into()),
        Value::U32(n) => Some(n.into()),
        Value::I32(n) => Some(n.into()),
        Value::U64(n) => n.try_into().ok(),
        Value::I64(n) => Some(n),
        Value::F32(_) | Value::F64(_) | Value::Bool(_) | Value::String(_) | Value::Array(_) => None,
    }
}

/// Bytes of a file before its tensors: the model's settings and its vocabulary.
///
/// # Errors
/// When the file is missing, truncated, or no GGUF file of a decoder.
pub(crate) fn header(path: &Path) -> Result<Vec<u8>, WeightsError> {
    let length = GgufFile::open(path)?.content.tensor_data_offset;
    let mut header = Vec::new();
    let read = File::open(path).and_then(|file| file.take(length).read_to_end(&mut header));
    read.map_err(|error| open_error(path, format!("{error}: check the path")))?;
    Ok(header)
}

impl Container for GgufFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn shapes(&self) -> BTreeMap<String, Vec<i64>> {
        let shape = |(ours, theirs): (&String, &String)| {
            let stored: Vec<i64> = self.content.tensor_infos[theirs].shape.dims().iter().map(|&n| n as i64).collect();
            let shape = self.dialect.change(ours).map_or_else(|| stored.clone(), |change| change.undone_shape(&stored));
            (ours.clone(), shape)
        };
        self.names.iter().map(shape).collect()
    }

    fn others(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn read(&self, name: &str) -> Result<Tensor, String> {
        let tensor = self.dequantised(self.names.get(name).ok_or("not in the file")?)?;
        match self.dialect.change(name) {
            Some(change) => change.undone(&tensor, self.heads().map_err(|error| error.to_string())?),
            None => Ok(tensor),
        }
    }

    fn encoding(&self, name: &str) -> Option<Encoding> {
        let info = self.content.tensor_infos.get(self.names.get(name)?)?;
        Some(match info.ggml_dtype {
            GgmlDType::F32 => Encoding::Plain(Kind::Float),
            GgmlDType::F16 => Encoding::Plain(Kind::Half),
            GgmlDType::BF16 => Encoding::Plain(Kind::BFloat16),
            quantised => Encoding::Quantised(format!("{quantised:?}")),
        })
    }

    /// Blocks of quantised values are taken as they lie in the file, in llama.cpp's order of rows.
    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, String> {
        match self.encoding(name).ok_or("not in the file")? {
            Encoding::Plain(kind) => bytes_of(&self.read(name)?, kind).map(Cow::Owned),
            Encoding::Quantised(_) => {
                let mut file = File::open(&self.path).map_err(|error| error.to_string())?;
                let stored = self.content.tensor(&mut file, &self.names[name], &Device::Cpu);
                let stored = stored.map_err(|error| brief(&error))?;
                stored.data().map(|bytes| Cow::Owned(bytes.into_owned())).map_err(|error| brief(&error))
            }
        }
    }
}
