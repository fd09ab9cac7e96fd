//! A GGUF file: de-quantised on reading, llama.cpp's names and row order turned into Hugging Face's.

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

use crate::config_keys;
use crate::mapped::check_not_placeholder;
use crate::raw_config::{ConfigError, RawConfig};
use crate::weights::{Container, Encoding, WeightsError, bytes_of, first_line, open_error};

/// Parts of tensor names, llama.cpp's and Hugging Face's.
const NAMES: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
];

/// What the metadata of the model itself begins with.
const SECTION: &str = "llama.";

/// Holds divisors of rotary frequencies in files of models with long contexts.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// A GGUF file of a Llama model.
pub struct GgufFile {
    path: PathBuf,
    content: Content,
    /// Hugging Face name to llama.cpp's.
    names: BTreeMap<String, String>,
}

impl GgufFile {
    /// Reads the header.
    ///
    /// # Errors
    /// When the file is missing, truncated, or holds no Llama.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let file = Self::of_any_family(path)?;
        file.check_family()?;
        Ok(file)
    }

    /// The same whatever the model is, for its vocabulary.
    pub(crate) fn of_any_family(path: &Path) -> Result<Self, WeightsError> {
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
        let names = content.tensor_infos.keys().filter_map(|name| Some((hugging_face_name(name)?, name.clone())));
        let names = names.collect();
        Ok(Self { path: path.to_owned(), content, names })
    }

    /// Refuses what would load and then compute something else than the model.
    fn check_family(&self) -> Result<(), WeightsError> {
        let architecture = self.text("general.architecture")?;
        if architecture != "llama" {
            return Err(open_error(&self.path, format!("architecture `{architecture}`: this reader knows llama")));
        }
        if self.content.tensor_infos.contains_key(ROPE_FACTORS) {
            let advice = "use the model's safetensors folder, whose config.json says how they came about";
            return Err(open_error(
                &self.path,
                format!("has rotary factors (`{ROPE_FACTORS}`), not read here: {advice}"),
            ));
        }
        Ok(())
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
        let section = self.section();
        Ok(self.translated(&RawConfig::within(&self.path, SECTION, &section))?)
    }

    /// The `llama.` metadata. A number that is none becomes a text, which no reader of numbers takes.
    fn section(&self) -> Map<String, serde_json::Value> {
        let own = self.content.metadata.iter().filter_map(|(key, value)| Some((key.strip_prefix(SECTION)?, value)));
        let json = |value: &Value| match *value {
            Value::F32(number) if number.is_finite() => json!(f64::from(number)),
            Value::F64(number) if number.is_finite() => json!(number),
            Value::Bool(switch) => json!(switch),
            Value::String(ref text) => json!(text),
            ref other => integer(other).map_or_else(|| json!(format!("{other:?}")), |number| json!(number)),
        };
        own.map(|(key, value)| (key.to_owned(), json(value))).collect()
    }

    fn translated(&self, raw: &RawConfig<'_>) -> Result<serde_json::Value, ConfigError> {
        let (heads, width) = (raw.needed_size("attention.head_count")?, raw.needed_size("embedding_length")?);
        let vocab = self.content.tensor_infos.get("token_embd.weight").and_then(|info| info.shape.dims().first());
        let rotated = raw.size("rope.dimension_count")?;
        let head_width = raw.size("attention.key_length")?.or(rotated).unwrap_or((width / heads).max(1));
        for (key, size) in
            [("rope.dimension_count", rotated), ("attention.value_length", raw.size("attention.value_length")?)]
        {
            if let Some(size) = size.filter(|&size| size != head_width) {
                return Err(raw.unsupported(key, &size.into(), &format!("only the width of a head, {head_width}")));
            }
        }
        let eps = raw.positive("attention.layer_norm_rms_epsilon")?;
        let has = |name: &str| self.content.tensor_infos.contains_key(name);
        let config = json!({
            "architectures": ["LlamaForCausalLM"],
            "hidden_act": "silu",
            "hidden_size": width,
            "intermediate_size": raw.needed_size("feed_forward_length")?,
            "num_hidden_layers": raw.layers("block_count")?,
            "num_attention_heads": heads,
            "num_key_value_heads": raw.size("attention.head_count_kv")?.unwrap_or(heads),
            "head_dim": head_width,
            "vocab_size": vocab,
            "rms_norm_eps": raw.needed("attention.layer_norm_rms_epsilon", eps)?,
            "rope_theta": raw.positive("rope.freq_base")?.unwrap_or(10_000.0),
            "rope_scaling": rope_scaling(raw)?,
            "max_position_embeddings": raw.needed_size("context_length")?,
            "attention_bias": has("blk.0.attn_q.bias"),
            "mlp_bias": has("blk.0.ffn_gate.bias"),
            "tie_word_embeddings": !has("output.weight"),
            "bos_token_id": self.integer("tokenizer.ggml.bos_token_id").ok(),
            "eos_token_id": self.integer("tokenizer.ggml.eos_token_id").ok(),
        });
        raw.finish(&[config_keys::GGUF])?;
        Ok(config)
    }

    /// As many as query heads when the file does not say.
    fn key_value_heads(&self) -> Result<i64, WeightsError> {
        let own = self.integer("llama.attention.head_count_kv");
        own.or_else(|_| self.integer("llama.attention.head_count"))
    }

    /// Heads whose rows llama.cpp has reordered in this tensor.
    fn permuted_heads(&self, name: &str) -> Result<Option<i64>, WeightsError> {
        if name.contains(".q_proj.") {
            self.integer("llama.attention.head_count").map(Some)
        } else if name.contains(".k_proj.") {
            self.key_value_heads().map(Some)
        } else {
            Ok(None)
        }
    }
}

/// Left to the port to accept or refuse by its type.
fn rope_scaling(raw: &RawConfig<'_>) -> Result<Option<serde_json::Value>, ConfigError> {
    let factor = raw.positive("rope.scaling.factor")?;
    let Some(kind) = raw.text("rope.scaling.type")?.filter(|kind| *kind != "none") else {
        return match factor.filter(|&factor| (factor - 1.0).abs() > f64::EPSILON) {
            Some(factor) => {
                Err(raw.unsupported("rope.scaling.factor", &factor.into(), "only 1 without a scaling type"))
            }
            None => Ok(None),
        };
    };
    Ok(Some(json!({ "rope_type": kind, "factor": factor })))
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

/// Undoes llama.cpp's order of rows, which pairs neighbours for its rotary embedding: `[heads, E/2, 2, D]` to halves.
fn unpermute(tensor: &Tensor, heads: i64) -> Result<Tensor, String> {
    let (shape, rows) = (tensor.size(), tensor.size().first().copied().unwrap_or(0));
    if heads <= 0 || rows % (2 * heads) != 0 {
        return Err(format!("{rows} rows do not divide among {heads} heads"));
    }
    let grouped = tensor.f_reshape([heads, rows / heads / 2, 2, -1]).map_err(|error| first_line(&error))?;
    grouped.transpose(1, 2).f_reshape(shape).map_err(|error| first_line(&error))
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

/// None for tensors that Hugging Face's layout does not have, such as rotary factors.
fn hugging_face_name(name: &str) -> Option<String> {
    if name == "output.weight" {
        return Some("lm_head.weight".to_owned());
    }
    let (module, parameter) = name.rsplit_once('.')?;
    let (block, part) = match module.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, part)) => (format!("model.layers.{layer}."), part),
        None => (String::new(), module),
    };
    let (_, theirs) = NAMES.iter().find(|(ours, _)| *ours == part)?;
    Some(format!("{block}{theirs}.{parameter}"))
}

/// Bytes of a file before its tensors: the model's settings and its vocabulary.
///
/// # Errors
/// When the file is missing, truncated, or no GGUF file of a Llama.
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
        let shape = |name: &String| self.content.tensor_infos[name].shape.dims().iter().map(|&n| n as i64).collect();
        self.names.iter().map(|(theirs, ours)| (theirs.clone(), shape(ours))).collect()
    }

    fn others(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn read(&self, name: &str) -> Result<Tensor, String> {
        let ours = self.names.get(name).ok_or("not in the file")?;
        let mut file = File::open(&self.path).map_err(|error| error.to_string())?;
        let quantised = self.content.tensor(&mut file, ours, &Device::Cpu).map_err(|error| brief(&error))?;
        let values = quantised.dequantize(&Device::Cpu).map_err(|error| brief(&error))?;
        let tensor = to_libtorch(&values).map_err(|error| brief(&error))?;
        match self.permuted_heads(name).map_err(|error| error.to_string())? {
            Some(heads) => unpermute(&tensor, heads),
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
